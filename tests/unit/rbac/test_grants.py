"""Only an Owner grants what it lacks: by role, by membership, by assignment, by token; in rights, scope and time."""

from datetime import timedelta
from typing import Any

import pytest

from services.rbac.model.changes import Change, excess_of_token
from services.rbac.model.nouns import AccessObject, AccessState, Actor, PrincipalGroup
from tests.builders.rbac import OWNERS, assignment, role, store_with
from tests.fakes.clock import NOW

READ, WRITE = "policy_authoring.read", "policy_authoring.update"
SOON, LATE = NOW + timedelta(days=1), NOW + timedelta(days=2)
READERS = role("readers", READ)
WRITERS = role("writers", READ, WRITE)
ADMIN = assignment("admin", "readers", "user:admin", groups=["laptops", "kiosks"], tags=["emea", "apac"], expires=LATE)


def state(*items: AccessObject) -> AccessState:
    return store_with(READERS, WRITERS, *items).kept


def excess(*change: AccessObject, before: AccessState | None = None, actor: str = "user:admin") -> tuple[str, ...]:
    held = before or state(ADMIN)
    return Change(held, held.having(change)).excess(Actor(actor), NOW)


def grant(role: str = "readers", **scope: Any) -> AccessObject:
    chosen: dict[str, Any] = {"groups": ["laptops"], "tags": ["emea"], "expires": SOON}
    return assignment("new", role, "user:bob", **{**chosen, **scope})


def test_what_lies_within_ones_own_grant_may_be_granted() -> None:
    assert excess(grant()) == ()
    assert excess(grant(groups=["laptops", "kiosks"], tags=["emea", "apac"], expires=LATE)) == ()
    assert excess(grant(groups=[])) == ()


@pytest.mark.parametrize(
    "scope",
    [
        {"groups": ["laptops", "servers"]},
        {"groups": ["all-devices"]},
        {"tags": ["emea", "amer"]},
        {"tags": []},
        {"tags": ["default"]},
        {"expires": LATE + timedelta(microseconds=1)},
        {"expires": None},
    ],
    ids=lambda scope: f"{next(iter(scope))}",
)
def test_a_scope_or_a_time_beyond_ones_own_may_not_be_granted(scope: dict[str, Any]) -> None:
    assert excess(grant(**scope)) == (READ,)


def test_a_right_that_one_lacks_may_not_be_granted() -> None:
    assert excess(grant("writers")) == (WRITE,)


def test_only_an_owner_makes_an_owner() -> None:
    makes = assignment("new", "Owner", "user:bob", expires=SOON)
    everything = assignment("all", "everything", "user:admin")
    before = state(role("everything", *state().roles["Owner"].rights), everything)
    assert len(excess(makes, before=before)) == 28
    assert excess(makes, before=before, actor="user:owner") == ()


def test_two_grants_of_ones_own_are_not_added_up_to_a_wider_one() -> None:
    laptops = assignment("laptops", "readers", "user:admin", groups=["laptops"])
    kiosks = assignment("kiosks", "readers", "user:admin", groups=["kiosks"])
    before = state(laptops, kiosks)
    assert excess(grant(groups=["laptops"], tags=[], expires=None), before=before) == ()
    assert excess(grant(groups=["laptops", "kiosks"], tags=[], expires=None), before=before) == (READ,)


def test_an_expired_grant_of_ones_own_grants_nothing_on() -> None:
    before = state(assignment("admin", "readers", "user:admin", groups=["laptops"], expires=NOW))
    assert excess(grant(expires=SOON), before=before) == (READ,)


def test_a_role_may_not_be_widened_for_those_who_hold_it() -> None:
    held = assignment("held", "readers", "user:bob", groups=["laptops"], tags=["emea"], expires=SOON)
    assert excess(role("readers", READ, WRITE), before=state(ADMIN, held)) == (WRITE,)


def test_a_role_may_not_be_widened_for_oneself() -> None:
    assert excess(role("readers", READ, "audit.read")) == ("audit.read",)


def test_a_role_that_nobody_holds_may_name_any_right() -> None:
    assert excess(role("unused", WRITE, "audit.read")) == ()


def test_nobody_joins_a_principal_group_that_may_more() -> None:
    group = PrincipalGroup("editors", frozenset({"user:carol"}))
    before = state(ADMIN, group, assignment("editors", "writers", "group:editors", tags=["emea"], expires=SOON))
    joined = PrincipalGroup("editors", frozenset({"user:carol", "user:admin"}))
    assert excess(joined, before=before) == (WRITE,)
    assert excess(joined, before=before, actor="user:owner") == ()


def test_leaving_a_principal_group_is_no_grant() -> None:
    group = PrincipalGroup("editors", frozenset({"user:carol", "user:dan"}))
    before = state(ADMIN, group, assignment("editors", "writers", "group:editors"))
    assert excess(PrincipalGroup("editors", frozenset({"user:dan"})), before=before) == ()


def test_a_group_may_not_be_put_in_place_before_the_role_that_it_gets() -> None:
    change: list[AccessObject] = [
        PrincipalGroup("new", frozenset({"user:admin"})),
        assignment("new", "writers", "group:new", tags=["emea"]),
    ]
    assert WRITE in excess(*change)


def test_a_change_that_only_takes_away_is_nobodys_excess() -> None:
    wide = assignment("wide", "writers", "user:bob")
    before = state(ADMIN, wide)
    narrower = assignment("wide", "readers", "user:bob", tags=["amer"], expires=SOON)
    assert excess(narrower, before=before) == ()


def test_an_assignment_that_grants_more_already_may_be_left_as_it_is() -> None:
    wide = assignment("wide", "writers", "user:bob")
    assert excess(wide, before=state(ADMIN, wide)) == ()


def test_extending_an_assignment_is_a_grant() -> None:
    held = assignment("held", "writers", "user:bob", tags=["emea"], expires=SOON)
    longer = assignment("held", "writers", "user:bob", tags=["emea"], expires=LATE)
    assert excess(longer, before=state(ADMIN, held)) == (WRITE,)


def test_a_token_speaks_only_for_those_who_may_no_more() -> None:
    bob = assignment("bob", "readers", "user:bob", groups=["laptops"], tags=["emea"], expires=SOON)
    carol = assignment("carol", "writers", "user:carol", tags=["emea"], expires=SOON)
    held = state(ADMIN, bob, carol)
    assert excess_of_token(held, "user:bob", Actor("user:admin"), NOW) == ()
    assert excess_of_token(held, "user:nobody", Actor("user:admin"), NOW) == ()
    assert excess_of_token(held, "user:admin", Actor("user:admin"), NOW) == ()
    assert excess_of_token(held, "user:carol", Actor("user:admin"), NOW) == (WRITE,)
    assert len(excess_of_token(held, "user:owner", Actor("user:admin"), NOW)) == 28
    assert excess_of_token(held, "user:carol", Actor("user:owner"), NOW) == ()


def test_a_lasting_owner_is_a_principal_without_an_end() -> None:
    def held(*items: AccessObject) -> AccessState:
        return store_with(*items).kept.without_assignment("owner")

    empty, full = PrincipalGroup("owners", frozenset()), PrincipalGroup("owners", frozenset({"user:x"}))
    outer = PrincipalGroup("outer", frozenset({"group:owners"}))
    by_group, by_outer = assignment("by group", "Owner", "group:owners"), assignment("by outer", "Owner", "group:outer")
    before = held().having([OWNERS])

    def takes_the_last(*items: AccessObject) -> bool:
        return Change(before, held(*items)).takes_the_last_owner()

    assert not takes_the_last(assignment("again", "Owner", "user:x"))
    assert not takes_the_last(full, by_group)
    assert not takes_the_last(full, outer, by_outer)
    assert takes_the_last()
    assert takes_the_last(empty, by_group)
    assert takes_the_last(empty, outer, by_outer)
    assert takes_the_last(assignment("ending", "Owner", "user:x", expires=LATE))
    assert takes_the_last(assignment("reader", "Auditor", "user:x"))
