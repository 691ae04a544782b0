"""Tell which policies can meet on one device for one user, and how each is targeted there.

A *way* is one include of a policy: who comes by it is
in its group, in every group that nests that one, in all-devices and all-users; in none of the excluded groups and of
those that they nest; and on a device that satisfies the include's filter, the filter of its group where it has one,
not the filter of an excluded group, and for a rules policy has its platform as `os`. Two ways can be gone together
unless a group of one is excluded by the other, or no device satisfies the conditions of both, or the groups are of one
type, list their members, and have none in common today. So policies are said to meet wherever it is not impossible now;
a group that is empty, that finds its members by a filter or that is not known may have any.

The other way round, one way *implies* another if whoever comes by the first comes by the second, whatever the
memberships are: then the group of the second is among those of the first, its exclusions are too, and no device
satisfies the conditions of the first and fails one of the second. A policy *covers* another if each way of the other
implies one of its own. That is not said where several ways together would be needed for one.

How a policy is targeted follows from all of its includes that hold: for users if one of them is of a group of users.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from elevation.assignment import type_of
from elevation.lint.narrowing import Condition, impossible
from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    Assignments,
    FilterMode,
    Group,
    GroupType,
    Include,
    Platform,
)

Modes = frozenset[tuple[bool, bool]]
"""How two policies can be targeted where they meet: whether for users, the one and the other."""

_ALL_MODES = 4


@dataclass(frozen=True, slots=True)
class Way:
    """One include of a policy, with all that is so for everybody who comes by it."""

    group: str
    kind: GroupType
    within: frozenset[str]
    without: frozenset[str]
    conditions: frozenset[Condition]
    place: int
    """Which of the includes it is."""
    is_found: bool
    """Whether its group finds its members by a filter, which is one of the conditions."""
    without_listed: frozenset[str]
    """Those of `without` whose members are not found by a filter."""
    members: frozenset[str] | None
    """Who is listed in its group today; None: it cannot be told."""

    def meets(self, other: "Way") -> bool:
        """Tell whether somebody can come by both."""
        if not self.within.isdisjoint(other.without) or not other.within.isdisjoint(self.without):
            return False
        if self._lists_others_than(other):
            return False
        return not impossible(self.conditions | other.conditions)

    def is_apart_today(self, other: "Way") -> bool:
        """Tell whether somebody comes by this way today, and surely none of them by the other one."""
        if not self.members or other.members is None or self.kind is not other.kind:
            return False
        return _are_disjoint(self.members, other.members)

    def _lists_others_than(self, other: "Way") -> bool:
        return bool(other.members) and self.is_apart_today(other)


class GroupBook:
    """The groups that there are, and what being in one says of the others."""

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self._groups = groups
        self._types = {group.name: group.type for group in groups.values()}
        self._holders: dict[str, set[str]] = {}
        self._members: dict[str, frozenset[str] | None] = {}
        for group in groups.values():
            for nested in group.groups:
                self._holders.setdefault(nested, set()).add(group.name)

    def type(self, group: str) -> GroupType | None:
        """Give the type of a group; None for one that nobody knows."""
        return type_of(group, self._types)

    def within(self, group: str) -> frozenset[str]:
        """Give the groups that every member is in."""
        return frozenset({group, ALL_DEVICES, ALL_USERS, *self._holders.get(group, ())})

    def without(self, groups: Iterable[str]) -> frozenset[str]:
        """Give the groups that nobody is in who is in none of these."""
        return frozenset(name for group in groups for name in (group, *self._nested(group)))

    def filter(self, group: str) -> str:
        """Give the filter that finds the members of a group; blank where they are listed."""
        known = self._groups.get(group)
        return "" if known is None else known.filter

    def members(self, group: str) -> frozenset[str] | None:
        """Give who is listed in a group today; None where it cannot be told."""
        if group not in self._members:
            known = [self._groups.get(name) for name in (group, *self._nested(group))]
            found = [one for one in known if one is not None and not one.filter]
            listed = frozenset(member for one in found for member in one.members)
            self._members[group] = listed if len(found) == len(known) else None
        return self._members[group]

    def _nested(self, group: str) -> tuple[str, ...]:
        known = self._groups.get(group)
        return () if known is None else known.groups


@dataclass(frozen=True, slots=True)
class Meeting:
    """How one policy meets another."""

    modes: Modes
    """Empty: they never meet."""
    is_covered: bool
    """Whether everybody who gets the one gets the other, too."""


class Audience:
    """Who gets a policy."""

    __slots__ = ("assignments", "modes", "platform", "ways")

    def __init__(self, assignments: Assignments, platform: Platform | None, book: GroupBook) -> None:
        self.assignments = assignments
        self.platform = platform
        self.ways = tuple(_ways(assignments, platform, book))
        self.modes: Mapping[int, frozenset[bool]] = {way.place: frozenset(self._targeted(way)) for way in self.ways}

    def meeting(self, other: "Audience") -> "Meeting":
        """Tell how this policy and another can be targeted where they meet, and whether that is everywhere."""
        alike = other.platform is self.platform and other.assignments == self.assignments
        modes = self._alike() if alike else self._meeting(other)
        return Meeting(modes, bool(modes) and (alike or all(implies_one(way, other.ways) for way in self.ways)))

    def _alike(self) -> Modes:
        return frozenset((mode, mode) for modes in self.modes.values() for mode in modes)

    def _meeting(self, other: "Audience") -> Modes:
        found: set[tuple[bool, bool]] = set()
        for way in self.ways:
            for across in other.ways:
                modes = {(ours, theirs) for ours in self.modes[way.place] for theirs in other.modes[across.place]}
                if not modes <= found and way.meets(across):
                    found |= modes
                if len(found) == _ALL_MODES:
                    return frozenset(found)
        return frozenset(found)

    def _targeted(self, way: Way) -> Iterator[bool]:
        """Tell how the policy can be targeted for those who come by a way."""
        if way.kind is GroupType.USER:
            yield True
            return
        users = [other for other in self.ways if other.kind is GroupType.USER]
        if any(way.meets(other) for other in users):
            yield True
        if not implies_one(way, users):
            yield False


class Meetings:
    """How policies of some kind meet, each by its name; what is known is kept while who gets them is the same."""

    def __init__(self) -> None:
        self.audiences: dict[str, Audience] = {}
        self._known: dict[str, Row] = {}

    def update(self, audiences: dict[str, Audience]) -> None:
        """Take over who gets the policies now, and forget what is no longer so."""
        gone = [name for name, audience in self.audiences.items() if audiences.get(name) is not audience]
        for name in gone:
            self._known.pop(name, None)
        for row in self._known.values():
            for name in gone:
                row.pop(name, None)
        self.audiences = audiences

    def of(self, name: str) -> "Row":
        """Give how one policy meets the others."""
        row = self._known.get(name)
        if row is None:
            row = self._known[name] = Row(self.audiences[name], self)
        return row


class Row(dict[str, Meeting]):
    """How one policy meets the others, by their names, worked out when it is asked for."""

    def __init__(self, audience: Audience, meetings: Meetings) -> None:
        super().__init__()
        self._audience = audience
        self._meetings = meetings

    def __missing__(self, other: str) -> Meeting:
        """Work out how the policy meets another."""
        meeting = self[other] = self._audience.meeting(self._meetings.audiences[other])
        return meeting


@lru_cache(maxsize=4096)
def _are_disjoint(members: frozenset[str], others: frozenset[str]) -> bool:
    """Tell whether two groups have no member in common; large ones are asked of again and again."""
    return members.isdisjoint(others)


def implies_one(way: Way, others: Iterable[Way]) -> bool:
    """Tell whether everybody who comes by a way comes by one of the others, too."""
    return any(_implies(way, other) for other in others)


def _implies(way: Way, other: Way) -> bool:
    if other.group not in way.within and not other.is_found:
        return False
    if not other.without_listed <= way.without:
        return False
    return all(
        impossible({*way.conditions, Condition(condition.filter, not condition.holds)})
        for condition in other.conditions - way.conditions
    )


def _ways(assignments: Assignments, platform: Platform | None, book: GroupBook) -> Iterator[Way]:
    if any(book.type(exclude.group) is None for exclude in assignments.exclude):
        return
    without = book.without(exclude.group for exclude in assignments.exclude)
    excluded = {Condition(found, holds=False) for group in without if (found := book.filter(group))}
    if platform is not None:
        excluded.add(Condition(f'os = "{platform.value.lower()}"'))
    for place, include in enumerate(assignments.include):
        kind = book.type(include.group)
        if kind is None:
            continue
        conditions = frozenset({*excluded, *_conditions(include, book)})
        way = Way(
            group=include.group,
            kind=kind,
            within=book.within(include.group),
            without=without,
            conditions=conditions,
            place=place,
            is_found=bool(book.filter(include.group)),
            members=book.members(include.group),
            without_listed=frozenset(group for group in without if not book.filter(group)),
        )
        if way.meets(way):
            yield way


def _conditions(include: Include, book: GroupBook) -> Iterator[Condition]:
    if include.filter:
        yield Condition(include.filter, include.filter_mode is FilterMode.INCLUDE)
    if found := book.filter(include.group):
        yield Condition(found)
