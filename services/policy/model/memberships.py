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


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Find the devices of some groups by a filter."""

    groups: frozenset[str]
    holds: Test


class MembershipIndex:
    """Know who is in which group: `listed` by name, or found by a filter of `dynamic`; `types` has every known group."""

    def __init__(self, groups: Iterable[Group]) -> None:
        read = {group.name: (group, _test(group)) for group in groups}
        readable = {name: group for name, (group, test) in read.items() if test is not None or not group.filter}
        known = [group for group in readable.values() if _resolves(group, readable)]
        self.types: Mapping[str, GroupType] = {group.name: group.type for group in known}
        members: dict[tuple[GroupType, str], set[str]] = {}
        dynamic: list[Dynamic] = []
        for name, holders in _holders(known).items():
            group, test = read[name]
            if test is not None:
                dynamic.append(Dynamic(frozenset(holders), test))
                continue
            for member in group.members:
                members.setdefault((group.type, member), set()).update(holders)
        self.dynamic = tuple(dynamic)
        self.listed = {member: frozenset(names) for member, names in members.items()}

    def of_device(self, name: str, attributes: Attributes) -> frozenset[str]:
        """Return the groups that the device is in."""
        found = (each.groups for each in self.dynamic if each.holds(attributes))
        return self.listed.get((GroupType.DEVICE, name), frozenset()).union(*found)

    def of_user(self, name: str) -> frozenset[str]:
        """Return the groups that the user is in."""
        return self.listed.get((GroupType.USER, name), frozenset())


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
