"""Tell which devices and users would gain and lose which policies, before a change is saved."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from elevation.model import RulesPolicy, SettingsPolicy
from services._chassis.errors import Problem
from services._chassis.paging import Page, PageRequest, cut, page_request
from services._chassis.permits import Permit
from services.policy.model.directory import DirectoryDevice
from services.policy.model.effective import governed
from services.policy.model.objects import Corpus, kind_of
from services.policy.model.preview import Comparison, ReachChange, Ref, Seats, Situation
from services.policy.usecases.analysis.drafted import Drafted, Drafting, Overlay, corpus_over, groups_over, hidden

_KEY = (str, str, str, str, str, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewWanted:
    """Say what would be, and which page is asked for; `flaws` could not be read."""

    overlay: Overlay
    page_size: int = 0
    page_token: str = ""
    question: str = ""
    """Differs between drafts."""
    flaws: tuple[Problem, ...] = ()


class Place(NamedTuple):
    """Say where an entry stands in the list; `number` tells entries apart whose policies may not be named."""

    device: str
    device_id: str
    user: str
    kind: str
    policy: str
    number: int


@dataclass(frozen=True, slots=True)
class Affected:
    """Hold what happens between one policy and somebody on a device."""

    place: Place
    change: ReachChange


@dataclass(slots=True)
class Count:
    """Count whom one policy would gain, lose, or reach otherwise."""

    kind: str
    policy: str
    """Empty: one that the caller may not see."""
    devices: dict[ReachChange, int] = field(default_factory=lambda: dict.fromkeys(ReachChange, 0))
    users: dict[ReachChange, set[str]] = field(default_factory=lambda: {change: set() for change in ReachChange})


@dataclass(frozen=True, slots=True)
class Preview:
    """Hold a page of who is affected, with the counts of all on the first one."""

    affected: Page[Affected]
    counts: tuple[Count, ...] = ()
    devices: int = 0
    users: int = 0


async def preview_assignments(drafting: Drafting, wanted: PreviewWanted, *, permit: Permit, now: datetime) -> Preview:
    """Return who is affected. Raises InvalidError with all problems of the call and its draft, UnavailableError."""
    return await asyncio.to_thread(_previewed, drafting, await drafting.stored(), wanted, permit, now)


def _previewed(drafting: Drafting, stored: Drafted, wanted: PreviewWanted, permit: Permit, now: datetime) -> Preview:  # noqa: PLR0917 - a thread is handed these
    """Work it out beside the streams: from what does not change, and nothing that they use."""
    request = page_request(
        page_size=wanted.page_size,
        page_token=wanted.page_token,
        question=f"preview\n{wanted.question}",
        shape=_KEY,
        beside=[*wanted.flaws, *drafting.problems(stored, wanted.overlay, permit)],
    )
    before = Situation(stored.corpus, stored.directory.groups)
    groups = groups_over(stored.directory, wanted.overlay) if wanted.overlay.regroups else before.groups
    after = Situation(corpus_over(stored.corpus, wanted.overlay, permit, now=now), groups)
    compared = Comparison(before, after)
    names = _names((before.corpus, after.corpus), compared.concerned, permit)
    devices = sorted(_looked_at(stored, request, permit), key=lambda device: (device.name, device.device_id))
    affected = ((device, seats) for device in devices if (seats := compared.seats(device)))
    if request.after:
        return Preview(_page(affected, names, request))
    every = list(affected)
    counts, users = _counts(every, names)
    return Preview(_page(every, names, request), counts, len(every), users)


def _looked_at(there: Drafted, request: PageRequest, permit: Permit) -> Iterator[DirectoryDevice]:
    first = request.after[:1] or ("",)
    for device in there.directory.devices.values():
        if governed(device) and (device.name,) >= first and permit.sees(device.scope_tags):
            yield device


def _names(corpora: Iterable[Corpus], concerned: Collection[Ref], permit: Permit) -> Mapping[Ref, str]:
    """Return what each policy is called in the answer: nothing where the caller may not see it."""
    unseen: set[Ref] = set()
    for corpus in corpora:
        unseen |= {(SettingsPolicy, name) for name in hidden(corpus.settings_policies, permit)}
        unseen |= {(RulesPolicy, name) for name in hidden(corpus.rules_policies, permit)}
    return {ref: "" if ref in unseen else ref[1] for ref in concerned}


def _page(
    affected: Iterable[tuple[DirectoryDevice, Seats]], names: Mapping[Ref, str], request: PageRequest
) -> Page[Affected]:
    entries = (entry for device, seats in affected for entry in _entries(device, seats, names))
    later = (entry for entry in entries if tuple(entry.place) > request.after)
    return cut(list(islice(later, request.size + 1)), request, key=lambda entry: tuple(entry.place))


def _entries(device: DirectoryDevice, seats: Seats, names: Mapping[Ref, str]) -> Iterator[Affected]:
    for user, changes in zip(_users(device), seats, strict=True):
        listed = [change for change in changes if change.listed]
        listed.sort(key=lambda change: (kind_of(change.ref[0]).document, names[change.ref], change.change.value))
        for number, change in enumerate(listed):
            kind = kind_of(change.ref[0]).document
            place = Place(device.name, device.device_id, user, kind, names[change.ref], number)
            yield Affected(place, change.change)


def _users(device: DirectoryDevice) -> Sequence[str]:
    return "", *sorted(device.users)


def _counts(
    affected: Iterable[tuple[DirectoryDevice, Seats]], names: Mapping[Ref, str]
) -> tuple[tuple[Count, ...], int]:
    """Count devices and users of each policy, and the users of all."""
    counts: dict[Ref, Count] = {}
    everybody: set[str] = set()
    for device, seats in affected:
        seen: set[tuple[Ref, ReachChange]] = set()
        for user, changes in zip(_users(device), seats, strict=True):
            for change in changes:
                count = counts.get(change.ref)
                if count is None:
                    count = counts[change.ref] = Count(kind_of(change.ref[0]).document, names[change.ref])
                if (change.ref, change.change) not in seen:
                    seen.add((change.ref, change.change))
                    count.devices[change.change] += 1
                if user:
                    count.users[change.change].add(user)
            if user and changes:
                everybody.add(user)
    ordered = sorted(counts.values(), key=lambda count: (count.kind, count.policy, *count.devices.values()))
    return tuple(ordered), len(everybody)
