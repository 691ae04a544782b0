"""Work out how far policies have come: what the directory and the policies want now, against what devices have."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime

from elevation.model import RulesPolicy, SettingsPolicy
from services._chassis.errors import InvalidError, NotFoundError, Problem
from services._chassis.paging import Page, cut, page_request
from services._chassis.permits import DEFAULT_TAG, Permit
from services.policy.model.bundle import Contents, PolicyKind
from services.policy.model.delivery import Delivery
from services.policy.model.directory import DirectoryDevice
from services.policy.model.objects import About, Corpus
from services.policy.model.rollout import (
    NOTHING,
    DevicesWanted,
    Facts,
    Gauge,
    Picture,
    Rollout,
    RolloutDevice,
    RolloutState,
    Subject,
    SubjectWanted,
    Tally,
)
from services.policy.ports import Deliveries, Pictures, Store
from services.policy.usecases.documents import PolicyBook

AT_ONCE = 500
"""Devices that are counted before others may work."""

_UNTAGGED = frozenset({DEFAULT_TAG})
CaughtUp = Callable[[int], Awaitable[None]]
"""Returns once the book is as new as a revision of what is authored. Raises UnavailableError if it takes too long."""


class Convergence:
    """Answer how far a policy has come, for whoever may see it, over the devices that they may see."""

    def __init__(
        self,
        store: Store,
        book: PolicyBook,
        *,
        pictures: Pictures,
        deliveries: Deliveries,
        caught_up: CaughtUp,
    ) -> None:
        self._store = store
        self._book = book
        self._pictures = pictures
        self._deliveries = deliveries
        self._caught_up = caught_up
        self._counting = asyncio.Lock()
        self._ground: tuple[object, object, object] = (None, None, None)
        self._counts: dict[tuple[Subject, frozenset[str] | None], Rollout] = {}

    async def find(self, wanted: SubjectWanted, permit: Permit) -> Subject:
        """Return the policy and the revision that are asked for, once they are known here.

        Raises NotFoundError, InvalidError for a revision that the policy has not reached, UnavailableError.
        """
        async with self._store.reading() as work:
            settings = (await work.find(SettingsPolicy, [wanted.policy])).get(wanted.policy)
            rules = (await work.find(RulesPolicy, [wanted.policy])).get(wanted.policy)
            revision = await work.revision()
        named = {
            PolicyKind.SETTINGS: settings.about if settings else None,
            PolicyKind.RULES: rules.about if rules else None,
        }
        subject = _subject(wanted, named, permit)
        await self._caught_up(revision)
        return subject

    def follow(self, wanted: SubjectWanted, permit: Permit) -> Subject:
        """Return the policy and the revision that are asked for, as far as they are known here. Raises as `find` does."""
        corpus = self._book.corpus or Corpus(0)
        settings = {one.name: one.about for one in corpus.settings_policies if one.name == wanted.policy}
        rules = {one.name: one.about for one in corpus.rules_policies if one.name == wanted.policy}
        named = {PolicyKind.SETTINGS: settings.get(wanted.policy), PolicyKind.RULES: rules.get(wanted.policy)}
        return _subject(wanted, named, permit)

    async def get(self, wanted: SubjectWanted, *, permit: Permit, now: datetime) -> Rollout:
        """Return how far a policy has come. Raises as `find` does."""
        subject = await self.find(wanted, permit)
        return await self.count(subject, permit.visible_tags(), await self._pictures.picture(now))

    async def shared_count(self, subject: Subject, visible: frozenset[str] | None, picture: Picture) -> Rollout:
        """Count once for everybody who asks the same while nothing changes."""
        async with self._counting:
            ground = picture, self._book.effective(), self._book.directory()
            if any(now is not before for now, before in zip(ground, self._ground, strict=True)):
                self._ground, self._counts = ground, {}
            key = subject, visible
            if key not in self._counts:
                self._counts[key] = await self.count(subject, visible, picture)
            return self._counts[key]

    async def count(self, subject: Subject, visible: frozenset[str] | None, picture: Picture) -> Rollout:
        """Count the visible devices; others may work meanwhile."""
        tally = Tally(Gauge(subject, picture))
        for number, (device, wanted) in enumerate(list(self._wanted(visible))):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            tally.add(device.device_id, wanted)
        return tally.rollout()

    async def devices(
        self,
        wanted: SubjectWanted,
        narrowed: DevicesWanted,
        *,
        permit: Permit,
        page_size: int,
        page_token: str,
        now: datetime,
    ) -> Page[RolloutDevice]:
        """Return a page of the devices that a policy is for or still on, by name. Raises as `find` does."""
        question = f"rollout_devices {wanted} {narrowed}"
        request = page_request(
            page_size=page_size,
            page_token=page_token,
            question=question,
            shape=(str, str),
            beside=narrowed.unreadable,
        )
        subject = await self.find(wanted, permit)
        gauge = Gauge(subject, await self._pictures.picture(now))
        shown = (
            (device, state)
            for device, contents in self._wanted(permit.visible_tags())
            if _place(device) > request.after
            and (state := gauge.state(gauge.picture.of(device.device_id), contents))
            and _asked_for(narrowed, state, gauge, gauge.picture.of(device.device_id))
        )
        page = cut(
            heapq.nsmallest(request.size + 1, shown, key=lambda pair: _place(pair[0])),
            request,
            key=lambda pair: _place(pair[0]),
        )
        known = await self._deliveries.many([device.device_id for device, _ in page.items])
        items = (_device(device, state, gauge, known[device.device_id]) for device, state in page.items)
        return Page(tuple(items), page.next_token)

    def _wanted(self, visible: frozenset[str] | None) -> Iterator[tuple[DirectoryDevice, Contents]]:
        """Give the visible devices that have credentials, each with what it is to have."""
        devices = self._book.directory().devices.values()
        shown = (
            device
            for device in devices
            if device.enrolled and (visible is None or not visible.isdisjoint(device.scope_tags or _UNTAGGED))
        )
        for device, shared in self._book.each_shared(shown):
            yield device, shared.bundle.contents or NOTHING


def _subject(wanted: SubjectWanted, named: Mapping[PolicyKind, About | None], permit: Permit) -> Subject:
    """Choose among the policies that have the name."""
    found = {
        kind: about
        for kind, about in named.items()
        if about is not None and wanted.kind in (None, kind) and permit.sees(about.scope_tags)
    }
    if not found:
        raise NotFoundError(f'there is no policy "{wanted.policy}"; list them for their names')
    if len(found) > 1:
        message = "is missing: a settings policy and a rules policy have the name; say which one is meant"
        raise InvalidError([Problem("subject.kind", message)])
    [(kind, about)] = found.items()
    if wanted.revision > about.revision:
        message = f"must be at most {about.revision}, the newest that the policy has; leave it 0 for that"
        raise InvalidError([Problem("subject.revision", message)])
    return Subject(wanted.policy, kind, wanted.revision or about.revision)


def _asked_for(narrowed: DevicesWanted, state: RolloutState, gauge: Gauge, facts: Facts) -> bool:
    return narrowed.holds(state, stale=gauge.stale(facts), connected=facts.connected)


def _device(device: DirectoryDevice, state: RolloutState, gauge: Gauge, delivery: Delivery) -> RolloutDevice:
    facts = gauge.picture.of(device.device_id)
    return RolloutDevice(
        device_id=device.device_id,
        device_name=device.name,
        state=state,
        applied_revision=gauge.applied(facts),
        rejections=delivery.rejections if state is RolloutState.REJECTED else (),
        confirmed=delivery.confirmed,
        offline_since=None if facts.connected else delivery.seen,
        connected=facts.connected,
        stale=gauge.stale(facts),
    )


def _place(device: DirectoryDevice) -> tuple[str | int, ...]:
    return device.name, device.device_id
