"""Large documents cross the wire compressed, small ones as they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from epm.policy.v1 import agent_pb2_grpc
from services.policy.agent_servicer import COMPRESSED_FROM
from tests.builders.doors import authority, device_identity, open_doors
from tests.builders.policy_streams import Stream, World
from tests.fakes.policy_delivery import huge, rules, settings


class Wire:
    """A road to the server on which bytes are counted."""

    def __init__(self, server: str) -> None:
        self._server = server.rpartition(":")
        self.arrived = 0
        self._carrying: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Carry connections; give the address."""
        road = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        async with road:
            yield f"127.0.0.1:{road.sockets[0].getsockname()[1]}"
        for carrying in self._carrying:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (carrying := asyncio.current_task()) is not None:
            self._carrying.add(carrying)
        host, _, port = self._server
        beyond, back = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(self._copy(reader, back), self._copy(beyond, writer, counted=True))
        finally:
            for end in (back, writer):
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False) -> None:
        while content := await reader.read(1 << 16):
            self.arrived += len(content) * counted
            writer.write(content)
        writer.close()


async def arrived(tmp_path: Path, world: World) -> tuple[int, int]:
    """Take one document; return its size, and how many bytes came over the wire for it and all around it."""
    async with open_doors(tmp_path, world.parts()) as world.doors:
        wire = Wire(world.doors.settings.mesh_address)
        identity = device_identity("d1")
        credentials = grpc.ssl_channel_credentials(authority().pem, identity.key, identity.certificate)
        async with wire.open() as address, grpc.aio.secure_channel(address, credentials) as channel:
            stream = Stream("d1", agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy())
            await stream.hello()
            offer, manifest, _ = await stream.offer()
            await stream.acknowledge(offer, manifest.revision)
            await world.heard(stream)
            return len(offer.document), wire.arrived


@pytest.mark.parametrize("large", [True, False])
async def test_documents_are_compressed_where_that_is_worth_it(tmp_path: Path, *, large: bool) -> None:
    world = World()
    world.publish(settings(), huge(1) if large else rules(description="x" * 20_000))
    size, came = await arrived(tmp_path, world)
    assert (size >= COMPRESSED_FROM) is large
    assert (came < size / 2) is large
