"""What runs beside the streams: the reader of policies, the writer of deliveries, the reporters."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from services._chassis.changes import ChangeFeed
from services._chassis.clock import Clock
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.promises import break_all, keep
from services._chassis.workers import Worker
from services.policy.model.delivery import Delivery, SettingsState
from services.policy.model.sightings import Sighting
from services.policy.model.used_groups import used_groups
from services.policy.ports import (
    CorpusReader,
    Deliveries,
    DeliveryStep,
    SettingsReceiver,
    SightingReceiver,
    UsedGroupsReceiver,
)
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.settings_states import survey

LARGEST_GROUP = 500
LARGEST_REPORT = 1000
SURVEYED_AT_ONCE = 200
SURVEY_PERIOD = 60.0
"""Seconds after which everything is looked at again: other processes hear answers of devices that we do not."""

LINGER = 0.25
"""Seconds for which more is waited for once there is something to look at: what many devices answer is one look."""

PATIENCE = 5.0
"""Seconds that a device waits for the policies to be read; it comes back by itself if it is sent away."""

QUIET = 60.0
"""Seconds for which a sighting of a device is not told again."""

log = get_logger("policy.workers")
Answer = asyncio.Future[Delivery]
Item = TypeVar("Item")


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

    While one group is being committed the next collects. INVARIANT: `change` returns only after the commit.
    """

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
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

    def worker(self) -> Worker:
        """Return the worker that commits."""
        return Worker("commit_deliveries", self.run)

    async def run(self) -> None:
        """Commit group after group for ever."""
        while True:
            await self._arrived.wait()
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
            if not self._waiting:
                self._arrived.clear()
            await self._commit(group)

    async def close(self) -> None:
        """Take nothing more, and tell everyone who still waits that nothing was kept."""
        self._ended = True
        break_all((waiting.answer for waiting in self._waiting), _not_kept())
        self._waiting.clear()

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        commit = self._deliveries.change([(waiting.device_id, waiting.step) for waiting in group])
        await keep([waiting.answer for waiting in group], commit, _not_kept())


class SettingsReporter:
    """Tell the device service what settings policies want of every device, connected or not; only what is news.

    Everything is told again after a failure and after `forget`: the receiver may have lost what it heard.
    """

    def __init__(
        self,
        book: PolicyBook,
        deliveries: Deliveries,
        receiver: SettingsReceiver,
        clock: Clock,
        *,
        period: float = SURVEY_PERIOD,
        linger: float = LINGER,
    ) -> None:
        self._linger = linger
        self._book = book
        self._deliveries = deliveries
        self._receiver = receiver
        self._clock = clock
        self._period = period
        self._told: dict[str, SettingsState] = {}
        self._devices: set[str] = set()
        self._anew: set[str] = set()
        self._everything = True
        self._woken = asyncio.Event()

    def worker(self) -> Worker:
        """Return the worker that reports."""
        return Worker("report_settings_states", self.run)

    def look_at(self, device_ids: Iterable[str] | None) -> None:
        """Look at these devices again soon; None: at all."""
        if device_ids is None:
            self._everything = True
        else:
            self._devices.update(device_ids)
        self._woken.set()

    def retell(self, device_ids: Iterable[str]) -> None:
        """Tell of these devices again: one that enrolled again begins anew at the receiver."""
        self._anew.update(device_ids)
        self.look_at(device_ids)

    def forget(self) -> None:
        """Tell everything again."""
        self._told.clear()
        self.look_at(None)

    async def run(self) -> None:
        """Report for ever, as soon as there is something to work from."""
        self.forget()
        while True:
            self._woken.clear()
            if self._book.ready:
                await self.report()
            try:
                async with asyncio.timeout(self._period):
                    await self._woken.wait()
            except TimeoutError:
                self._everything = True
            await asyncio.sleep(self._linger)

    async def report(self) -> None:
        """Look at what is waiting to be looked at, and tell what is news. Raises UnavailableError if it was not heard."""
        everything, devices = self._everything, self._devices
        self._everything, self._devices = False, set()
        while self._anew:
            self._told.pop(self._anew.pop(), None)
        wanted = self._book.enrolled(None if everything else devices)
        if everything:
            self._told = {device_id: self._told[device_id] for device_id in wanted if device_id in self._told}
        told = 0
        for part in _parts(wanted, SURVEYED_AT_ONCE):
            states = await survey(self._book, self._deliveries, part, now=self._clock.now())
            told += await self._tell([state for state in states if self._is_news(state)])
        if told:
            log.info("settings_states_reported", devices=told, revision=self._book.revision)

    async def _tell(self, states: Sequence[SettingsState]) -> int:
        for part in _parts(states, LARGEST_REPORT):
            await self._receiver.report(part)
            self._told.update((state.device_id, state) for state in part)
        return len(states)

    def _is_news(self, state: SettingsState) -> bool:
        told = self._told.get(state.device_id)
        return told is None or (told.desired, told.acknowledged) != (state.desired, state.acknowledged)


class UsedGroupsReporter:
    """Tell the device service which groups policies are assigned to: after every change, and whenever it comes back."""

    def __init__(self, book: PolicyBook, receiver: UsedGroupsReceiver) -> None:
        self._book = book
        self._receiver = receiver
        self._woken = asyncio.Event()

    def worker(self) -> Worker:
        """Return the worker that reports."""
        return Worker("report_used_groups", self.run)

    def wake(self) -> None:
        """Tell them again soon."""
        self._woken.set()

    async def run(self) -> None:
        """Report for ever, once policies were read and the device service has been heard. Raises UnavailableError."""
        self.wake()
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._book.ready and self._book.corpus is not None:
                used = used_groups(self._book.corpus)
                await self._receiver.report(used)
                log.info("used_groups_reported", groups=len(used.filters), revision=used.revision)


class SightingReporter:
    """Tell the device service what was seen of devices; the same thing of the same device at most once in `QUIET`."""

    def __init__(self, receiver: SightingReceiver, *, monotonic: Callable[[], float]) -> None:
        self._receiver = receiver
        self._monotonic = monotonic
        self._waiting: dict[Sighting, None] = {}
        self._told: dict[Sighting, float] = {}
        self._woken = asyncio.Event()

    def worker(self) -> Worker:
        """Return the worker that reports."""
        return Worker("report_sightings", self.run)

    def saw(self, sighting: Sighting) -> None:
        """Tell it soon, unless it was told a moment ago."""
        told = self._told.get(sighting)
        if told is None or self._monotonic() - told >= QUIET:
            self._waiting[sighting] = None
            self._woken.set()

    async def run(self) -> None:
        """Report for ever. Raises UnavailableError; what was not heard is told again."""
        while True:
            if not self._waiting:
                self._woken.clear()
                await self._woken.wait()
            part = list(self._waiting)[:LARGEST_REPORT]
            await self._receiver.report(part)
            now = self._monotonic()
            self._told = {sighting: told for sighting, told in self._told.items() if now - told < QUIET}
            for sighting in part:
                del self._waiting[sighting]
                self._told[sighting] = now
            log.info("sightings_reported", sightings=len(part))


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _not_kept() -> UnavailableError:
    return UnavailableError("what devices say cannot be kept now; try again later", reason="STORE_UNAVAILABLE")
