"""Which policies can meet, against every membership of a small world."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.assignment import Memberships, targets
from elevation.filters import compile_filter
from elevation.lint.meeting import Audience, GroupBook, Meeting
from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    Assignments,
    Exclude,
    FilterMode,
    Group,
    GroupType,
    Include,
    Platform,
)

DEVICE, USER = GroupType.DEVICE, GroupType.USER
GROUPS = {
    group.name: group
    for group in (
        Group("kiosks", DEVICE, members=("k1",)),
        Group("laptops", DEVICE, members=("l1",)),
        Group("fleet", DEVICE, groups=("kiosks", "tagged")),
        Group("tagged", DEVICE, filter='tag = "x"'),
        Group("developers", USER, members=("alice",)),
        Group("staff", USER, groups=("developers",)),
        Group("planned", DEVICE),
        Group("contractors", USER, members=("bob",)),
        Group("named-alike", USER, members=("K1",)),
    )
}
TYPES = {name: group.type for name, group in GROUPS.items()}
FILTERS = ["", 'os = "linux"', 'os != "linux"', 'tag = "x"', 'NOT tag : "x"', 'os = "windows" OR tag = "y"', "os : lin"]


def subsets(names: tuple[str, ...]) -> list[frozenset[str]]:
    return [frozenset(found) for found in chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))]


def world() -> Iterator[Memberships]:
    """Make every device and user that the groups allow: no device is both of those that two groups list."""
    listings = [found for found in subsets(("kiosks", "laptops")) if len(found) < 2]
    devices = product(("windows", "linux", "macos", "berlin"), subsets(("x", "y")), listings, (False, True))
    for (os, tags, listed, in_fleet), users in product(devices, subsets(("developers", "staff"))):
        if "developers" in users and "staff" not in users:
            continue
        attributes = {"os": os, "tag": tuple(sorted(tags))}
        found = {name for name in ("tagged",) if compile_filter(GROUPS[name].filter)(attributes)}
        nested = {"fleet"} if in_fleet or "kiosks" in listed or found else set()
        groups = frozenset({*listed, *found, *nested, ALL_DEVICES})
        yield Memberships(groups, users | {ALL_USERS}, attributes)


WORLD = list(world())

device_groups = st.sampled_from([ALL_DEVICES, "kiosks", "laptops", "fleet", "tagged"])
user_groups = st.sampled_from([ALL_USERS, "developers", "staff"])
includes = st.builds(Include, device_groups | user_groups, st.sampled_from(FILTERS), st.sampled_from(FilterMode))


@st.composite
def assignments(draw: st.DrawFn) -> Assignments:
    include = tuple(draw(st.lists(includes, max_size=2)))
    kinds = {DEVICE if found.group == ALL_DEVICES else TYPES.get(found.group, USER) for found in include}
    excluded = [groups for kind, groups in ((DEVICE, device_groups), (USER, user_groups)) if {kind} == kinds]
    exclude = draw(st.lists(excluded[0], max_size=2)) if excluded else []
    return Assignments(include, tuple(Exclude(group) for group in exclude))


def reaching(found: Assignments, platform: Platform | None, memberships: Memberships) -> frozenset[GroupType]:
    if platform is not None and memberships.attributes["os"] != platform.value.lower():
        return frozenset()
    return targets(found, TYPES, memberships)


@given(assignments(), assignments(), st.sampled_from([None, Platform.WINDOWS]))
def test_what_is_said_of_two_policies_holds_for_every_membership(
    one: Assignments, other: Assignments, platform: Platform | None
) -> None:
    book = GroupBook(GROUPS)
    meeting = Audience(one, platform, book).meeting(Audience(other, platform, book))

    pairs = [(reaching(one, platform, seen), reaching(other, platform, seen)) for seen in WORLD]
    modes = {(USER in ours, USER in theirs) for ours, theirs in pairs if ours and theirs}
    assert modes <= meeting.modes
    assert bool(modes) == bool(meeting.modes)
    if meeting.is_covered:
        assert all(theirs for ours, theirs in pairs if ours)


@dataclass(frozen=True)
class Case:
    name: str
    one: Assignments
    other: Assignments
    modes: frozenset[tuple[bool, bool]]
    is_covered: bool = False


def to(
    *groups: str, exclude: tuple[str, ...] = (), narrowed: str = "", mode: FilterMode = FilterMode.INCLUDE
) -> Assignments:
    include = tuple(Include(group, narrowed, mode) for group in groups)
    return Assignments(include, tuple(Exclude(group) for group in exclude))


DEVICES, USERS = (False, False), (True, True)
NOBODY: frozenset[tuple[bool, bool]] = frozenset()
CASES = [
    Case("nobody is included", to(), to(ALL_DEVICES), NOBODY),
    Case("groups without a common member today", to("kiosks"), to("laptops"), NOBODY),
    Case("a group that is empty today", to("kiosks"), to("planned"), frozenset({DEVICES})),
    Case("a group that also has members by a filter", to("laptops"), to("fleet"), frozenset({DEVICES})),
    Case("nested members count", to("staff"), to("contractors"), NOBODY),
    Case("nested members in common", to("staff"), to("developers"), frozenset({USERS})),
    Case("a device and a user of one name", to("kiosks"), to("named-alike"), frozenset({(False, True)})),
    Case("one excludes the other", to("kiosks"), to(ALL_DEVICES, exclude=("kiosks",)), NOBODY),
    Case("the excluded group nests it", to("kiosks"), to(ALL_DEVICES, exclude=("fleet",)), NOBODY),
    Case("it nests the excluded group", to("fleet"), to(ALL_DEVICES, exclude=("kiosks",)), frozenset({DEVICES})),
    Case("systems that differ", to(ALL_DEVICES, narrowed="os = a"), to(ALL_USERS, narrowed="os = b"), NOBODY),
    Case(
        "one is for what the other leaves out",
        to(ALL_DEVICES, narrowed="os = a", mode=FilterMode.EXCLUDE),
        to(ALL_DEVICES, narrowed="os = a"),
        NOBODY,
    ),
    Case(
        "a tag beside another",
        to(ALL_DEVICES, narrowed="tag = x"),
        to(ALL_DEVICES, narrowed="tag = y"),
        frozenset({DEVICES}),
    ),
    Case("a group without its tag", to("tagged"), to(ALL_DEVICES, narrowed="NOT tag = x"), NOBODY),
    Case(
        "versions below and above",
        to(ALL_DEVICES, narrowed="osVersion < 10"),
        to(ALL_DEVICES, narrowed="osVersion >= 10.0.0"),
        NOBODY,
    ),
    Case(
        "versions that overlap",
        to(ALL_DEVICES, narrowed="osVersion <= 10"),
        to(ALL_DEVICES, narrowed="osVersion >= 9"),
        frozenset({DEVICES}),
    ),
    Case("all get the other", to("kiosks"), to(ALL_DEVICES), frozenset({DEVICES}), is_covered=True),
    Case("all but some get the other", to("kiosks"), to(ALL_DEVICES, exclude=("laptops",)), frozenset({DEVICES})),
    Case("the nesting group gets the other", to("kiosks"), to("fleet"), frozenset({DEVICES}), is_covered=True),
    Case(
        "some tags are the group",
        to(ALL_DEVICES, narrowed="tag = x"),
        to("tagged"),
        frozenset({DEVICES}),
        is_covered=True,
    ),
    Case("users before devices", to("developers"), to(ALL_DEVICES), frozenset({(True, False)}), is_covered=True),
    Case(
        "users and devices in one",
        to("kiosks", "developers"),
        to(ALL_USERS),
        frozenset({USERS, (False, True)}),
        is_covered=True,
    ),
    Case(
        "the same users and devices in both",
        to("kiosks", "developers"),
        to("kiosks", "developers"),
        frozenset({USERS, DEVICES}),
        is_covered=True,
    ),
    Case("a group that nobody knows", to("unknown"), to(ALL_DEVICES), NOBODY),
    Case("an exclude that nobody knows", to(ALL_DEVICES), to(ALL_DEVICES, exclude=("unknown",)), NOBODY),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_policies_meet_as_their_assignments_say(case: Case) -> None:
    book = GroupBook(GROUPS)

    meeting = Audience(case.one, None, book).meeting(Audience(case.other, None, book))

    assert meeting == Meeting(case.modes, case.is_covered)


def test_a_rules_policy_meets_no_settings_for_another_system() -> None:
    book = GroupBook(GROUPS)
    rules = Audience(to(ALL_DEVICES), Platform.WINDOWS, book)

    assert not rules.meeting(Audience(to(ALL_DEVICES, narrowed='os = "linux"'), None, book)).modes
    assert rules.meeting(Audience(to(ALL_DEVICES, narrowed='os = "windows"'), None, book)).is_covered
