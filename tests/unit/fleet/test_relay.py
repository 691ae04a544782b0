import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fleet.faults import Armed
from fleet.model import Fault, FaultKind
from fleet.relay import Relay

MESSAGE = bytes(range(200))


@asynccontextmanager
async def relayed(armed: Armed) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Speak by a relay to a server that sends back the message for every byte that it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1):
            writer.write(MESSAGE)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    relay = Relay(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", armed, random.Random(1))  # noqa: S311 - a die
    host, _, port = (await relay.open()).partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        await relay.close()
        server.close()


async def test_a_relay_passes_on_what_both_sides_say() -> None:
    async with relayed(Armed(Counter())) as (reader, writer):
        for _ in range(3):
            writer.write(b"x")
            assert await reader.readexactly(len(MESSAGE)) == MESSAGE


async def test_a_cut_lets_a_part_of_one_message_through_and_breaks_the_connection() -> None:
    done: Counter[str] = Counter()
    armed = Armed(done)
    async with relayed(armed) as (reader, writer):
        writer.write(b"x")
        await reader.readexactly(len(MESSAGE))
        armed.arm(Fault(FaultKind.CUT))
        writer.write(b"x")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)) as broken:
            await reader.readexactly(len(MESSAGE))
        if isinstance(broken.value, asyncio.IncompleteReadError):
            assert MESSAGE.startswith(broken.value.partial)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError)):
            await reader.readexactly(1)
    assert done == {"cut": 1}
