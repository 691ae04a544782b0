"""Say why a policy reaches somebody, or does not: the part that each entry of its assignments has.

`elevation.assignment` decides who is reached; this tells why, entry by entry, and agrees with it always: a policy
applies where an entry includes and none excludes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from elevation.assignment import Memberships, is_member, matches, type_of
from elevation.model import Assignments, FilterMode, Group, GroupType, Include


class Part(Enum):
    """The part that one entry of the assignments has."""

    INCLUDED = "an include that holds"
    EXCLUDED = "an exclude that holds, which beats every include"
    NOT_A_MEMBER = "an include of a group that holds neither the device nor the user"
    FILTERED_OUT = "an include whose filter leaves the device out"


@dataclass(frozen=True, slots=True)
class Reason:
    """One entry of the assignments, seen from one device and user."""

    part: Part
    group: str
    type: GroupType | None
    """None: nobody knows the group."""
    through: str = ""
    """The nested group that makes the device or the user a member; empty: they are one directly."""
    filter: str = ""
    filter_mode: FilterMode = FilterMode.INCLUDE


@dataclass(frozen=True, slots=True)
class Seen:
    """Who is looked at: one device, and a user on it by name (empty: whoever comes to it), with all they are in."""

    device: str
    user: str
    memberships: Memberships


def reasons(
    assignments: Assignments, types: Mapping[str, GroupType], groups: Mapping[str, Group], seen: Seen
) -> tuple[Reason, ...]:
    """Give the entries that decide: the excludes that hold; else the includes that hold; else all, and why none does.

    `types` are the groups that are known, with their types; `groups` what is in them.
    """
    excluded = tuple(_excluded(assignments, types, groups, seen))
    if excluded:
        return excluded
    included = tuple(_included(include, types, groups, seen) for include in assignments.include)
    holding = tuple(reason for reason in included if reason.part is Part.INCLUDED)
    return holding or included


def _excluded(
    assignments: Assignments, types: Mapping[str, GroupType], groups: Mapping[str, Group], seen: Seen
) -> Iterator[Reason]:
    for exclude in assignments.exclude:
        kind = type_of(exclude.group, types)
        if kind is None or is_member(exclude.group, types, seen.memberships):
            yield Reason(Part.EXCLUDED, exclude.group, kind, _through(exclude.group, groups, seen))


def _included(include: Include, types: Mapping[str, GroupType], groups: Mapping[str, Group], seen: Seen) -> Reason:
    kind = type_of(include.group, types)
    if not is_member(include.group, types, seen.memberships):
        return Reason(Part.NOT_A_MEMBER, include.group, kind, "", include.filter, include.filter_mode)
    part = Part.INCLUDED if matches(include, seen.memberships) else Part.FILTERED_OUT
    through = _through(include.group, groups, seen)
    return Reason(part, include.group, kind, through, include.filter, include.filter_mode)


def _through(name: str, groups: Mapping[str, Group], seen: Seen) -> str:
    """Name the first nested group that makes them a member; empty where they are one directly, or by a filter."""
    group = groups.get(name)
    if group is None:
        return ""
    devices = group.type is GroupType.DEVICE
    if (seen.device if devices else seen.user) in group.members:
        return ""
    known = seen.memberships.device_groups if devices else seen.memberships.user_groups
    return next((nested for nested in group.groups if nested in known), "")
