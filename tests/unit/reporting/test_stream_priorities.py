"""Attempts and the clients' own health on one stream, with real doors."""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from services.reporting.model.backlog import Waiting
from services.reporting.model.events import Batch, Rejection
from services.reporting.workers import Answer, GroupCommitWriter
from tests.builders.doors import open_doors
from tests.fakes.reporting import FakeSink, decided, diagnostic
from tests.unit.reporting.test_streams import World


class SlowToStoreHealth(FakeSink):
    """A sink that commits a group with diagnostics when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = asyncio.Semaphore(0)
        self.reached = asyncio.Event()

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        if any(batch.diagnostics for batch in batches):
            self.reached.set()
            await self.permits.acquire()
        return await super().store(batches)


class WatchedWriter(GroupCommitWriter):
    """A writer that tells when an attempt is queued."""

    def queue(self, batch: Batch) -> Waiting[Answer]:
        waiting = super().queue(batch)
        if batch.attempts:
            self.has_attempt.set()
        return waiting

    @cached_property
    def has_attempt(self) -> asyncio.Event:
        return asyncio.Event()


async def test_an_attempt_does_not_wait_for_the_clients_health_of_the_same_stream(tmp_path: Path) -> None:
    world, sink = World(), SlowToStoreHealth()
    world.writer = writer = WatchedWriter(sink, largest_group=1, backlog=1)
    async with (
        open_doors(tmp_path, world.parts()) as world.doors,
        world.stream("d2") as other,
        world.stream() as stream,
    ):
        await other.hello()
        await other.health([diagnostic(1)])
        await sink.reached.wait()
        await stream.hello()
        await stream.health([diagnostic(2)])
        await stream.health([diagnostic(3)], first=2)
        await stream.send([decided(4)])
        await writer.has_attempt.wait()
        sink.permits.release()
        assert (await stream.read()).ack.journal_id == "journal-1"
        for _ in range(2):
            sink.permits.release()
        await stream.acknowledged(2)
