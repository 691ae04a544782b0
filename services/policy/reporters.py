"""What the device service is told: what settings policies want, which groups are used, what was seen of devices."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from services._chassis.clock import Clock
from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.policy.model.delivery import Delivery, SettingsState
from services.policy.model.objects import Corpus
from services.policy.model.sightings import Sighting
from services.policy.model.used_groups import used_groups
from services.policy.ports import CatchUp, Deliveries, SettingsReceiver, SightingReceiver, UsedGroupsReceiver
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.settings_states import survey

LARGEST_REPORT = 1000
SURVEYED_AT_ONCE = 200
SURVEY_PERIOD = 60.0
"""Seconds after which everything is looked at again: other processes hear answers of devices that we do not."""

LINGER = 0.25
"""Seconds for which more is waited for once there is something to look at: what many devices answer is one look."""

QUIET = 60.0
"""Seconds for which a sighting of a device is not told again."""

log = get_logger("policy.reporters")
Item = TypeVar("Item")


async def _stay(_seen: int) -> None:
    """Stay at the revision that there is."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Say how often everything is looked at, and how long is lingered, in seconds."""

    period: float = SURVEY_PERIOD
    linger: float = LINGER


class SettingsReporter:
    """Tell the device service what settings policies want of every device, connected or not; only what is news.

    Everything is told again after a failure and after `forget`: the receiver may have lost what it heard. So is what it passed
    over because it has seen newer policies than there are here, after a catching up.
    """

    def __init__(
        self,
        book: PolicyBook,
        deliveries: Deliveries,
        receiver: SettingsReceiver,
        clock: Clock,
        *,
        rhythm: Rhythm = Rhythm(),
        is_open: Callable[[str], bool] = lambda _: False,
        catch_up: CatchUp = _stay,
    ) -> None:
        self._catch_up = catch_up
        self._is_open = is_open
        self._book = book
        self._deliveries = deliveries
        self._receiver = receiver
        self._clock = clock
        self._rhythm = rhythm
        self._told: dict[str, SettingsState] = {}
        self._devices: set[str] = set()
        self._anew: set[str] = set()
        self._under_way: frozenset[str] = frozenset()
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

    def changed(self, device_ids: Iterable[str]) -> None:
        """Look at the devices whose documents may have changed, but for those whose open streams see to it.

        A stream prepares the document itself. If the wish is the one that was told, its answer alone may be news.
        """
        self.look_at(
            device_id for device_id in device_ids if not (self._is_open(device_id) and self._wishes(device_id))
        )

    def heard(self, delivery: Delivery) -> None:
        """Look at a device that has answered, if what that led to is news."""
        told = self._told.get(delivery.device_id)
        if (
            told is None
            or not self._wishes(delivery.device_id)
            or told.acknowledged != delivery.acknowledged(told.desired)
        ):
            self.look_at([delivery.device_id])

    def _wishes(self, device_id: str) -> bool:
        """Tell whether the device's document wants what was told last; False while something is being told."""
        told = self._told.get(device_id)
        return (
            told is not None
            and device_id not in self._under_way
            and (told.desired, told.scope) == self._book.wish(device_id)
        )

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
                async with asyncio.timeout(self._rhythm.period):
                    await self._woken.wait()
            except TimeoutError:
                self._everything = True
            await asyncio.sleep(self._rhythm.linger)

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
        self._under_way = frozenset(wanted)
        for part in _parts(wanted, SURVEYED_AT_ONCE):
            states = await survey(self._book, self._deliveries, part, now=self._clock.now())
            told += await self._tell([state for state in states if self._is_news(state)])
        self._under_way = frozenset()
        if told:
            log.info("settings_states_reported", devices=told, revision=self._book.revision)

    async def _tell(self, states: Sequence[SettingsState]) -> int:
        for part in _parts(states, LARGEST_REPORT):
            newest = await self._receiver.report(part)
            if newest > min(state.revision for state in part):
                await self._catch_up(newest)
                self.look_at([state.device_id for state in part])
            else:
                self._told.update((state.device_id, state) for state in part)
        return len(states)

    def _is_news(self, state: SettingsState) -> bool:
        told = self._told.get(state.device_id)
        return told is None or _said(told) != _said(state)


class UsedGroupsReporter:
    """Tell the device service which groups policies are assigned to: after every change, and whenever it comes back."""

    def __init__(self, book: PolicyBook, receiver: UsedGroupsReceiver, *, catch_up: CatchUp = _stay) -> None:
        self._catch_up = catch_up
        self._book = book
        self._receiver = receiver
        self._woken = asyncio.Event()
        self._told: Corpus | None = None
        """What is authored, as it was told last and taken in."""

    def worker(self) -> Worker:
        """Return the worker that reports."""
        return Worker("report_used_groups", self.run)

    def wake(self) -> None:
        """Tell them soon, if something else is authored than was told: revisions are taken by more than that."""
        self._woken.set()

    def forget(self) -> None:
        """Tell them again soon: the receiver may have lost what it heard."""
        self._told = None
        self._woken.set()

    async def run(self) -> None:
        """Report for ever, once policies were read and the device service has been heard. Raises UnavailableError."""
        self.forget()
        while True:
            await self._woken.wait()
            self._woken.clear()
            corpus = self._book.corpus
            if self._book.ready and corpus is not None and corpus is not self._told:
                await self._report(corpus)

    async def _report(self, corpus: Corpus) -> None:
        used = replace(used_groups(corpus), revision=self._book.revision)
        self._told = corpus
        newest = await self._receiver.report(used)
        if newest > used.revision:
            await self._catch_up(newest)
            self.forget()
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


def _said(state: SettingsState) -> tuple[object, ...]:
    """Return what the receiver acts upon."""
    return state.desired, state.acknowledged, state.scope


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
