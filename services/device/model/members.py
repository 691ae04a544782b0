"""Who is in which group, and what filters see of a device.

- A group has the members that it lists, the devices that its filter finds, and the members of the groups that it nests.
- Filters find enrolled devices alone; a name that is listed is a member whether or not there is such a device.
- A filter that cannot be read finds nobody.
"""

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from elevation.filters import FIELD_NAMES, REPORTED_FIELDS, FilterError, compile_filter
from elevation.model import Attributes
from services.device.model.devices import Device, Ownership
from services.device.model.groups import Group

OWNERSHIPS: Mapping[Ownership, str] = {
    Ownership.CORPORATE: "corporate",
    Ownership.PERSONAL: "personal",
    Ownership.UNKNOWN: "",
}
"""Ownerships as filters write them."""


class MemberKind(enum.Enum):
    """Say why somebody is in a group."""

    LISTED = "LISTED"
    FOUND = "FOUND"
    NESTED = "NESTED"


@dataclass(frozen=True, slots=True)
class Member:
    """Name a device or user in a group; `by_group` is the nested group that has it, if it is in by one."""

    name: str
    kind: MemberKind
    device_id: str = ""
    by_group: str = ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """Hold what filters see of a device in one field; attested is what a server, a token or an administrator says."""

    name: str
    values: tuple[str, ...]
    attested: bool


@dataclass(frozen=True, slots=True)
class Whole:
    """Hold a group together with the groups that it nests."""

    group: Group
    nested: tuple[Group, ...] = ()

    @property
    def parts(self) -> tuple[Group, ...]:
        """Return the groups whose own members are members, the group itself first."""
        return self.group, *self.nested

    @property
    def finds(self) -> bool:
        """Tell whether a filter decides who is in."""
        return any(part.filter for part in self.parts)

    def listed(self, *, after: str, most: int) -> Mapping[str, Member]:
        """Return who is in by name, the first so many after a name and perhaps some beyond those.

        Who is in by several ways is listed, or in the nested group that comes first by name.
        """
        found: dict[str, Member] = {}
        for part in self.parts:
            start = bisect_right(part.members, after)
            for name in part.members[start : start + most]:
                found.setdefault(name, self._member(part, name, MemberKind.LISTED))
        return found

    def found(self, device: Device) -> Member | None:
        """Return the device as the member that the filter of one of the groups makes it; None if none finds it."""
        attributes = attributes_of(device)
        for part in self.parts:
            if part.filter and holds(part.filter, attributes):
                return replace(self._member(part, device.name, MemberKind.FOUND), device_id=device.device_id)
        return None

    def _member(self, part: Group, name: str, kind: MemberKind) -> Member:
        if part is self.group:
            return Member(name, kind)
        return Member(name, MemberKind.NESTED, by_group=part.name)


def foremost(found: Member, listed: Member | None) -> Member:
    """Return how a device is shown that is found and perhaps listed too: by the group itself before by a nested one."""
    if listed is None:
        return found
    order = [MemberKind.LISTED, MemberKind.FOUND, MemberKind.NESTED]
    first = min(listed, found, key=lambda member: (order.index(member.kind), member.by_group))
    return replace(first, device_id=found.device_id)


def has(group: Group, device: Device) -> bool:
    """Tell whether the group itself, without those that it nests, lists or finds the device."""
    if group.filter:
        return device.is_enrolled and holds(group.filter, attributes_of(device))
    return device.name in group.members


def holds(text: str, attributes: Attributes) -> bool:
    """Tell whether a filter finds who is so described."""
    try:
        return compile_filter(text)(attributes)
    except FilterError:
        return False


def attributes_of(device: Device) -> Attributes:
    """Return what filters see of a device."""
    return {
        "name": device.name,
        "os": device.facts.os,
        "osVersion": device.facts.os_version,
        "architecture": device.facts.architecture,
        "ownership": OWNERSHIPS[device.attested.ownership],
        "tag": device.attested.tags,
    }


def described(device: Device) -> tuple[Attribute, ...]:
    """Say what filters see of a device field by field, and who says it; fields without a value are left out."""
    return tuple(_described(attributes_of(device)))


def _described(attributes: Attributes) -> Iterator[Attribute]:
    for field in FIELD_NAMES:
        value = attributes[field]
        values = _filled([value] if isinstance(value, str) else value)
        if values:
            yield Attribute(field, values, field not in REPORTED_FIELDS)


def _filled(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(value for value in values if value)
