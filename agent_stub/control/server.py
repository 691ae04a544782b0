"""Listen on the control socket and serve the programs that users start."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from agent_stub.control.present import present_answer
from agent_stub.control.wire import LINE_LIMIT, ElevateRequest, WireError, line, parse_request, read_line
from agent_stub.files import StateError
from agent_stub.identity import RefusedError
from agent_stub.model import Answer, Origin, Peer, Question
from agent_stub.ports import Identities, Prompter

log = structlog.get_logger()

REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 300.0
CALLERS_AT_ONCE = 64
SOCKET_PATH_LIMIT = 107
_CREDENTIALS = struct.Struct("3i")

Elevate = Callable[[str, tuple[str, ...], Origin, Prompter], Awaitable[Answer]]


class ControlServer:
    """Serves attempts and status. Callers are who the kernel of the system says; what they send is bounded."""

    def __init__(self, elevate: Elevate, status: Callable[[], dict[str, Any]], identities: Identities) -> None:
        self._elevate = elevate
        self._status = status
        self._identities = identities
        self._callers: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        """Accept callers at the path while the block runs; raise StateError where that is not possible."""
        _prepare(path)
        try:
            server = await asyncio.start_unix_server(self._accept, path, limit=LINE_LIMIT)
        except OSError as error:
            raise StateError(
                f"socket {path}: cannot be opened ({error.strerror}); choose another with --socket"
            ) from error
        try:
            _open_to_everybody(path)
            yield
        finally:
            server.close()
            for task in self._callers:
                task.cancel()
            await asyncio.gather(*self._callers, return_exceptions=True)
            _remove(path)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._callers) >= CALLERS_AT_ONCE:
            writer.write(line({"error": "the agent serves too many callers; try again"}))
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._callers.add(task)
        task.add_done_callback(self._callers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer: dict[str, Any] = {"answer": await self._answer(reader, writer)}
        except (WireError, RefusedError) as error:
            answer = {"error": str(error)}
        except TimeoutError:
            answer = {"error": "no request came in time"}
        except Exception:  # one caller must not take the agent down; the log has the traceback
            log.exception("caller_failed")
            answer = {"error": "internal error of the agent; its log says more"}
        with suppress(OSError):
            writer.write(line(answer))
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
        async with asyncio.timeout(REQUEST_SECONDS):
            fields = await read_line(reader)
        request = parse_request(fields or {})
        if not isinstance(request, ElevateRequest):
            return self._status()
        origin = self._identities.origin(_peer(writer), request.stated)
        return present_answer(
            await self._elevate(request.file, request.arguments, origin, _SocketPrompter(reader, writer))
        )


class _SocketPrompter:
    """Ask the user through the program that called. A caller that is gone or wrong has not answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def confirm(self, question: Question) -> bool | None:
        """Ask whether the elevation is wanted."""
        found = await self._ask({"ask": "confirm", "file": question.file, "reason": question.reason})
        return found if isinstance(found, bool) else None

    async def justification(self, problem: str) -> str | None:
        """Ask for a reason."""
        found = await self._ask({"ask": "justification", "problem": problem})
        return found if isinstance(found, str) else None

    async def _ask(self, question: dict[str, Any]) -> object:
        try:
            self._writer.write(line(question))
            await self._writer.drain()
            async with asyncio.timeout(ANSWER_SECONDS):
                fields = await read_line(self._reader)
        except (OSError, TimeoutError, WireError):
            return None
        return fields["answer"] if fields is not None and set(fields) == {"answer"} else None


def _prepare(path: Path) -> None:
    if len(str(path).encode()) > SOCKET_PATH_LIMIT:
        raise StateError(
            f"socket {path}: the path is longer than {SOCKET_PATH_LIMIT} bytes; choose another with --socket"
        )
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # The state folder is held by one agent alone, so what lies there is left over from a crash.
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"socket {path}: cannot be opened ({error.strerror}); choose another with --socket") from error


def _open_to_everybody(path: Path) -> None:
    """Let every user connect; the kernel of the system says who they are."""
    path.chmod(0o666)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _peer(writer: asyncio.StreamWriter) -> Peer:
    connection = writer.get_extra_info("socket")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(found))
