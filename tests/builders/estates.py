"""Policies, groups and devices at random: few names, so that they meet."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st

from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    Assignments,
    Exclude,
    FilterMode,
    Group,
    GroupType,
    Include,
    ReusableCertificate,
    RulesPolicy,
    SettingsPolicy,
)
from services.policy.model.directory import DirectoryDevice
from tests.builders.elevation import certificate
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import Authored, device, rules, settings

DEVICES = ("d1", "d2", "d3", "d4")
USERS = ("ann", "bob", "ulf")
NAMES = ("g0", "g1", "g2", "g3")
FILTERS = ("", 'os = "windows"', 'tag = "emea"', 'name = "D1"', "nonsense =")
READABLE = FILTERS[:-1]
MEMBERS = (*(name.upper() for name in DEVICES), *USERS)


@st.composite
def assignments(draw: st.DrawFn) -> Assignments:
    """Draw whom a policy is for."""
    includes = draw(st.lists(st.sampled_from([ALL_DEVICES, ALL_USERS, *NAMES]), max_size=3, unique=True))
    excludes = draw(st.lists(st.sampled_from([ALL_USERS, *NAMES]), max_size=1))
    include = [
        Include(name, draw(st.sampled_from(READABLE)), draw(st.sampled_from(list(FilterMode)))) for name in includes
    ]
    return Assignments(tuple(include), tuple(map(Exclude, excludes)))


@st.composite
def settings_policy(draw: st.DrawFn, name: str) -> SettingsPolicy:
    """Draw a settings policy."""
    stale = draw(st.sampled_from([None, timedelta(hours=1)]))
    one = settings(name, enabled=draw(st.booleans()), stale_after=stale, send_reporting_data=draw(st.booleans()))
    return replace(one, assignments=draw(assignments()))


@st.composite
def rules_policy(draw: st.DrawFn, name: str) -> RulesPolicy:
    """Draw a rules policy, which may name a certificate."""
    one = rules(name, certificate=draw(st.sampled_from(["", "vendor"])))
    return replace(one, assignments=draw(assignments()))


@st.composite
def authored(draw: st.DrawFn) -> tuple[Authored, ...]:
    """Draw all that is authored."""
    made: list[Authored] = [ReusableCertificate("vendor", certificate("vendor"))]
    made += [draw(settings_policy(f"s{number}")) for number in range(draw(st.integers(0, 2)))]
    made += [draw(rules_policy(f"r{number}")) for number in range(draw(st.integers(0, 3)))]
    return tuple(made)


@st.composite
def one_group(draw: st.DrawFn, name: str) -> Group:
    """Draw a group: listed, found, or nesting; some cannot be read."""
    kind = draw(st.sampled_from(list(GroupType)))
    where = draw(st.sampled_from(FILTERS)) if kind is GroupType.DEVICE else ""
    members = () if where else tuple(draw(st.lists(st.sampled_from(MEMBERS), max_size=4, unique=True)))
    nested = () if where else tuple(draw(st.lists(st.sampled_from(NAMES), max_size=1)))
    return Group(name, kind, members, where, groups=nested)


@st.composite
def groups(draw: st.DrawFn) -> tuple[Group, ...]:
    """Draw groups."""
    return tuple(draw(one_group(name)) for name in draw(st.lists(st.sampled_from(NAMES), unique=True)))


@st.composite
def one_device(draw: st.DrawFn) -> DirectoryDevice:
    """Draw a device as it is now."""
    made = device(
        draw(st.sampled_from(DEVICES)),
        *draw(st.lists(st.sampled_from(USERS), max_size=3, unique=True)),
        enrolled=draw(st.sampled_from([True, True, True, False])),
        os=draw(st.sampled_from(["windows", "linux"])),
        tag=tuple(draw(st.lists(st.sampled_from(["emea", "apac"]), max_size=1))),
    )
    quarantined = draw(st.sampled_from([False, False, False, True]))
    return replace(made, deprovision_time=draw(st.sampled_from([None, NOW])), quarantined=quarantined)
