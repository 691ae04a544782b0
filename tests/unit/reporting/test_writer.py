import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from services._chassis.errors import UnavailableError
from services._chassis.workers import Worker
from services.reporting.model.events import Batch, Rejection
from services.reporting.workers import FOLLOWING, LEAST_FOLLOWING, GroupCommitWriter, closing_worker, purge_worker
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


def large(number: int, entries: int) -> Batch:
    """Make a batch of so many entries, all of them passed over."""
    return replace(
        batch([], device=f"d{number}"), passed_over=tuple(Rejection(seq, "no") for seq in range(1, entries + 1))
    )


async def others_run() -> None:
    """Let whatever is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


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


async def test_a_large_group_is_handed_over_while_the_one_ahead_of_it_is_committed_and_no_third() -> None:
    handed_over: list[int] = []
    committed = asyncio.Queue[None]()

    class Turning(FakeSink):
        async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
            handed_over.append(sum(one.size for one in batches))
            await committed.get()
            return await super().store(batches)

    writer = GroupCommitWriter(Turning())
    async with working(writer):
        first = await writer.submit(one(1))
        await others_run()
        small = await writer.submit(large(2, LEAST_FOLLOWING - 1))
        await others_run()
        assert handed_over == [1]
        following = await writer.submit(one(3))
        await others_run()
        third = await writer.submit(large(4, LEAST_FOLLOWING))
        await others_run()
        assert handed_over == [1, LEAST_FOLLOWING]
        for _ in range(3):
            committed.put_nowait(None)
        await asyncio.gather(first, small, following, third)
    assert handed_over == [1, LEAST_FOLLOWING, LEAST_FOLLOWING]


async def test_behind_a_large_group_goes_one_that_is_as_large_up_to_a_bound() -> None:
    sink = SlowSink()
    writer = GroupCommitWriter(sink)
    for ahead, enough in ((2000, 2000), (5000, FOLLOWING)):
        async with working(writer):
            answers = [await writer.submit(large(1, ahead))]
            await sink.reached.wait()
            sink.reached.clear()
            answers.append(await writer.submit(large(2, enough - 1)))
            await others_run()
            assert not sink.reached.is_set()
            answers.append(await writer.submit(one(3)))
            await sink.reached.wait()
            sink.released.set()
            await asyncio.gather(*answers)
        sink.reached.clear()
        sink.released.clear()


async def test_a_surprise_in_a_commit_leaves_nobody_behind_it_waiting() -> None:
    sink = SlowSink()
    sink.failure = ZeroDivisionError()
    writer = GroupCommitWriter(sink)
    first = await writer.submit(one(1))
    working = asyncio.create_task(writer.run())
    await sink.reached.wait()
    sink.reached.clear()
    behind = await writer.submit(large(2, FOLLOWING))
    await sink.reached.wait()
    sink.released.set()
    with pytest.raises(ZeroDivisionError):
        await working
    for answer in (first, behind):
        with pytest.raises(UnavailableError):
            await answer


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


async def test_what_waits_of_a_journal_is_not_stored_before_what_failed_ahead_of_it() -> None:
    class FailsOnce(SlowSink):
        async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
            try:
                return await super().store(batches)
            finally:
                self.failure = None

    sink = FailsOnce()
    sink.fail()
    writer = GroupCommitWriter(sink, backlog=2)
    async with working(writer):
        ahead = await writer.submit(one(1))
        await sink.reached.wait()
        waits, other = await writer.submit(one(1)), await writer.submit(one(2))
        too_much = asyncio.create_task(writer.submit(one(1)))
        await others_run()
        assert not too_much.done()
        sink.released.set()
        for failed in (ahead, waits, await too_much):
            with pytest.raises(UnavailableError):
                await failed
        assert await other == ()
        assert await (await writer.submit(one(1))) == ()
    assert sink.groups == [1, 1]


async def test_behind_a_failure_nothing_is_handed_over_until_it_is_known_what_else_was_not_stored() -> None:
    verdicts = list[asyncio.Future[None]]()

    class Judged(FakeSink):
        async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
            verdicts.append(asyncio.get_running_loop().create_future())
            await verdicts[-1]
            return await super().store(batches)

    writer = GroupCommitWriter(Judged())
    async with working(writer):
        first = await writer.submit(one(1))
        await others_run()
        second = await writer.submit(large(2, LEAST_FOLLOWING))
        await others_run()
        last = await writer.submit(large(2, LEAST_FOLLOWING))
        for number in (0, 1):
            assert len(verdicts) == 2
            verdicts[number].set_exception(UnavailableError("full"))
            await others_run()
        for failed in (first, second, last):
            with pytest.raises(UnavailableError):
                await failed
        again = await writer.submit(one(2))
        await others_run()
        verdicts[-1].set_result(None)
        assert await again == ()


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
        await others_run()
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
        await others_run()
        assert not third.done()
        sink.released.set()
        await (await third)


@pytest.mark.parametrize(("worker", "seconds"), [(purge_worker, 3600), (closing_worker, 300)])
async def test_what_is_old_is_purged_every_hour_and_what_is_over_closed_every_few_minutes_and_both_at_once(
    worker: Callable[..., Worker], seconds: int
) -> None:
    told: list[str] = []

    async def work() -> None:
        told.append("done")

    async def pause(seconds: float) -> None:
        told.append(f"slept {seconds:.0f}")
        if len(told) == 4:
            raise EOFError

    with pytest.raises(EOFError):
        await worker(work, pause).run()
    assert told == ["done", f"slept {seconds}"] * 2
