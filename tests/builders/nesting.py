"""Groups in groups at random, and who is in them as one would work it out by hand."""

from collections.abc import Mapping

from hypothesis import strategies as st

from elevation.filters import compile_filter
from elevation.model import Attributes, Group, GroupType

NAMES = ("ws-1", "ws-2", "ws-3")
TAGS = ("finance", "sales")
FILTERS = ('tag = "finance"', 'os = "linux" OR tag = "sales"', 'NOT name = "ws-1"', 'osVersion >= "6"')


def attributes(name: str, os: str = "linux", os_version: str = "6.1", *tags: str) -> Attributes:
    """Return what filters see of a device."""
    return {"name": name, "os": os, "osVersion": os_version, "architecture": "", "ownership": "", "tag": tags}


described = st.builds(
    lambda name, os, version, tags: attributes(name, os, version, *sorted(tags)),
    st.sampled_from(NAMES),
    st.sampled_from(["linux", "windows"]),
    st.sampled_from(["5.4", "6.1"]),
    st.sets(st.sampled_from(TAGS)),
)
"""A device as filters see it."""


@st.composite
def inner(draw: st.DrawFn, name: str) -> Group:
    """Make a group that nests none: listed devices, listed users, or devices that a filter finds."""
    if draw(st.booleans()):
        return Group(name, GroupType.DEVICE, filter=draw(st.sampled_from(FILTERS)))
    members = tuple(sorted(draw(st.sets(st.sampled_from(NAMES)))))
    return Group(name, draw(st.sampled_from(GroupType)), members)


@st.composite
def nested_groups(draw: st.DrawFn) -> Mapping[str, Group]:
    """Make groups, and groups that nest them."""
    parts = [draw(inner(f"in-{number}")) for number in range(draw(st.integers(0, 4)))]
    groups = {part.name: part for part in parts}
    for number in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(GroupType))
        alike = [part.name for part in parts if part.type is kind]
        nested = tuple(sorted(draw(st.sets(st.sampled_from(alike))))) if alike else ()
        members = tuple(sorted(draw(st.sets(st.sampled_from(NAMES)))))
        groups[f"out-{number}"] = Group(f"out-{number}", kind, members, groups=nested)
    return groups


def has_device(groups: Mapping[str, Group], name: str, device: Attributes) -> bool:
    """Tell whether a device is in the group of this name: by itself, or in one that it nests."""
    group = groups[name]
    if group.type is not GroupType.DEVICE:
        return False
    listed = device["name"] in group.members
    found = bool(group.filter) and compile_filter(group.filter)(device)
    return listed or found or any(has_device(groups, inner_name, device) for inner_name in group.groups)


def has_user(groups: Mapping[str, Group], name: str, user: str) -> bool:
    """Tell whether a user is in the group of this name: by itself, or in one that it nests."""
    group = groups[name]
    if group.type is not GroupType.USER:
        return False
    return user in group.members or any(has_user(groups, inner_name, user) for inner_name in group.groups)
