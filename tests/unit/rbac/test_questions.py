"""Who may, who can, and why: the same answers as the check's, and as a slow evaluator's."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services._chassis.access import CompiledAccess
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, PrincipalGroupMembers, RoleGrant
from services.rbac.model.explanations import MOST_STEPS, Gap, Query, Step, explain
from services.rbac.model.nouns import Actor
from services.rbac.model.questions import Asked, Holder, allows, contributing, holders
from tests.builders.snapshots import AIMS, GROUPS, RIGHTS, ROLES, TAGS, USERS, snapshots, some
from tests.fakes.clock import NOW
from tests.reference import snapshots as reference

READ, ASSIGN, ROLES_READ = RIGHTS
ASKED = st.none() | st.builds(Asked, some(TAGS), some(AIMS, 2))
ACTORS = st.builds(Actor, st.sampled_from(USERS), some(GROUPS, 1))
NONE: frozenset[str] = frozenset()


def compiled(*assignments: AssignmentGrant, groups: dict[str, set[str]] | None = None) -> CompiledAccess:
    nested = tuple(PrincipalGroupMembers(name, frozenset(members)) for name, members in (groups or {}).items())
    return CompiledAccess(AccessSnapshot(revision=1, roles=ROLES, assignments=assignments, principal_groups=nested))


def given_to(*members: str, role: str = "author", **more: object) -> AssignmentGrant:
    chosen = {key: frozenset(value) if isinstance(value, list) else value for key, value in more.items()}
    return AssignmentGrant(**{"name": "a", "role": role, "members": frozenset(members), **chosen})  # type: ignore[arg-type]


def why(
    access: CompiledAccess, asked: Asked | None = None, *, strangers: bool = True
) -> list[tuple[tuple[Gap, ...], str]]:
    found = explain(access, Query(Actor("user:ann"), ASSIGN, asked, strangers), NOW)
    return [(step.gaps, step.reason) for step in found.steps]


def alone_allows(assignment: AssignmentGrant, snapshot: AccessSnapshot, query: Query) -> bool:
    one = replace(snapshot, assignments=(assignment,))
    granting = reference.granting(one, query.actor.name, query.right, NOW, own=query.actor.groups)
    return bool(granting) if query.asked is None else reference.allows(granting, query.asked.tags, query.asked.groups)


def repaired(assignment: AssignmentGrant, gap: Gap, query: Query) -> AssignmentGrant:
    match gap:
        case Gap.EXPIRED:
            return replace(assignment, expires=None)
        case Gap.NOT_A_MEMBER:
            return replace(assignment, members=frozenset({query.actor.name}))
        case Gap.ROLE_WITHOUT_RIGHT | Gap.ROLE_MISSING:
            return replace(assignment, role="repaired")
        case Gap.OTHER_SCOPE_TAGS:
            return replace(assignment, scope_tags=NONE)
        case Gap.GROUP_OUT_OF_SCOPE:
            return replace(assignment, scope_groups=query.asked.groups if query.asked else NONE)


@given(snapshots(), ACTORS, ASKED)
def test_a_question_is_answered_as_a_slow_evaluator_answers_it(
    snapshot: AccessSnapshot, actor: Actor, asked: Asked | None
) -> None:
    access = CompiledAccess(snapshot)
    for right in RIGHTS:
        granting = reference.granting(snapshot, actor.name, right, NOW, own=actor.groups)
        expected = bool(granting) if asked is None else reference.allows(granting, asked.tags, asked.groups)
        allowing = contributing(access.grants(actor.name, NOW, actor.groups), right, asked, NOW)
        assert bool(allowing) == expected
        assert {grant.assignment for grant in allowing} <= {one.name for one in granting}
        permit = access.permit(actor.name, right, NOW, actor.groups)
        assert (permit is not None if asked is None else allows(permit, asked.tags, asked.groups)) == expected


@given(snapshots(), ACTORS, ASKED, st.booleans())
def test_an_explanation_agrees_with_the_check_and_every_near_miss_lacks_just_what_it_says(
    snapshot: AccessSnapshot,
    actor: Actor,
    asked: Asked | None,
    strangers: bool,  # noqa: FBT001 - drawn
) -> None:
    snapshot = replace(snapshot, roles=(*ROLES, RoleGrant("repaired", frozenset(RIGHTS))))
    access = CompiledAccess(snapshot)
    query = Query(actor, ASSIGN, asked, strangers)
    found = explain(access, query, NOW)
    by_name = {assignment.name: assignment for assignment in snapshot.assignments}
    allowing = contributing(access.grants(actor.name, NOW, actor.groups), ASSIGN, asked, NOW)
    assert found.allowed == bool(allowing)
    shown = {step.grant.assignment for step in found.steps}
    assert shown >= {name for name, assignment in by_name.items() if alone_allows(assignment, snapshot, query)}
    for step in found.steps:
        assignment = by_name[step.grant.assignment]
        assert alone_allows(assignment, snapshot, query) == (not step.gaps)
        for gap in step.gaps:
            assert alone_allows(repaired(assignment, gap, query), snapshot, query)
            assert strangers or gap is not Gap.NOT_A_MEMBER
        if Gap.NOT_A_MEMBER not in step.gaps:
            assert_way(snapshot, actor, assignment, step)


def assert_way(snapshot: AccessSnapshot, actor: Actor, assignment: AssignmentGrant, found: Step | Holder) -> None:
    members = {group.name: group.members for group in snapshot.principal_groups}
    if not found.way:
        assert actor.name in assignment.members
        return
    assert f"group:{found.way[0]}" in assignment.members
    assert all(f"group:{inner}" in members[outer] for outer, inner in pairwise(found.way))
    assert actor.name in members[found.way[-1]] or found.way[-1] in actor.groups


@given(snapshots(), ASKED, st.integers(1, 4))
def test_who_can_are_exactly_those_who_may_page_by_page(
    snapshot: AccessSnapshot, asked: Asked | None, size: int
) -> None:
    access = CompiledAccess(snapshot)
    found: list[Holder] = []
    while page := holders(
        access, READ, asked, NOW, after=(found[-1].principal, found[-1].grant.assignment) if found else None, most=size
    ):
        found += page
    pairs = [(holder.principal, holder.grant.assignment) for holder in found]
    assert pairs == sorted(set(pairs))
    mapped = snapshot.issuers[0].group_mappings["staff"]
    everybody = [Actor(user) for user in USERS] + [Actor("", frozenset({name})) for name in sorted(mapped)]
    expected = {
        (actor.name or f"group:{next(iter(actor.groups))}", grant.assignment)
        for actor in everybody
        for grant in contributing(access.grants(actor.name, NOW, actor.groups), READ, asked, NOW)
    }
    assert set(pairs) == expected
    by_name = {assignment.name: assignment for assignment in snapshot.assignments}
    for holder in found:
        if holder.principal.startswith("user:"):
            assert_way(snapshot, Actor(holder.principal), by_name[holder.grant.assignment], holder)


def test_the_way_leads_from_the_outermost_group_to_the_principal() -> None:
    groups = {"outer": {"group:middle"}, "middle": {"group:inner", "user:bob"}, "inner": {"user:ann"}}
    access = compiled(given_to("group:outer"), groups=groups)
    ways = {holder.principal: holder.way for holder in holders(access, READ, None, NOW, after=None, most=9)}
    assert ways == {"user:ann": ("outer", "middle", "inner"), "user:bob": ("outer", "middle")}
    assert why(access) == [((), 'role "author" grants it through outer > middle > inner')]


def test_several_assignments_together_reach_several_groups() -> None:
    kiosks = replace(given_to("user:ann", scope_groups=["kiosks"]), name="k")
    laptops = replace(given_to("user:ann", scope_groups=["laptops"]), name="l")
    found = explain(
        compiled(kiosks, laptops),
        Query(Actor("user:ann"), ASSIGN, Asked(NONE, frozenset(AIMS[:2])), strangers=False),
        NOW,
    )
    assert found.allowed
    assert found.reason.endswith("with tag default and for groups kiosks, laptops is allowed by role assignments k, l")


@pytest.mark.parametrize(
    ("assignment", "gap", "reason"),
    [
        (
            given_to("user:ann", scope_tags=["apac"], scope_groups=["kiosks"]),
            Gap.OTHER_SCOPE_TAGS,
            "grants it, but only for tag apac",
        ),
        (
            given_to("user:ann", scope_groups=["laptops"]),
            Gap.GROUP_OUT_OF_SCOPE,
            "grants it, but only for group laptops",
        ),
        (given_to("user:ann"), Gap.GROUP_OUT_OF_SCOPE, "grants it, but for no group"),
        (
            given_to("user:ann", scope_groups=["kiosks"], expires=NOW - timedelta(days=1)),
            Gap.EXPIRED,
            f"granted it; it expired on {NOW - timedelta(days=1):%Y-%m-%d}",
        ),
        (
            given_to("user:bob", scope_groups=["kiosks"]),
            Gap.NOT_A_MEMBER,
            "grants it, but user:ann is no member of the assignment",
        ),
        (
            given_to("user:ann", role="reader", scope_groups=["kiosks"]),
            Gap.ROLE_WITHOUT_RIGHT,
            f"does not hold {ASSIGN}",
        ),
        (given_to("user:ann", role="deleted", scope_groups=["kiosks"]), Gap.ROLE_MISSING, "does not exist any more"),
    ],
    ids=lambda value: value.value if isinstance(value, Gap) else "",
)
def test_a_near_miss_says_what_it_lacks(assignment: AssignmentGrant, gap: Gap, reason: str) -> None:
    asked = Asked(frozenset({"emea"}), frozenset({"kiosks"}))
    assert why(compiled(assignment), asked) == [((gap,), f'role "{assignment.role}" {reason}')]


def test_what_lacks_two_things_is_left_out() -> None:
    assert why(compiled(given_to("user:bob", role="reader"))) == []


def test_who_may_not_read_roles_learns_nothing_of_the_assignments_of_others() -> None:
    access = compiled(given_to("user:bob"))
    assert why(access, strangers=False) == []
    assert len(why(access, strangers=True)) == 1


def test_long_lists_are_cut_and_say_so() -> None:
    tags = [f"t{index}" for index in range(8)]
    assert why(compiled(given_to("user:ann", scope_tags=tags)), Asked()) == [
        ((Gap.OTHER_SCOPE_TAGS,), 'role "author" grants it, but only for tags t0, t1, t2, t3, t4 and 3 more')
    ]
    many = (replace(given_to("user:bob"), name=f"a{index:04}") for index in range(MOST_STEPS))
    steps = why(compiled(*many, replace(given_to("user:ann"), name="z")))
    assert len(steps) == MOST_STEPS
    assert steps[0][0] == ()
