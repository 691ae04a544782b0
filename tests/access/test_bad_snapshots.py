"""Snapshots that the rbac service would never make: what is wrong in them grants nothing, and nothing loops."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services._chassis.access import CompiledAccess
from services._chassis.access_client import snapshot_from_proto, snapshot_to_proto
from services._chassis.errors import InvalidError
from services._chassis.rights import RIGHT_NAMES
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, PrincipalGroupMembers, RoleGrant
from services.rbac import usecases
from services.rbac.model.nouns import Actor, PrincipalGroup
from tests.builders.rbac import assignment, role, store_with
from tests.fakes.clock import NOW

READ = RoleGrant("reader", frozenset({"devices.read"}))
OWNER_ACTOR = Actor("user:owner")


def compiled(
    *assignments: AssignmentGrant, roles: tuple[RoleGrant, ...] = (READ,), groups: Mapping[str, set[str]] | None = None
) -> CompiledAccess:
    """Compile a snapshot as a service gets it."""
    made = tuple(PrincipalGroupMembers(name, frozenset(members)) for name, members in (groups or {}).items())
    snapshot = AccessSnapshot(revision=1, roles=roles, assignments=assignments, principal_groups=made)
    return CompiledAccess(snapshot_from_proto(snapshot_to_proto(snapshot)))


def given_to(*members: str, role: str = "reader", **scope: Any) -> AssignmentGrant:
    return AssignmentGrant(name="a", role=role, members=frozenset(members), **scope)


@pytest.mark.parametrize(
    "right", ["devices.everything", "*", "", "DEVICES.READ", " devices.read", "devices.read ", "devices.read\x00"]
)
def test_a_right_that_nobody_knows_is_no_right_and_spoils_no_other(right: str) -> None:
    access = compiled(given_to("user:ann", role="odd"), roles=(RoleGrant("odd", frozenset({right, "audit.read"})),))
    assert access.rights("user:ann", NOW) == ("audit.read",)
    assert all(access.permit("user:ann", known, NOW) is None for known in RIGHT_NAMES - {"audit.read"})
    assert access.permit("user:ann", right, NOW) is None


def test_an_assignment_to_a_role_that_is_gone_grants_nothing_and_has_a_name() -> None:
    access = compiled(given_to("user:ann", role="deleted"))
    assert access.rights("user:ann", NOW) == ()
    assert access.permit("user:ann", "devices.read", NOW) is None
    assert [one.name for one in access.snapshot.assignments] == ["a"]


async def test_a_role_that_is_no_more_cannot_be_assigned() -> None:
    store = store_with(role("gone", "devices.read"))
    await usecases.delete_role(store, "gone", now=NOW)
    with pytest.raises(InvalidError, match="there is no role 'gone'"):
        await usecases.apply_access(
            store, [assignment("a", "gone", "user:ann")], actor=OWNER_ACTOR, now=NOW, validate_only=False
        )


def test_a_scope_group_that_vanished_reaches_nobody_and_is_still_shown() -> None:
    access = compiled(given_to("user:ann", scope_groups=frozenset({"vanished"})))
    permit = access.permit("user:ann", "devices.read", NOW)
    assert permit is not None
    assert permit.out_of_scope(["laptops", "all-devices", ""], tags=()) == ("", "all-devices", "laptops")
    assert permit.scopes[0].groups == {"vanished"}


@pytest.mark.parametrize(
    "member", ["ann", "", "group:", "group:none", "user", "service:policy", "device:d1", "GROUP:g"]
)
def test_a_member_of_no_known_kind_is_nobody(member: str) -> None:
    access = compiled(given_to(member), groups={"g": {"user:bob"}})
    assert access.rights("user:ann", NOW) == access.rights("user:bob", NOW) == ()


NAMES = [f"g{number}" for number in range(6)]
NESTED = st.dictionaries(
    st.sampled_from(NAMES),
    st.sets(st.sampled_from([*(f"group:{name}" for name in NAMES), "user:ann", "user:bob", "group:none"])),
)


@given(groups=NESTED, start=st.sampled_from(NAMES))
def test_groups_in_a_cycle_end_and_give_no_more_than_their_members(groups: dict[str, set[str]], start: str) -> None:
    access = compiled(given_to(f"group:{start}"), groups=groups)
    reached, line = {start}, [start]
    for name in line:  # everything that may be reached, cycles or not
        inner = {member.removeprefix("group:") for member in groups.get(name, ()) if member.startswith("group:")}
        line += sorted(inner - reached)
        reached |= inner
    reachable = {member for name in reached for member in groups.get(name, ()) if member.startswith("user:")}
    direct = {member for member in groups.get(start, ()) if member.startswith("user:")}
    holders = {name for name in ("user:ann", "user:bob") if access.rights(name, NOW)}
    assert direct <= holders <= reachable


def test_a_chain_of_very_many_groups_is_followed_to_its_end() -> None:
    chain = {f"g{number}": {f"group:g{number + 1}"} for number in range(20_000)} | {"g20000": {"user:ann"}}
    assert compiled(given_to("group:g0"), groups=chain).rights("user:ann", NOW) == ("devices.read",)


@pytest.mark.parametrize(
    "groups",
    [
        {"g1": {"group:g1"}},
        {"g1": {"group:g2"}, "g2": {"group:g1"}},
        {"g1": {"group:g2"}, "g2": {"group:g3"}, "g3": {"group:g1"}},
    ],
    ids=["itself", "two", "three"],
)
async def test_groups_in_a_cycle_are_refused_and_named(groups: dict[str, set[str]]) -> None:
    items = [PrincipalGroup(name, frozenset(members)) for name, members in groups.items()]
    store = store_with()
    with pytest.raises(InvalidError, match="g1"):
        await usecases.apply_access(store, items, actor=OWNER_ACTOR, now=NOW, validate_only=False)
    assert not store.kept.principal_groups


def test_a_snapshot_with_every_field_empty_grants_nothing() -> None:
    message = snapshot_to_proto(AccessSnapshot(revision=1))
    message.roles.add()
    message.assignments.add()
    message.principal_groups.add()
    message.tokens.add()
    access = CompiledAccess(snapshot_from_proto(message))
    assert access.rights("", NOW) == access.rights("user:", NOW) == ()


def test_a_grant_is_over_at_its_very_end() -> None:
    one = given_to("user:ann", expires=NOW)
    assert compiled(one).permit("user:ann", "devices.read", NOW) is None
    later = replace(one, expires=NOW + timedelta(microseconds=1))
    assert compiled(later).permit("user:ann", "devices.read", NOW) is not None
