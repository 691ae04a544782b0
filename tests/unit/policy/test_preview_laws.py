"""Who gains and loses what, against the plain meaning: everybody asked one by one, before and after."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from elevation.assignment import Memberships, applicable
from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    Assignments,
    Device,
    Exclude,
    FilterMode,
    Group,
    GroupType,
    Include,
    RulesPolicy,
    SettingsPolicy,
    User,
)
from services.policy.model.directory import DirectoryDevice
from services.policy.model.objects import Corpus
from services.policy.model.preview import Comparison, ReachChange, Situation
from tests.builders.nesting import FILTERS, NAMES, TAGS, has_device, has_user, nested_groups
from tests.fakes.policy_delivery import corpus, rules, settings

Ref = tuple[type[SettingsPolicy | RulesPolicy], str]
Entry = tuple[str, type[SettingsPolicy | RulesPolicy], str, ReachChange]
GROUPS = (ALL_DEVICES, ALL_USERS, *(f"in-{number}" for number in range(4)), *(f"out-{number}" for number in range(3)))


@st.composite
def assignments(draw: st.DrawFn) -> Assignments:
    """Draw assignments, also to groups that are not there."""
    include = st.builds(
        Include, st.sampled_from(GROUPS), st.sampled_from(["", "", *FILTERS]), st.sampled_from(FilterMode)
    )
    excluded = draw(st.lists(st.sampled_from(GROUPS), max_size=1))
    return Assignments(tuple(draw(st.lists(include, max_size=2))), tuple(map(Exclude, excluded)))


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    """Draw a few policies, of a few contents."""
    found: list[SettingsPolicy | RulesPolicy] = [
        settings(name, enabled=draw(st.booleans()), assignments=draw(assignments()))
        for name in draw(st.sets(st.sampled_from("abc")))
    ]
    for name in draw(st.sets(st.sampled_from("abc"))):
        described = draw(st.sampled_from(["", "more"]))
        made = rules(name, description=described, assignments=draw(assignments()))
        found.append(made if draw(st.booleans()) else replace(made, rules=()))
    return corpus(*found)


@st.composite
def devices(draw: st.DrawFn) -> DirectoryDevice:
    """Draw a device that policies reach."""
    return DirectoryDevice(
        device_id="d",
        name=draw(st.sampled_from(NAMES)),
        enrolled=True,
        attributes={
            "os": draw(st.sampled_from(["linux", "windows"])),
            "osVersion": draw(st.sampled_from(["5.4", "6.1"])),
            "tag": tuple(draw(st.sets(st.sampled_from(TAGS)))),
        },
        users=frozenset(draw(st.sets(st.sampled_from(NAMES)))),
    )


def standing(device: DirectoryDevice, user: str | None, groups: Mapping[str, Group]) -> Memberships:
    attributes = {**device.attributes, "name": device.name}
    known = Device(device.name, frozenset(name for name in groups if has_device(groups, name, attributes)), attributes)
    who = None if user is None else User(user, frozenset(name for name in groups if has_user(groups, name, user)))
    return Memberships.of(known, who)


def reached(device: DirectoryDevice, user: str, at: Situation) -> dict[Ref, tuple[bool, object]]:
    """Return what applies to a user, or to whoever comes, by the kernel: whether for users, and what it says."""
    policies: list[SettingsPolicy | RulesPolicy] = [stored.content for stored in at.corpus.settings_policies]
    policies += [stored.content for stored in at.corpus.rules_policies]
    types = {name: group.type for name, group in at.groups.items()}

    def found(of: str | None) -> Iterator[tuple[SettingsPolicy | RulesPolicy, bool]]:
        memberships = standing(device, of, at.groups)
        for policy in policies:
            alone = applicable([policy], types, memberships)
            if alone.settings or alone.rules:
                bare = applicable([policy], types, replace(memberships, device_groups=frozenset()))
                yield policy, bool(bare.settings or bare.rules)

    bound = [policy for of in (None, *device.users) for policy, _ in found(of)]
    provisioned = bool(user) or any(isinstance(policy, SettingsPolicy) for policy in bound)
    return {
        (type(policy), policy.name): (by_user, replace(policy, assignments=Assignments(), description=""))
        for policy, by_user in found(user)
        if provisioned or isinstance(policy, RulesPolicy)
    }


def expected(device: DirectoryDevice, before: Situation, after: Situation) -> Iterator[Entry]:
    for user in ("", *device.users):
        was, will = reached(device, user, before), reached(device, user, after)
        for kind, name in was.keys() | will.keys():
            states = was.get((kind, name)), will.get((kind, name))
            if states[0] == states[1]:
                continue
            change = ReachChange.CHANGED
            if None in states:
                change = ReachChange.GAINED if states[0] is None else ReachChange.LOST
            yield user, kind, name, change


@st.composite
def changed(draw: st.DrawFn) -> tuple[Situation, Situation]:
    """Draw policies and groups before a change, and after it."""
    groups = draw(nested_groups())
    others = draw(nested_groups()) if draw(st.booleans()) else groups
    return Situation(draw(corpora()), groups), Situation(draw(corpora()), others)


@given(changed(), devices())
def test_changes_are_those_that_asking_everybody_finds(
    change: tuple[Situation, Situation], device: DirectoryDevice
) -> None:
    before, after = change
    seats = Comparison(before, after).seats(device) or ((),) * (1 + len(device.users))
    found = [
        (user, *one.ref, one.change)
        for user, changes in zip(("", *sorted(device.users)), seats, strict=True)
        for one in changes
    ]
    assert len(found) == len(set(found))
    assert set(found) == set(expected(device, before, after))


@given(changed(), devices())
def test_what_is_not_listed_for_a_user_is_listed_for_the_device_and_is_not_for_users(
    change: tuple[Situation, Situation], device: DirectoryDevice
) -> None:
    before, after = change
    whoever, *users = Comparison(before, after).seats(device) or ((),)
    assert all(change.listed for change in whoever)
    for user, changes in zip(sorted(device.users), users, strict=False):
        for one in changes:
            states = [reached(device, user, at).get(one.ref, (False,))[0] for at in (before, after)]
            told = (one.ref, one.change) in {(other.ref, other.change) for other in whoever}
            assert one.listed or (told and not any(states))


def test_only_policies_that_the_change_may_concern_are_looked_at() -> None:
    here = corpus(rules("a", "in"), rules("b", "out"), rules("c", "other"))
    groups = {
        "in": Group("in", GroupType.DEVICE, ("ws-1",)),
        "out": Group("out", GroupType.DEVICE, groups=("in",)),
        "other": Group("other", GroupType.DEVICE, ("ws-1",)),
    }
    moved = {**groups, "in": Group("in", GroupType.DEVICE, ("ws-2",))}
    assert Comparison(Situation(here, groups), Situation(here, moved)).concerned == {
        (RulesPolicy, "a"),
        (RulesPolicy, "b"),
    }
    assert Comparison(Situation(here, groups), Situation(here, dict(groups))).concerned == frozenset()
