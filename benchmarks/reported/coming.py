"""Let attempts come in at a pace while reports are asked for, committed in groups as the service does, in this process."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from time import perf_counter

from benchmarks.reported.past import Drawing, batches_of
from services._chassis.clock import SystemClock
from services._chassis.db import Database
from services.reporting.model.events import Batch, microseconds
from services.reporting.workers import GroupCommitWriter
from tests.builders.sinks import DurableSink

PACE = 5000
"""Attempts a second."""
BEAT = 0.05
MOST_UNANSWERED = 20


class Coming:
    """Tell how much came in, how fast, and how long it took to be durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begun = 0.0
        self.stored = 0
        self.acknowledged: list[float] = []

    @property
    def pace(self) -> float:
        """Return how many attempts a second were stored."""
        return self.stored / (perf_counter() - self._begun)

    async def run(self) -> None:
        """Send what comes at each beat, until it is cancelled."""
        sink = DurableSink.on(self._database.url)
        writer = GroupCommitWriter(sink)
        unanswered = asyncio.Semaphore(MOST_UNANSWERED)
        self._begun = perf_counter()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(writer.run())
                next_beat = self._begun
                for batches in self._told():
                    await unanswered.acquire()  # devices wait, too, when they have sent as much as they may
                    next_beat = max(next_beat + BEAT, perf_counter() - BEAT)
                    await asyncio.sleep(max(0.0, next_beat - perf_counter()))
                    tasks.create_task(self._sent(writer, batches)).add_done_callback(lambda _: unanswered.release())
        finally:
            await sink.close()

    async def _sent(self, writer: GroupCommitWriter, batches: Sequence[Batch]) -> None:
        start = perf_counter()
        await writer.store(batches)
        self.acknowledged.append((perf_counter() - start) * 1000)
        self.stored += sum(batch.size for batch in batches)

    def _told(self) -> Iterator[Sequence[Batch]]:
        """Yield what devices send at each beat: every run in journals of its own."""
        drawing, begun = Drawing.begun(11), microseconds(SystemClock().now())
        many = round(PACE * BEAT)
        for beat in count():
            now = microseconds(SystemClock().now())
            attempts = [drawing.one(beat * many + n, now) for n in range(many)]
            yield batches_of(attempts, f"live-{begun}")


@asynccontextmanager
async def coming_in(database: Database) -> AsyncIterator[Coming]:
    """Let attempts come in for as long as the context is open."""
    coming = Coming(database)
    running = asyncio.create_task(coming.run())
    try:
        yield coming
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
