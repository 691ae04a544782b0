"""The order of a journal, where something of it cannot be stored while more of it comes."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from epm.reporting.v1 import agent_pb2
from services._chassis.errors import UnavailableError
from services.reporting.model.events import Batch, Rejection
from services.reporting.streams import EventStream
from services.reporting.workers import GroupCommitWriter
from tests.fakes.clock import FakeClock
from tests.fakes.reporting import FakeSink, decided, enrolled, message


class FailsOnce(FakeSink):
    """A sink that does not store what comes first, once the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.fail()
        self.reached, self.released = asyncio.Event(), asyncio.Event()

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        self.reached.set()
        await self.released.wait()
        try:
            return await super().store(batches)
        finally:
            self.failure = None


async def test_what_a_device_has_sent_behind_a_batch_that_is_not_stored_is_not_stored_either() -> None:
    sink = FailsOnce()
    writer = GroupCommitWriter(sink, backlog=1)
    brought: list[int] = []

    async def batches() -> AsyncIterator[agent_pb2.StreamEventsRequest]:
        for number in range(1, 6):
            brought.append(number)
            yield agent_pb2.StreamEventsRequest(batch=message([decided(number)], first=number))
            if number == 1:
                await sink.reached.wait()
        await asyncio.Event().wait()

    async def send(_: agent_pb2.StreamEventsResponse) -> None:
        pytest.fail("nothing is to be said")

    committing = asyncio.create_task(writer.run())
    stream = asyncio.create_task(EventStream(enrolled("d1"), writer=writer, clock=FakeClock()).run(batches(), send))
    await sink.reached.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert brought == [1, 2, 3]  # there was no room for the third
    sink.released.set()
    with pytest.raises(UnavailableError):
        await stream
    other = await writer.store([Batch(device_id="d2", device_name="", journal_id="j", received=0)])
    assert (other, sink.events) == ([()], {})
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
