"""Who is in which group: listed, found by a filter, or in a group that is nested.

- A group has the members of the groups that it nests, one level deep; a nested one may find its devices by a filter.
- A group whose filter cannot be read is one that nobody knows: policies include nobody by it and exclude everybody. So is
  one that nests such a group, one that is not there, one of another type or one that nests in its turn: who is in it
  cannot be told.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from elevation.filters import FilterError, Test, compile_filter
from elevation.model import Attributes, Group, GroupType

Member = tuple[GroupType, str]


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Find the devices of some groups by a filter."""

    groups: frozenset[str]
    holds: Test


@dataclass(frozen=True, slots=True)
class _Source:
    """List members, for itself and for the groups that nest it."""

    type: GroupType
    members: tuple[str, ...]
    holders: frozenset[str]


class MembershipIndex:
    """Know who is in which group.

    They are `listed` by name, or found by a filter of `dynamic`; `types` has every known group. `sources` are the groups
    that list members, and `listing` names those that list a member.
    """

    def __init__(self, groups: Iterable[Group], before: "MembershipIndex | None" = None) -> None:
        """Take up groups; only members of those that are not as they were `before` are looked at."""
        read = {group.name: (group, _test(group)) for group in groups}
        readable = {name: group for name, (group, test) in read.items() if test is not None or not group.filter}
        known = [group for group in readable.values() if _resolves(group, readable)]
        self.types: Mapping[str, GroupType] = {group.name: group.type for group in known}
        dynamic: list[Dynamic] = []
        self.sources: dict[str, _Source] = {}
        for name, holders in _holders(known).items():
            group, test = read[name]
            if test is None:
                self.sources[name] = _Source(group.type, group.members, frozenset(holders))
            else:
                dynamic.append(Dynamic(frozenset(holders), test))
        self.dynamic = tuple(dynamic)
        self.listing: dict[Member, frozenset[str]] = dict(before.listing) if before else {}
        self.listed: dict[Member, frozenset[str]] = dict(before.listed) if before else {}
        self._relist(before.sources if before else {})

    def _relist(self, before: Mapping[str, _Source]) -> None:
        """Bring up to date who is in which group by name."""
        listing: dict[Member, set[str]] = {}
        for name in before.keys() | self.sources.keys():
            old, new = before.get(name), self.sources.get(name)
            if old == new:
                continue
            for member in _members(old):
                self._open(listing, member).discard(name)
            for member in _members(new):
                self._open(listing, member).add(name)
        # One set for all who are listed alike.
        alike: dict[frozenset[str], tuple[frozenset[str], frozenset[str]]] = {}
        for member, names in listing.items():
            key = frozenset(names)
            if key not in alike:
                alike[key] = key, frozenset[str]().union(*(self.sources[name].holders for name in key))
            self.listing[member], self.listed[member] = alike[key]
            if not key:
                del self.listing[member], self.listed[member]

    def _open(self, listing: dict[Member, set[str]], member: Member) -> set[str]:
        if member not in listing:
            listing[member] = set(self.listing.get(member, ()))
        return listing[member]

    def of_device(self, name: str, attributes: Attributes) -> frozenset[str]:
        """Return the groups that the device is in."""
        found = (each.groups for each in self.dynamic if each.holds(attributes))
        return self.listed.get((GroupType.DEVICE, name), frozenset()).union(*found)

    def of_user(self, name: str) -> frozenset[str]:
        """Return the groups that the user is in."""
        return self.listed.get((GroupType.USER, name), frozenset())


def _members(source: _Source | None) -> Iterator[Member]:
    return ((source.type, member) for member in source.members) if source else iter(())


def _holders(known: Iterable[Group]) -> Mapping[str, set[str]]:
    """Return for each group the groups that have its own members: itself and those that nest it."""
    holders: dict[str, set[str]] = {}
    for group in known:
        for name in (group.name, *group.groups):
            holders.setdefault(name, set()).add(group.name)
    return holders


def _resolves(group: Group, readable: Mapping[str, Group]) -> bool:
    """Tell whether every nested group is there, of the type, and nests none."""
    return all(
        found is not None and found.type is group.type and not found.groups for found in _nested(group, readable)
    )


def _nested(group: Group, readable: Mapping[str, Group]) -> Iterator[Group | None]:
    return (readable.get(name) for name in group.groups)


def _test(group: Group) -> Test | None:
    """Return the filter, compiled; None for a group without one, or with one that cannot be read."""
    try:
        return compile_filter(group.filter) if group.filter else None
    except FilterError:
        return None
