"""What runs beside the streams: the reader of policies, and the writer of deliveries."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from services._chassis.changes import ChangeFeed
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.promises import break_all, keep
from services._chassis.workers import Worker
from services.policy.model.delivery import Delivery
from services.policy.ports import CorpusReader, Deliveries, DeliveryStep
from services.policy.usecases.contained import Change, change_each
from services.policy.usecases.documents import PolicyBook

LARGEST_GROUP = 500
GATHERING = 0.01
"""Seconds for which a group gathers while many devices talk: a commit costs as much as a dozen steps."""

RESTLESS = 2.0
"""Seconds after which nobody waits any longer for a moment in which no step waits."""

PATIENCE = 5.0
"""Seconds that a device waits for the policies to be read; it comes back by itself if it is sent away."""

log = get_logger("policy.workers")
Answer = asyncio.Future[Delivery]


class CorpusFollower:
    """Keep the book at the newest policies, and tell when they changed."""

    def __init__(
        self, reader: CorpusReader, changes: ChangeFeed, book: PolicyBook, *, patience: float = PATIENCE
    ) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._patience = patience
        self._begun = asyncio.Event()
        self._read = asyncio.Event()
        self._reader = reader
        self._changes = changes
        self._book = book

    def worker(self) -> Worker:
        """Return the worker that follows."""
        return Worker("follow_policies", self.run)

    async def run(self) -> None:
        """Read after every change, for ever."""
        while True:
            announced = self._changes.revision
            await self._changes.wait(max(announced, await self.read()))

    async def read(self) -> int:
        """Read once, and return the revision that was read."""
        corpus = await self._reader.corpus()
        changed = self._book.put(corpus)
        self._begun.set()
        self._read.set()
        self._read = asyncio.Event()
        if changed:
            for listener in self.on_change:
                listener()
        return corpus.revision

    async def begun(self) -> None:
        """Wait until policies were read once, a little while: a device may come as soon as the process serves."""
        if self._begun.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._begun.wait()

    async def at_least(self, revision: int) -> None:
        """Wait until the book is as new as the revision. Raises UnavailableError if that takes too long."""
        try:
            async with asyncio.timeout(self._patience):
                while self._book.revision < revision:
                    await self._read.wait()
        except TimeoutError:
            raise UnavailableError(
                f"the policies are known up to revision {self._book.revision}, not yet up to {revision}; try again",
                reason="POLICIES_BEHIND",
            ) from None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A step on its way to the disk, and who waits for it."""

    device_id: str
    step: DeliveryStep
    answer: Answer


class DeliveryWriter:
    """Take steps of all streams and commit them in groups, in the order they came; `worker` does the work.

    While one group is being committed the next collects. A step that fails is refused alone. INVARIANT: `change` returns only
    after the commit.
    """

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._calmed = asyncio.Event()
        self._committing = asyncio.Lock()
        self._ended = False

    def change(self, device_id: str, step: DeliveryStep) -> Answer:
        """Queue the step at once, and return the promise of what it leads to, which UnavailableError may break."""
        answer: Answer = asyncio.get_running_loop().create_future()
        if self._ended:
            answer.set_exception(_not_kept())
            return answer
        self._waiting.append(_Waiting(device_id, step, answer))
        self._arrived.set()
        return answer

    @asynccontextmanager
    async def first(self) -> AsyncIterator[Change]:
        """Give what commits groups at once while the block runs; steps that are queued wait until it ends.

        What a group led to is known before anything else is committed. Raises UnavailableError if it was not kept.
        """
        async with self._committing:
            yield self._change

    async def _change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        if self._ended:
            raise _not_kept()
        return await self._deliveries.change(steps)

    async def calm(self) -> bool:
        """Wait while steps wait, for `RESTLESS` at most; tell whether that was so."""
        if not self._waiting:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(RESTLESS):
                await self._calmed.wait()
        return True

    def worker(self) -> Worker:
        """Return the worker that commits."""
        return Worker("commit_deliveries", self.run)

    async def run(self) -> None:
        """Commit group after group for ever; who is alone does not wait for company."""
        group: list[_Waiting] = []
        while True:
            await self._arrived.wait()
            if len(group) > 1 and len(self._waiting) < LARGEST_GROUP:
                await asyncio.sleep(GATHERING)
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
            if not self._waiting:
                self._arrived.clear()
                self._calmed.set()
                self._calmed = asyncio.Event()
            await self._commit(group)

    async def close(self) -> None:
        """Take nothing more, and tell everyone who still waits that nothing was kept."""
        self._ended = True
        break_all((waiting.answer for waiting in self._waiting), _not_kept())
        self._waiting.clear()

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        async with self._committing:
            steps = [(waiting.device_id, waiting.step) for waiting in group]
            commit = change_each(self._deliveries.change, steps)
            await keep([waiting.answer for waiting in group], commit, _not_kept())


def _not_kept() -> UnavailableError:
    return UnavailableError("what devices say cannot be kept now; try again later", reason="STORE_UNAVAILABLE")
