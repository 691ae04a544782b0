"""Who is in which group, as documents are worked out by it."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.memberships import MembershipIndex
from elevation.model import ALL_DEVICES, Attributes, Group, GroupType
from services.policy.model.effective import EffectivePolicies
from tests.builders.nesting import NAMES, described, has_device, has_user, nested_groups
from tests.fakes.policy_delivery import assigned, corpus, device, rules

LINUX = Group("linux", GroupType.DEVICE, filter="os = linux")
PEOPLE = Group("people", GroupType.USER, ("alice",))
COMPANY = Group("company", GroupType.USER, ("zoe",), groups=("people",))
FLEET = Group("fleet", GroupType.DEVICE, ("D9",), groups=("linux", "lab"))
LAB = Group("lab", GroupType.DEVICE, ("D2",))


def reached(
    policy_group: str, *groups: Group, os: str = "windows", name: str = "d1", users: tuple[str, ...] = ()
) -> bool:
    """Tell whether what is assigned to the group reaches the device or one of its users."""
    policies = EffectivePolicies(corpus(rules("tools", policy_group)), {group.name: group for group in groups})
    return bool(policies.document(device(name, *users, os=os)).rules_policies)


@given(nested_groups(), described)
def test_a_device_is_in_the_groups_that_it_would_be_in_if_nested_ones_were_written_out(
    groups: Mapping[str, Group], who: Attributes
) -> None:
    expected = {name for name in groups if has_device(groups, name, who)}
    assert MembershipIndex(groups.values()).of_device(str(who["name"]), who) == expected


@given(nested_groups(), st.sampled_from(NAMES))
def test_a_user_is_in_the_groups_that_it_would_be_in_if_nested_ones_were_written_out(
    groups: Mapping[str, Group], user: str
) -> None:
    index = MembershipIndex(groups.values())
    assert index.of_user(user) == {name for name in groups if has_user(groups, name, user)}
    assert index.types == {name: group.type for name, group in groups.items()}


@given(nested_groups(), described, st.permutations(range(3)))
def test_the_order_of_groups_means_nothing(groups: Mapping[str, Group], who: Attributes, order: list[int]) -> None:
    listed = list(groups.values())
    turned = sorted(listed, key=lambda group: (order[len(group.name + group.filter) % 3], group.name))
    name = str(who["name"])
    assert MembershipIndex(turned).of_device(name, who) == MembershipIndex(listed).of_device(name, who)


def test_a_policy_reaches_devices_by_a_nested_group_listed_or_found() -> None:
    assert reached("fleet", FLEET, LINUX, LAB, os="linux")
    assert reached("fleet", FLEET, LINUX, LAB, name="d2")
    assert reached("fleet", FLEET, LINUX, LAB, name="d9")
    assert not reached("fleet", FLEET, LINUX, LAB)


def test_a_policy_reaches_users_by_a_nested_group() -> None:
    assert reached("company", COMPANY, PEOPLE, users=("alice",))
    assert not reached("people", COMPANY, PEOPLE, users=("zoe",))


def test_an_exclude_holds_for_who_is_in_a_nested_group() -> None:
    groups = {group.name: group for group in (FLEET, LINUX, LAB)}
    kept_out = rules("tools", assignments=assigned(ALL_DEVICES, exclude=["fleet"]))
    policies = EffectivePolicies(corpus(kept_out), groups)
    assert policies.document(device("d1", os="linux")).rules_policies == ()
    assert policies.document(device("d1", os="windows")).rules_policies != ()


@pytest.mark.parametrize(
    "inner",
    [
        None,
        Group("linux", GroupType.USER, ("D1",)),
        Group("linux", GroupType.DEVICE, filter="colour = red"),
        Group("linux", GroupType.DEVICE, groups=("lab",)),
    ],
    ids=["not there", "of another type", "with a filter that cannot be read", "nests itself"],
)
def test_a_group_that_nests_what_cannot_be_told_includes_nobody_and_excludes_everybody(inner: Group | None) -> None:
    groups = {group.name: group for group in (FLEET, LAB, inner) if group is not None}
    included, excluding = rules("in", "fleet"), rules("out", assignments=assigned(ALL_DEVICES, exclude=["fleet"]))
    policies = EffectivePolicies(corpus(included, excluding), groups)
    for name in ("d1", "d2", "d9"):
        assert policies.document(device(name)).rules_policies == ()
