"""The compiled check says what a slow evaluator says, whatever groups hold one another and whenever it is asked."""

from datetime import datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services._chassis.access import CompiledAccess
from services._chassis.nesting import Nesting, components, cycles, way
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, PrincipalGroupMembers, RoleGrant
from tests.builders.snapshots import AIMS, GROUPS, RIGHTS, TAGS, TIMES, USERS, snapshots, some
from tests.fakes.clock import NOW
from tests.reference import snapshots as reference

READ = RIGHTS[0]
OWN_GROUPS = some((*GROUPS, "unknown"), 2)
MANY_TIMES = st.lists(st.sampled_from(TIMES), min_size=1, max_size=4)
NESTED = st.fixed_dictionaries({name: some(tuple(f"group:{name}" for name in GROUPS), 4) for name in GROUPS})


@given(snapshots(), MANY_TIMES, OWN_GROUPS)
def test_the_check_agrees_with_a_slow_evaluator(
    snapshot: AccessSnapshot, times: list[datetime], own: frozenset[str]
) -> None:
    access = CompiledAccess(snapshot)
    for now in times:
        for principal in (*USERS, "user:nobody"):
            for right in RIGHTS:
                granting = reference.granting(snapshot, principal, right, now, own=own)
                assert (access.permit(principal, right, now, own) is not None) == bool(granting)
                assert (right in access.rights(principal, now, own)) == bool(granting)
            owning = reference.granting(snapshot, principal, "audit.read", now, own=own)
            assert access.is_owner(principal, now, own) == bool(owning)


@given(snapshots(), st.tuples(some(TAGS), some(AIMS)), OWN_GROUPS)
def test_scopes_agree_with_a_slow_evaluator(
    snapshot: AccessSnapshot, asked: tuple[frozenset[str], frozenset[str]], own: frozenset[str]
) -> None:
    access = CompiledAccess(snapshot)
    tags, aims = asked
    for principal in USERS:
        permit = access.permit(principal, READ, NOW, own)
        granting = reference.granting(snapshot, principal, READ, NOW, own=own)
        assert (permit is not None and permit.sees(tags)) == reference.allows(granting, tags, frozenset())
        if aims:
            assert (permit is not None and permit.may_target(aims, tags=tags)) == reference.allows(granting, tags, aims)


@given(NESTED)
def test_a_way_round_is_named_for_exactly_the_groups_that_go_round(groups: dict[str, frozenset[str]]) -> None:
    ways = list(cycles(groups))
    for found in ways:
        assert found[0] == found[-1]
        assert all(f"group:{inner}" in groups[outer] for outer, inner in pairwise(found))
    round_ones = {name for name in groups if reference.contains(groups, name, name)}
    gathered = list(components({name: _named(groups[name]) for name in groups}))
    for name in round_ones:
        together = next(set(names) for names in gathered if name in names)
        assert any(together & set(found) for found in ways)
    assert {name for found in ways for name in found} <= round_ones


@given(NESTED)
def test_the_ways_up_are_the_groups_that_count(groups: dict[str, frozenset[str]]) -> None:
    nesting = Nesting(groups)
    for start in groups:
        steps = nesting.above([start])
        holding = {name for name in groups if reference.is_in(groups, f"group:{name}", "", frozenset({start}))}
        assert set(steps) == holding
        for outer in steps:
            found = way(steps, outer)
            assert (found[0], found[-1]) == (outer, start)
            assert all(f"group:{below}" in groups[above] for above, below in pairwise(found))


def test_steps_on_a_cycle_give_nothing_and_all_others_give() -> None:
    groups = (
        PrincipalGroupMembers("a", frozenset({"user:ann", "group:b"})),
        PrincipalGroupMembers("b", frozenset({"user:bob", "group:a", "group:c"})),
        PrincipalGroupMembers("c", frozenset({"user:cid"})),
        PrincipalGroupMembers("self", frozenset({"group:self", "user:sam"})),
        PrincipalGroupMembers("outer", frozenset({"group:a", "group:self"})),
    )
    access = CompiledAccess(
        AccessSnapshot(
            revision=1,
            roles=(RoleGrant("reader", frozenset({READ})),),
            principal_groups=groups,
            assignments=tuple(
                AssignmentGrant(name=name, role="reader", members=frozenset({f"group:{name}"}))
                for name in ("a", "b", "c", "self", "outer")
            ),
        )
    )
    held = {
        user: [grant.assignment for grant in access.grants(f"user:{user}", NOW)]
        for user in ("ann", "bob", "cid", "sam")
    }
    assert held == {"ann": ["a", "outer"], "bob": ["b"], "cid": ["b", "c"], "sam": ["self", "outer"]}


def test_groups_nest_as_deep_as_anybody_likes() -> None:
    depth = 5000
    groups = tuple(
        PrincipalGroupMembers(f"g{index}", frozenset({f"group:g{index + 1}", f"user:u{index}"}))
        for index in range(depth)
    )
    given = AssignmentGrant(name="top", role="reader", members=frozenset({"group:g0"}))
    roles = (RoleGrant("reader", frozenset({READ})),)
    access = CompiledAccess(AccessSnapshot(revision=1, roles=roles, principal_groups=groups, assignments=(given,)))
    assert access.permit(f"user:u{depth - 1}", READ, NOW) is not None


def _named(members: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(member.removeprefix("group:") for member in members))
