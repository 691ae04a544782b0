"""The group-commit writer: batches of all streams of the process, one transaction after the other; and the hourly purge.

- While one group is being committed the next collects; nobody lingers. Under load groups grow, up to a cap. One that is large
  is handed over before the one ahead of it is committed, so that the database never waits for it.
- The backlog is bounded in entries and bytes: when it is full, the stream that brought more stops reading, and the device's
  flow control holds it back; and credits fall.
- INVARIANT: an answer comes only after the commit that holds its batch. If that fails, everyone in the group is told
  that nothing was stored.
- INVARIANT: a journal is stored in its order. Whatever of it waits behind a batch that was not stored is not stored either.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services._chassis.promises import break_all, keep
from services._chassis.workers import Worker
from services.reporting.model.backlog import Backlog, Bounds, Waiting, not_stored
from services.reporting.model.credit import Pressure
from services.reporting.model.events import Batch, Rejection
from services.reporting.ports import EventSink

LARGEST_GROUP = 5000
LARGEST_BACKLOG = 20_000
HEAVIEST_BACKLOG = 64 * 1024 * 1024
"""Bytes of events: a few devices with large events must not fill the memory."""
LEAST_FOLLOWING, FOLLOWING = 1000, 2500
"""Entries that are worth a group behind the one that is being committed: as many as that one has, within these bounds. Fewer wait,
and become a larger group: small ones cost more for each event, since what events share is written once a group. But where all that
is in flight were in one group, the database would wait for the streams, and they for it."""
PURGE_EVERY = 3600.0
CLOSE_EVERY = 300.0
Answer = asyncio.Future[tuple[Rejection, ...]]


class GroupCommitWriter:
    """Collect batches and commit them in groups; `worker` does the work."""

    def __init__(
        self,
        sink: EventSink,
        *,
        largest_group: int = LARGEST_GROUP,
        backlog: int = LARGEST_BACKLOG,
        heaviest: int = HEAVIEST_BACKLOG,
    ) -> None:
        self._sink = sink
        self._backlog: Backlog[Answer] = Backlog(Bounds(largest_group, backlog, heaviest))
        self._admissions: dict[Waiting[Answer], asyncio.Event] = {}
        self._filled = asyncio.Event()
        self._plenty = asyncio.Event()
        """Whether enough waits to follow the group that is being committed."""
        self._following = LEAST_FOLLOWING
        self._failures = 0
        """How many groups were not stored."""
        self._ended = False
        self._senders: set[object] = set()

    @property
    def pressure(self) -> Pressure:
        """Tell how full the backlog is, and how many streams share it."""
        return self._backlog.pressure(len(self._senders))

    def sends(self, stream: object, *, still: bool) -> None:
        """Know whether a stream has anything in flight."""
        if still:
            self._senders.add(stream)
        else:
            self._senders.discard(stream)

    def queue(self, batch: Batch) -> Waiting[Answer]:
        """Queue the batch for its turn. Whoever brings it waits for `admitted` before they bring more.

        Its answer is what was rejected of it, once it is durable; UnavailableError if nothing was stored, and at once where
        the writer has ended.
        """
        if self._ended:
            raise not_stored()
        answer: Answer = asyncio.get_running_loop().create_future()
        waiting = self._backlog.add(batch, answer)
        if not waiting.admitted:
            self._admissions[waiting] = asyncio.Event()
        self._filled.set()
        self._look_for_plenty()
        return waiting

    async def admitted(self, waiting: Waiting[Answer]) -> None:
        """Return once there is room for the batch, or the writer has ended. It is withdrawn if nobody waits for that any more."""
        if room := self._admissions.get(waiting):
            try:
                await room.wait()
            except asyncio.CancelledError:
                self.withdraw(waiting)
                raise

    def withdraw(self, waiting: Waiting[Answer]) -> None:
        """Forget a batch that was not admitted yet."""
        if self._admissions.pop(waiting, None):
            self._backlog.withdraw(waiting)
            waiting.answer.cancel()

    async def submit(self, batch: Batch) -> Answer:
        """Queue the batch, wait for room, and return the promise of its answer."""
        waiting = self.queue(batch)
        await self.admitted(waiting)
        return waiting.answer

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        """Store batches and return once they are durable what was rejected of each. Raises UnavailableError."""
        answers = [await self.submit(batch) for batch in batches]
        return await asyncio.gather(*answers)

    def worker(self) -> Worker:
        """Return the worker that commits."""
        return Worker("commit_events", self.run)

    async def run(self) -> None:
        """Commit group after group for ever; at most one is handed over beside the one that is being committed."""
        first: asyncio.Task[None] | None = None
        second: asyncio.Task[None] | None = None
        try:
            while True:
                if first is None:
                    await self._filled.wait()
                elif await self._ends_before_plenty(first):
                    first = None
                    continue
                if not (group := self._next_group()):
                    continue
                failures, second = self._failures, asyncio.create_task(self._commit(group))
                if first is not None:
                    await first
                if self._failures > failures:
                    await second  # it is not stored either, and until that is told what waits of its journals must wait
                first, second = second, None
                self._following = min(max(sum(waiting.size for waiting in group), LEAST_FOLLOWING), FOLLOWING)
                self._look_for_plenty()
        finally:
            running = [task for task in (first, second) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _ends_before_plenty(self, commit: "asyncio.Task[None]") -> bool:
        """Tell whether a commit ends before enough waits to follow it. Raises what it raises."""
        plenty = asyncio.create_task(self._plenty.wait())
        try:
            await asyncio.wait({commit, plenty}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            plenty.cancel()
        if commit.done():
            commit.result()
        return commit.done()

    def _next_group(self) -> list[Waiting[Answer]]:
        """Take out what is to be committed together, and let in what there is room for now."""
        group = self._backlog.next_group()
        if not group:
            self._filled.clear()
        self._make_room(group)
        return group

    def _make_room(self, left: Sequence[Waiting[Answer]]) -> None:
        """Let in what there is room for now that these left, and let nobody wait for room that need not."""
        for waiting in (*left, *self._backlog.newly_admitted()):
            if room := self._admissions.pop(waiting, None):
                room.set()
        self._look_for_plenty()

    def _look_for_plenty(self) -> None:
        if self._backlog.entries >= self._following:
            self._plenty.set()
        else:
            self._plenty.clear()

    async def _commit(self, group: Sequence[Waiting[Answer]]) -> None:
        await keep([waiting.answer for waiting in group], self._stored(group), not_stored())

    async def _stored(self, group: Sequence[Waiting[Answer]]) -> Sequence[tuple[Rejection, ...]]:
        stored = False
        try:
            rejected = await self._sink.store([waiting.batch for waiting in group])
            stored = True
        finally:
            if not stored:
                self._give_up_behind(group)
        return rejected

    def _give_up_behind(self, failed: Sequence[Waiting[Answer]]) -> None:
        """Store nothing of what waits behind a group: its journals' later events were there before the earlier ones come again."""
        self._failures += 1
        behind = self._backlog.drop({waiting.journal for waiting in failed})
        break_all((waiting.answer for waiting in behind), not_stored())
        self._make_room(behind)

    async def close(self) -> None:
        """Take nothing more, and tell everyone who still waits that nothing was stored."""
        self._ended = True
        while group := self._backlog.next_group():
            break_all((waiting.answer for waiting in group), not_stored())
        for room in self._admissions.values():
            room.set()
        self._admissions.clear()


Pause = Callable[[float], Awaitable[None]]


def purge_worker(purge: Callable[[], Awaitable[None]], pause: Pause = asyncio.sleep) -> Worker:
    """Return the worker that purges what is no longer kept, every hour."""
    return _recurring("purge_events", purge, PURGE_EVERY, pause)


def closing_worker(close: Callable[[], Awaitable[None]], pause: Pause = asyncio.sleep) -> Worker:
    """Return the worker that closes days that are over, every few minutes."""
    return _recurring("close_days", close, CLOSE_EVERY, pause)


def _recurring(name: str, work: Callable[[], Awaitable[None]], every: float, pause: Pause) -> Worker:
    async def run() -> None:
        while True:
            await work()
            await pause(every)

    return Worker(name, run)
