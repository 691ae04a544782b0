import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from services._chassis.errors import UnavailableError
from services.reporting.model.events import Batch, Rejection
from services.reporting.workers import GroupCommitWriter, purge_worker
from tests.fakes.reporting import FakeSink, batch, decided


class SlowSink(FakeSink):
    """A sink that commits when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        self.reached.set()
        await self.released.wait()
        return await super().store(batches)


@asynccontextmanager
async def working(writer: GroupCommitWriter) -> AsyncIterator[None]:
    task = asyncio.create_task(writer.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def one(number: int) -> Batch:
    return batch([decided(number)], device=f"d{number}")


async def test_what_waits_while_a_group_is_committed_becomes_the_next_group() -> None:
    sink = SlowSink()
    writer = GroupCommitWriter(sink)
    async with working(writer):
        first = await writer.submit(one(1))
        await sink.reached.wait()
        rest = [await writer.submit(one(number)) for number in range(2, 7)]
        assert not first.done()
        sink.released.set()
        await asyncio.gather(first, *rest)
    assert sink.groups == [1, 5]


async def test_a_group_does_not_grow_beyond_its_limit() -> None:
    sink = SlowSink()
    writer = GroupCommitWriter(sink, largest_group=2)
    answers = [await writer.submit(one(number)) for number in range(1, 6)]
    sink.released.set()
    async with working(writer):
        await asyncio.gather(*answers)
    assert sink.groups == [2, 2, 1]


async def test_a_batch_larger_than_a_group_is_committed_alone() -> None:
    sink = FakeSink()
    writer = GroupCommitWriter(sink, largest_group=2)
    async with working(writer):
        await (await writer.submit(batch([decided(1), decided(2), decided(3)])))
    assert sink.groups == [1]


async def test_everyone_in_a_group_that_fails_is_told_and_the_next_group_is_tried() -> None:
    sink = FakeSink()
    sink.fail()
    writer = GroupCommitWriter(sink)
    answers = [await writer.submit(one(number)) for number in (1, 2)]
    async with working(writer):
        assert all(
            isinstance(told, UnavailableError) for told in await asyncio.gather(*answers, return_exceptions=True)
        )
        sink.failure = None
        assert await (await writer.submit(one(3))) == ()


async def test_a_surprise_acknowledges_nothing() -> None:
    sink = FakeSink(failure=ZeroDivisionError())
    writer = GroupCommitWriter(sink)
    answer = await writer.submit(one(1))
    with pytest.raises(ZeroDivisionError):
        await writer.run()
    with pytest.raises(UnavailableError):
        await answer


async def test_a_full_backlog_makes_the_streams_wait() -> None:
    sink = SlowSink()
    writer = GroupCommitWriter(sink, backlog=1)
    async with working(writer):
        await writer.submit(one(1))
        await sink.reached.wait()
        await writer.submit(one(2))
        third = asyncio.create_task(writer.submit(one(3)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not third.done()
        sink.released.set()
        await (await third)
    assert len(sink.events) == 3


async def test_a_writer_that_ends_tells_everyone_who_waits() -> None:
    writer = GroupCommitWriter(FakeSink())
    answer = await writer.submit(one(1))
    await writer.close()
    with pytest.raises(UnavailableError):
        await answer
    with pytest.raises(UnavailableError):
        await writer.submit(one(2))


async def test_a_stream_that_no_longer_waits_disturbs_nobody() -> None:
    sink = FakeSink()
    writer = GroupCommitWriter(sink)
    gone, stays = await writer.submit(one(1)), await writer.submit(one(2))
    gone.cancel()
    async with working(writer):
        assert await stays == ()
    assert len(sink.events) == 2


async def test_a_backlog_of_large_events_makes_the_streams_wait() -> None:
    sink = SlowSink()
    writer = GroupCommitWriter(sink, heaviest=1)
    async with working(writer):
        await writer.submit(one(1))
        await sink.reached.wait()
        await writer.submit(one(2))
        third = asyncio.create_task(writer.submit(one(3)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not third.done()
        sink.released.set()
        await (await third)


async def test_what_is_old_is_purged_at_once_and_every_hour_then() -> None:
    told: list[str] = []

    async def purge() -> None:
        told.append("purged")

    async def pause(seconds: float) -> None:
        told.append(f"slept {seconds:.0f}")
        if len(told) == 4:
            raise EOFError

    with pytest.raises(EOFError):
        await purge_worker(purge, pause).run()
    assert told == ["purged", "slept 3600", "purged", "slept 3600"]
