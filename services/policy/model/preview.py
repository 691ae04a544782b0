"""Who would gain and lose which policies: what reaches devices and their users before a change, and after it.

Only policies that the change may concern are looked at, and only once for devices that are alike in all that those ask
for. A policy for the device is one entry, whoever uses it; one for users has an entry for each user who is bound to the
device, and one for whoever else comes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from elevation.assignment import Memberships, targets
from elevation.filters import compile_filter
from elevation.memberships import MembershipIndex
from elevation.model import (
    Attributes,
    Device,
    Group,
    GroupType,
    ReusableCertificate,
    RulesPolicy,
    SettingsPolicy,
    User,
)
from services.policy.model.directory import DirectoryDevice
from services.policy.model.objects import Corpus, certificates_named, delivered, targets_of, with_assignments

Policy: TypeAlias = SettingsPolicy | RulesPolicy
Ref: TypeAlias = "tuple[type[Policy], str]"
Reached: TypeAlias = "Mapping[Ref, bool]"
"""The policies that reach somebody; True: because of who they are, False: because of the device."""


class ReachChange(Enum):
    """What happens between a policy and somebody."""

    GAINED = "gained"
    LOST = "lost"
    CHANGED = "changed"
    """The policy reaches them before and after, with other content or for another reason."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Hold policies and groups at one moment."""

    corpus: Corpus
    groups: Mapping[str, Group]


@dataclass(frozen=True, slots=True)
class SeatChange:
    """Say what happens between a policy and somebody; one that is not `listed` is told for the device as a whole."""

    ref: Ref
    change: ReachChange
    listed: bool = True


Seats: TypeAlias = "tuple[tuple[SeatChange, ...], ...]"
"""What happens to whoever comes to a device, and to each of its users by their names."""

_NOBODY: Seats = ()

_Standing: TypeAlias = "tuple[frozenset[str], frozenset[str] | None, frozenset[str]]"
"""Groups of the device, groups of the user (None: nobody is meant), and filters that hold."""

_Shape: TypeAlias = "tuple[frozenset[str], frozenset[str], tuple[frozenset[str], ...]]"
"""Groups of the device, filters that hold, and the groups of each user."""


class Comparison:
    """Compare what reaches devices in two situations."""

    def __init__(self, before: Situation, after: Situation) -> None:
        """Find the policies that the change may concern."""
        kept = _contents(before.corpus), _contents(after.corpus)
        concerned = _concerned(before, after, *kept)
        certificates = _certificates(before.corpus), _certificates(after.corpus)
        self._same = {
            ref
            for ref in concerned
            if ref in kept[0] and ref in kept[1] and _is_delivered_alike(kept[0][ref], kept[1][ref], certificates)
        }
        self.concerned = frozenset(concerned)
        self._before, self._after = (
            _Side(situation, {ref: policy for ref, policy in held.items() if ref in concerned})
            for situation, held in zip((before, after), kept, strict=True)
        )
        self._shared: dict[tuple[_Shape, _Shape], Seats] = {}

    def seats(self, device: DirectoryDevice) -> Seats:
        """Return what happens to a device that policies reach; empty: nothing does to anybody."""
        if not self.concerned:
            return _NOBODY
        key = self._before.shape(device), self._after.shape(device)
        if key not in self._shared:
            self._shared[key] = self._compared(device, key)
        return self._shared[key]

    def _compared(self, device: DirectoryDevice, shapes: tuple[_Shape, _Shape]) -> Seats:
        before, after = self._before.seats(device, shapes[0]), self._after.seats(device, shapes[1])
        whoever = before[0], after[0]
        seats = tuple(
            tuple(self._changes((was, will), None if at == 0 else whoever))
            for at, (was, will) in enumerate(zip(before, after, strict=True))
        )
        return seats if any(seats) else _NOBODY

    def _changes(
        self, reached: tuple[Reached, Reached], whoever: tuple[Reached, Reached] | None
    ) -> Iterator[SeatChange]:
        was, will = reached
        for ref in was.keys() | will.keys():
            states = was.get(ref), will.get(ref)
            if states[0] == states[1] and ref in self._same:
                continue
            by_device = whoever is not None and True not in states
            told = whoever is not None and by_device and states == (whoever[0].get(ref), whoever[1].get(ref))
            change = ReachChange.CHANGED
            if None in states:
                change = ReachChange.GAINED if states[0] is None else ReachChange.LOST
            yield SeatChange(ref, change, listed=not told)


class _Side:
    """Tell what reaches devices in one situation, of the policies that are looked at."""

    def __init__(self, situation: Situation, policies: Mapping[Ref, Policy]) -> None:
        self._policies = policies
        assignments = [policy.assignments for policy in policies.values()]
        self._named = frozenset[str]().union(*map(targets_of, assignments))
        texts = {include.filter for each in assignments for include in each.include if include.filter}
        self._filters = {text: compile_filter(text) for text in texts}
        self._index = MembershipIndex(dict(_with_nested(self._named, situation.groups)).values())
        self._reached: dict[_Standing, Reached] = {}

    def shape(self, device: DirectoryDevice) -> _Shape:
        """Return all by which the policies reach a device and its users."""
        attributes = _attributes(device)
        groups = self._index.of_device(device.name, attributes) & self._named
        holding = frozenset(text for text, holds in self._filters.items() if holds(attributes))
        return groups, holding, tuple(self._index.of_user(user) & self._named for user in sorted(device.users))

    def seats(self, device: DirectoryDevice, shape: _Shape) -> list[Reached]:
        """Return what reaches whoever comes to a device of the shape, and each of its users.

        Settings for everybody do nothing where no settings policy reaches the device or a user who is bound to it.
        """
        groups, holding, of_users = shape
        known = Device(device.name, groups, _attributes(device))
        bare = self._reach((groups, None, holding), Memberships.of(known, None))
        anybody, *users = (
            self._reach((groups, of_user, holding), Memberships.of(known, User("", of_user)))
            for of_user in (frozenset[str](), *of_users)
        )
        if not any(_gives_settings(found) for found in (bare, *users)):
            anybody = {ref: by_user for ref, by_user in anybody.items() if ref[0] is not SettingsPolicy}
        return [anybody, *users]

    def _reach(self, standing: _Standing, memberships: Memberships) -> Reached:
        if standing not in self._reached:
            types = self._index.types
            found = ((ref, targets(policy.assignments, types, memberships)) for ref, policy in self._policies.items())
            self._reached[standing] = {ref: GroupType.USER in kinds for ref, kinds in found if kinds}
        return self._reached[standing]


def _concerned(
    before: Situation, after: Situation, was: Mapping[Ref, Policy], will: Mapping[Ref, Policy]
) -> frozenset[Ref]:
    """Return the policies whose reach or content the change may alter."""
    certificates = _certificates(before.corpus), _certificates(after.corpus)
    groups = _moved_groups(before.groups, after.groups)
    found = {
        ref
        for ref in was.keys() | will.keys()
        if ref not in was
        or ref not in will
        or was[ref].assignments != will[ref].assignments
        or not _is_delivered_alike(was[ref], will[ref], certificates)
        or not groups.isdisjoint(targets_of(will[ref].assignments))
    }
    # Whether settings for everybody do anything depends on the other settings policies.
    if any(ref[0] is SettingsPolicy for ref in found):
        found |= {ref for ref in was.keys() | will.keys() if ref[0] is SettingsPolicy}
    return frozenset(found)


def _moved_groups(before: Mapping[str, Group], after: Mapping[str, Group]) -> frozenset[str]:
    """Return the groups whose members may be others: those that changed, and those that nest one of them."""
    if before is after:
        return frozenset()
    moved = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    nesting = (
        name for groups in (before, after) for name, group in groups.items() if not moved.isdisjoint(group.groups)
    )
    return frozenset(moved.union(nesting))


def _is_delivered_alike(was: Policy, will: Policy, certificates: Sequence[Mapping[str, ReusableCertificate]]) -> bool:
    """Tell whether a device that has both gets the same of them."""
    named = certificates_named(was)
    if any(_der(certificates[0], name) != _der(certificates[1], name) for name in named):
        return False
    return was is will or delivered(was) == delivered(with_assignments(will, was.assignments))


def _der(certificates: Mapping[str, ReusableCertificate], name: str) -> bytes:
    found = certificates.get(name)
    return found.certificate.der if found else b""


def _certificates(corpus: Corpus) -> Mapping[str, ReusableCertificate]:
    return {stored.name: stored.content for stored in corpus.certificates}


def _contents(corpus: Corpus) -> dict[Ref, Policy]:
    found: dict[Ref, Policy] = {(SettingsPolicy, stored.name): stored.content for stored in corpus.settings_policies}
    found.update({(RulesPolicy, stored.name): stored.content for stored in corpus.rules_policies})
    return found


def _attributes(device: DirectoryDevice) -> Attributes:
    return {**device.attributes, "name": device.name}


def _with_nested(named: Iterable[str], groups: Mapping[str, Group]) -> Iterator[tuple[str, Group]]:
    for name in named:
        group = groups.get(name)
        if group is not None:
            yield name, group
            yield from ((nested, groups[nested]) for nested in group.groups if nested in groups)


def _gives_settings(reached: Reached) -> bool:
    return any(kind is SettingsPolicy for kind, _ in reached)
