"""The group-commit writer: batches of all streams of the process, one transaction after the other; and the hourly purge.

- While one group is being committed the next collects; nobody lingers. Under load groups grow, up to a cap.
- The backlog is bounded in entries and bytes: when it is full, `submit` waits, the stream stops reading, and the device's flow control
  holds it back.
- INVARIANT: an answer comes only after the commit that holds its batch. If that fails, everyone in the group is told
  that nothing was stored.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services._chassis.errors import UnavailableError
from services._chassis.promises import break_all, keep
from services._chassis.workers import Worker
from services.reporting.model.events import Batch, Rejection
from services.reporting.ports import EventSink

LARGEST_GROUP = 5000
LARGEST_BACKLOG = 20_000
HEAVIEST_BACKLOG = 64 * 1024 * 1024
"""Bytes of events: a few devices with large events must not fill the memory."""
PURGE_EVERY = 3600.0
Answer = asyncio.Future[tuple[Rejection, ...]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A batch on its way to the disk, and who waits for it."""

    batch: Batch
    answer: Answer
    weight: int


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
        self._largest_group = largest_group
        self._backlog = backlog
        self._heaviest = heaviest
        self._waiting: deque[_Waiting] = deque()
        self._entries = 0
        self._weight = 0
        self._changed = asyncio.Condition()
        self._ended = False

    async def submit(self, batch: Batch) -> Answer:
        """Queue the batch, waiting for room, and return the promise of its answer: what was rejected of it, once it is durable.

        The promise is broken with UnavailableError if nothing was stored, and `submit` raises it once the writer ends.
        """
        answer: Answer = asyncio.get_running_loop().create_future()
        async with self._changed:
            await self._changed.wait_for(self._has_room)
            if self._ended:
                raise _not_stored()
            waiting = _Waiting(batch, answer, batch.weight)
            self._waiting.append(waiting)
            self._entries += batch.size
            self._weight += waiting.weight
            self._changed.notify_all()
        return answer

    def worker(self) -> Worker:
        """Return the worker that commits."""
        return Worker("commit_events", self.run)

    async def run(self) -> None:
        """Commit group after group for ever."""
        while True:
            group = await self._next_group()
            commit = self._sink.store([waiting.batch for waiting in group])
            await keep([waiting.answer for waiting in group], commit, _not_stored())

    async def close(self) -> None:
        """Take nothing more, and tell everyone who still waits that nothing was stored."""
        async with self._changed:
            self._ended = True
            break_all((waiting.answer for waiting in self._waiting), _not_stored())
            self._waiting.clear()
            self._entries = self._weight = 0
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._ended or (self._entries < self._backlog and self._weight < self._heaviest)

    async def _next_group(self) -> list[_Waiting]:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._waiting))
            group = [self._waiting.popleft()]
            size = group[0].batch.size
            while self._waiting and size + self._waiting[0].batch.size <= self._largest_group:
                group.append(self._waiting.popleft())
                size += group[-1].batch.size
            self._entries -= size
            self._weight -= sum(waiting.weight for waiting in group)
            self._changed.notify_all()
        return group


def purge_worker(
    purge: Callable[[], Awaitable[None]], pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> Worker:
    """Return the worker that purges what is no longer kept, every hour."""

    async def run() -> None:
        while True:
            await purge()
            await pause(PURGE_EVERY)

    return Worker("purge_events", run)


def _not_stored() -> UnavailableError:
    return UnavailableError("events cannot be stored now; send them again later", reason="STORE_UNAVAILABLE")
