"""Who is in which group today, for reports that are about groups.

- Filters find enrolled devices; who is listed is a member in any state. `all-devices` and `all-users` narrow nothing.
- A group may be asked for by whoever sees it: by its scope tags, as devices are. One that is not there looks the same, and so
  does one of another type, or one of which nobody can tell who is in it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from elevation.memberships import MembershipIndex
from elevation.model import ALL_DEVICES, ALL_USERS, Group, GroupType
from services._chassis.errors import UnavailableError
from services.reporting.model.devices import Directory

MOST_REMEMBERED = 64
"""Answers that are kept until the directory changes: a report is asked for page by page."""

MOST_MEMBERS = 1_000_000
"""Members of all answers that are kept; the last one may have more."""

_EVERYBODY: Final[Mapping[GroupType, str]] = {GroupType.DEVICE: ALL_DEVICES, GroupType.USER: ALL_USERS}

Names = tuple[str, ...]


class Memberships(Protocol):
    """Know who is in which group."""

    def unknown(self, kind: GroupType, groups: Names, tags: frozenset[str] | None) -> Sequence[str]:
        """Return those of the groups that nobody with these scope tags knows. Raises UnavailableError where that cannot be told."""
        ...

    def devices(self, groups: Names) -> Collection[str] | None:
        """Return the ids of the devices that are in one of the groups; None where everything is."""
        ...

    def users(self, groups: Names) -> Collection[str] | None:
        """Return the users that are in one of the groups; None where everybody is."""
        ...


class NoGroups:
    """Know no group but the two that everything is in."""

    def unknown(self, kind: GroupType, groups: Names, _tags: frozenset[str] | None) -> Sequence[str]:
        """Return all groups but the one that is always there."""
        return [name for name in groups if name != _EVERYBODY[kind]]

    def devices(self, groups: Names) -> Collection[str] | None:
        """Return nobody, or None for everybody."""
        return None if ALL_DEVICES in groups else ()

    def users(self, groups: Names) -> Collection[str] | None:
        """Return nobody, or None for everybody."""
        return None if ALL_USERS in groups else ()


NO_GROUPS: Final = NoGroups()


class DirectoryMemberships:
    """Know who is in which group by the directory, as it is at the moment of each question."""

    def __init__(self, directory: Directory, *, most_members: int = MOST_MEMBERS) -> None:
        self._directory = directory
        self._most_members = most_members
        self._remembered: dict[tuple[GroupType, Names], frozenset[str]] = {}
        self._version = directory.version

    def unknown(self, kind: GroupType, groups: Names, tags: frozenset[str] | None) -> Sequence[str]:
        """Return those of the groups that nobody with these scope tags knows.

        Raises UnavailableError while the directory was never told: to take a group for unknown would be wrong then.
        """
        asked = [name for name in groups if name != _EVERYBODY[kind]]
        if asked and not self._directory.told:
            message = "the device service has not told its directory yet; try again"
            raise UnavailableError(message, reason="DIRECTORY_NOT_KNOWN_YET")
        # Who is in them takes far longer to find out than of which type they are.
        known, types = self._directory.groups, _index(replace(group, members=()) for group in self._about(asked)).types
        return [name for name in asked if types.get(name) is not kind or not known[name].shows(tags)]

    def devices(self, groups: Names) -> Collection[str] | None:
        """Return the ids of the devices that are in one of the groups; None where everything is."""
        return None if ALL_DEVICES in groups else self._members(GroupType.DEVICE, groups)

    def users(self, groups: Names) -> Collection[str] | None:
        """Return the users that are in one of the groups; None where everybody is."""
        return None if ALL_USERS in groups else self._members(GroupType.USER, groups)

    def _members(self, kind: GroupType, groups: Names) -> frozenset[str]:
        members = sum(map(len, self._remembered.values()))
        full = len(self._remembered) >= MOST_REMEMBERED or members >= self._most_members
        if full or self._version != self._directory.version:
            self._remembered.clear()
            self._version = self._directory.version
        key = (kind, groups)
        if key not in self._remembered:
            index, asked = _index(self._about(groups)), frozenset(groups)
            listed = {name for (type_, name), found in index.listed.items() if type_ is kind and found & asked}
            devices = self._devices(index, asked, listed) if kind is GroupType.DEVICE else ()
            self._remembered[key] = frozenset(devices if kind is GroupType.DEVICE else listed)
        return self._remembered[key]

    def _devices(self, index: MembershipIndex, asked: frozenset[str], listed: Collection[str]) -> Iterator[str]:
        tests = [found.holds for found in index.dynamic if found.groups & asked]
        for device in self._directory.devices.values():
            if device.name in listed or (device.enrolled and any(holds(device.attributes) for holds in tests)):
                yield device.device_id

    def _about(self, asked: Sequence[str]) -> Iterator[Group]:
        """Yield the groups and those that they nest."""
        known = self._directory.groups
        own = [known[name].group for name in asked if name in known]
        yield from own
        yield from (known[name].group for group in own for name in group.groups if name in known)


def _index(groups: Iterable[Group]) -> MembershipIndex:
    return MembershipIndex({group.name: group for group in groups}.values())
