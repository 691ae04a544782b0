"""A TCP relay in front of a server, which can cut a connection in the middle of a message."""

import asyncio
import contextlib
import random
import socket
import struct

from fleet.faults import Armed
from fleet.model import FaultKind

CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Passes bytes on. A cut lets a part of the next bytes of the server through, then resets both connections."""

    def __init__(self, address: str, armed: Armed, die: random.Random) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._armed = armed
        self._die = die
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Listen on loopback, and say where."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def close(self) -> None:
        """Stop listening, and end what is open."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        if connection is None:  # pragma: no cover - handlers of connections run in tasks
            return
        self._connections.add(connection)
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._connections.discard(connection)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upper_reader, upper_writer = await asyncio.open_connection(self._host.strip("[]"), self._port)
        ways = (
            asyncio.create_task(self._copy(reader, upper_writer, cuts=False)),
            asyncio.create_task(self._copy(upper_reader, writer, cuts=True)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, upper_writer):
                _reset(end)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, cuts: bool) -> None:
        with contextlib.suppress(OSError):
            while content := await source.read(CHUNK):
                if cuts and len(content) > 1 and self._armed.take(FaultKind.CUT):
                    target.write(content[: self._die.randrange(1, len(content))])
                    await target.drain()
                    return
                target.write(content)
                await target.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection as a network does that breaks: what the peer sends from now on is answered by a reset."""
    plug: socket.socket | None = writer.get_extra_info("socket")
    if plug is not None:
        with contextlib.suppress(OSError):
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
