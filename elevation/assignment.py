"""Find the policies that apply to one user on one device.

A policy applies where an include holds and no exclude does. An include holds for the members of its group, and, where
it has a filter, only for devices that the filter finds (or, with EXCLUDE, does not find); that is so for groups of
users too. All devices are in all-devices and all users in all-users, listed or not. A policy is user-targeted if any
include that holds is of a group of users. A group that nobody knows includes nobody and excludes everybody; `checks`
refuses it long before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from elevation.filters import compile_filter
from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    Assignments,
    Attributes,
    Device,
    FilterMode,
    GroupType,
    Include,
    RulesPolicy,
    SettingsPolicy,
    User,
)


class Standing(Protocol):
    """Tell by what policies reach one user on one device."""

    @property
    def device_groups(self) -> frozenset[str]:
        """Return the groups of the device."""
        ...

    @property
    def user_groups(self) -> frozenset[str]:
        """Return the groups of the user; none where nobody is meant."""
        ...

    def finds(self, text: str) -> bool:
        """Tell whether a filter finds the device."""
        ...


@dataclass(frozen=True, slots=True)
class Memberships:
    """What decides which policies reach one user on one device."""

    device_groups: frozenset[str]
    user_groups: frozenset[str]
    attributes: Attributes

    @classmethod
    def of(cls, device: Device, user: User | None) -> "Memberships":
        """Take the memberships of a device and its user; without a user only device groups count."""
        attributes = device.attributes if "name" in device.attributes else {**device.attributes, "name": device.name}
        users = frozenset() if user is None else user.groups | {ALL_USERS}
        return cls(device.groups | {ALL_DEVICES}, users, attributes)

    def finds(self, text: str) -> bool:
        """Tell whether a filter finds the device."""
        return compile_filter(text)(self.attributes)


@dataclass(frozen=True, slots=True)
class Applicable:
    """The policies that apply. Each rules policy says whether it is user-targeted."""

    settings: tuple[SettingsPolicy, ...]
    rules: tuple[tuple[RulesPolicy, bool], ...]


def applicable(
    policies: Iterable[SettingsPolicy | RulesPolicy], groups: Mapping[str, GroupType], memberships: Standing
) -> Applicable:
    """Select the policies that apply; `groups` are the groups that exist, with their types."""
    settings: list[SettingsPolicy] = []
    rules: list[tuple[RulesPolicy, bool]] = []
    for policy in policies:
        reached = targets(policy.assignments, groups, memberships)
        if not reached:
            continue
        if isinstance(policy, SettingsPolicy):
            settings.append(policy)
        else:
            rules.append((policy, GroupType.USER in reached))
    return Applicable(tuple(settings), tuple(rules))


def targets(assignments: Assignments, groups: Mapping[str, GroupType], memberships: Standing) -> frozenset[GroupType]:
    """Tell by which kinds of group an assignment reaches; empty: it does not."""
    for exclude in assignments.exclude:
        if type_of(exclude.group, groups) is None or is_member(exclude.group, groups, memberships):
            return frozenset()
    kinds = (type_of(include.group, groups) for include in assignments.include if _holds(include, groups, memberships))
    return frozenset(kind for kind in kinds if kind is not None)


def matches(include: Include, memberships: Standing) -> bool:
    """Tell whether the filter of an include, if it has one, lets the device in."""
    if not include.filter:
        return True
    return memberships.finds(include.filter) is (include.filter_mode is FilterMode.INCLUDE)


def is_member(group: str, groups: Mapping[str, GroupType], memberships: Standing) -> bool:
    """Tell whether the device, or the user, is in a group."""
    kind = type_of(group, groups)
    if kind is GroupType.DEVICE:
        return group in memberships.device_groups
    return kind is GroupType.USER and group in memberships.user_groups


def type_of(group: str, groups: Mapping[str, GroupType]) -> GroupType | None:
    """Give the type of a group; None for one that nobody knows."""
    if group == ALL_DEVICES:
        return GroupType.DEVICE
    return GroupType.USER if group == ALL_USERS else groups.get(group)


def _holds(include: Include, groups: Mapping[str, GroupType], memberships: Standing) -> bool:
    return is_member(include.group, groups, memberships) and matches(include, memberships)
