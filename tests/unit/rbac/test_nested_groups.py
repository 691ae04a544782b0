"""Principal groups in principal groups: no group holds itself, and no road through one leads beyond one's own rights."""

import pytest

from services._chassis.errors import DeniedError, InvalidError, StateError
from services.rbac import usecases
from services.rbac.model.changes import Change
from services.rbac.model.nouns import AccessObject, Actor, PrincipalGroup
from tests.builders.rbac import assignment, role, store_with
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore

READ, WRITE = "policy_authoring.read", "policy_authoring.update"


def group(name: str, *members: str) -> PrincipalGroup:
    return PrincipalGroup(name, frozenset(members))


async def apply(store: MemoryStore, *items: AccessObject, actor: str = "user:owner", own: str = "") -> None:
    groups = frozenset({own} if own else ())
    await usecases.apply_access(store, items, actor=Actor(actor, groups), now=NOW, validate_only=False)


async def problems(store: MemoryStore, *items: AccessObject) -> dict[str, str]:
    with pytest.raises(InvalidError) as raised:
        await apply(store, *items)
    assert store.kept_revision == 1
    return {problem.field: problem.message for problem in raised.value.problems}


async def test_every_way_round_is_named_at_once() -> None:
    store = store_with(group("a", "group:b"), group("b", "group:c"), group("c"), group("d", "group:e"), group("e"))
    found = await problems(store, group("c", "group:a"), group("e", "group:d"), group("self", "group:self"))
    cut = "no group may contain itself, take one of these members out"
    assert found == {
        "principal_groups[0].members": f"'a' contains 'b' contains 'c' contains 'a'; {cut}",
        "principal_groups[1].members": f"'d' contains 'e' contains 'd'; {cut}",
        "principal_groups[2].members": f"'self' contains 'self'; {cut}",
    }


async def test_a_group_may_hold_another_by_two_ways() -> None:
    store = store_with(group("a", "group:b", "group:c"), group("b"), group("c"), group("d", "user:x"))
    await apply(store, group("b", "group:d"), group("c", "group:d"))
    assert store.kept.principal_groups["b"].members == {"group:d"}


async def test_members_must_be_principals_or_groups_that_are_there() -> None:
    found = await problems(
        store_with(), group("a", "robot:x"), group("b", "group:none"), group("c", "group:d"), group("d")
    )
    assert found == {
        "principal_groups[0].members": "'robot:x' must be user:NAME or group:NAME",
        "principal_groups[1].members": "there is no principal group 'none'; create it first or in the same call",
    }


READERS, WRITERS = role("readers", READ, "roles.assign"), role("writers", READ, WRITE)
HELD = (
    READERS,
    WRITERS,
    assignment("admin", "readers", "user:admin"),
    assignment("editors", "writers", "group:outer"),
    group("outer", "group:middle"),
    group("middle", "group:inner"),
    group("inner", "user:carol"),
    group("apart", "user:dan"),
)


@pytest.mark.parametrize(
    "change",
    [
        group("inner", "user:carol", "user:admin"),
        group("inner", "user:carol", "group:apart"),
        group("middle", "group:inner", "user:bob"),
        group("middle", "group:inner", "group:apart"),
        assignment("more", "writers", "group:apart"),
        assignment("more", "writers", "group:empty"),
    ],
)
async def test_no_road_through_nested_groups_leads_beyond_ones_own_rights(change: AccessObject) -> None:
    store = store_with(*HELD, group("empty"))
    with pytest.raises(DeniedError, match=WRITE) as raised:
        await apply(store, change, actor="user:admin")
    assert raised.value.reason == "GRANT_EXCEEDS_OWN_RIGHTS"
    await apply(store, change)


async def test_an_empty_group_may_not_be_put_where_an_identity_provider_may_fill_it() -> None:
    store = store_with(*HELD, group("empty"))
    with pytest.raises(DeniedError, match=WRITE):
        await apply(store, group("inner", "user:carol", "group:empty"), actor="user:admin")


async def test_what_an_identity_provider_counts_the_actor_into_is_its_own() -> None:
    store = store_with(*HELD)
    with pytest.raises(DeniedError, match=WRITE):
        await apply(store, assignment("more", "writers", "user:bob"), actor="user:admin")
    await apply(store, assignment("more", "writers", "user:bob"), actor="user:admin", own="inner")
    owners = store_with(*HELD, assignment("owners", "Owner", "group:apart"))
    await apply(owners, assignment("third", "Owner", "user:bob"), actor="user:new", own="apart")


async def test_the_last_owner_stays_in_the_nested_group_that_makes_it_one() -> None:
    store = store_with(group("outer", "group:inner"), group("inner", "user:x"))
    await apply(store, assignment("owner", "Owner", "group:outer"))
    for change in (group("inner"), group("outer")):
        with pytest.raises(StateError) as raised:
            await apply(store, change, actor="user:x")
        assert raised.value.reason == "LAST_OWNER"


SCOPED = (
    *HELD[:2],
    role("keepers", *(READ, WRITE, "roles.assign", "roles.update")),
    assignment("keeper", "keepers", "user:keeper", groups=["laptops"], tags=["emea"]),
    assignment("mine", "writers", "user:bob", "group:team", groups=["laptops"], tags=["emea"]),
    assignment("far", "readers", "user:bob", "group:far", tags=["apac"]),
    assignment("everywhere", "writers", "user:bob"),
    assignment("kiosks", "writers", "user:bob", groups=["kiosks"], tags=["emea"]),
    group("team", "user:eve"),
    group("far", "user:eve", "group:deep"),
    group("deep", "user:dan"),
)


@pytest.mark.parametrize(
    ("change", "outside"),
    [
        (assignment("far", "readers", "user:bob", "group:far", tags=["emea"]), ("far",)),
        (assignment("far", "readers", "group:far", tags=["apac"]), ("far",)),
        (assignment("everywhere", "writers", "user:bob", tags=["emea"]), ("everywhere",)),
        (assignment("kiosks", "writers", "user:bob", groups=["laptops"], tags=["emea"]), ("kiosks",)),
        (assignment("owner", "writers", "user:owner", tags=["emea"]), ("owner",)),
        (group("far", "user:eve"), ("far",)),
        (group("deep"), ("far",)),
        (role("writers", READ), ("everywhere", "kiosks")),
        (role("readers", "roles.assign"), ("far",)),
        (group("team"), ()),
        (assignment("mine", "writers", "user:bob", groups=["laptops"], tags=["emea"]), ()),
        (assignment("new", "writers", "user:zoe", groups=["laptops"], tags=["emea"]), ()),
        (assignment("new", "writers", "user:zoe", tags=["emea"]), ()),
        (role("unused", READ), ()),
        (group("unused", "user:zoe"), ()),
    ],
)
def test_who_assigns_within_a_scope_neither_gives_nor_takes_outside_of_it(
    change: AccessObject, outside: tuple[str, ...]
) -> None:
    held = store_with(*SCOPED).kept
    found = Change(held, held.having([change]))
    assert found.out_of_reach(Actor("user:keeper"), NOW) == outside
    assert found.out_of_reach(Actor("user:owner"), NOW) == ()


def test_a_wide_right_to_read_does_not_widen_a_narrow_right_to_assign() -> None:
    everywhere = assignment("wide", "writers", "user:keeper", groups=["kiosks"])
    held = store_with(*SCOPED, everywhere).kept
    change = Change(held, held.having([assignment("new", "writers", "user:zoe", groups=["kiosks"])]))
    assert change.excess(Actor("user:keeper"), NOW) == ()
    assert change.out_of_reach(Actor("user:keeper"), NOW) == ("new",)


async def test_an_assignment_outside_of_ones_scope_is_neither_changed_nor_deleted() -> None:
    store = store_with(*SCOPED)
    keeper = Actor("user:keeper")
    for name in ("far", "everywhere", "kiosks"):
        with pytest.raises(DeniedError, match=name) as raised:
            await usecases.delete_role_assignment(store, name, actor=keeper, now=NOW)
        assert raised.value.reason == "OUT_OF_REACH"
    with pytest.raises(DeniedError, match="far"):
        await apply(store, group("far"), actor="user:keeper")
    assert store.kept_revision == 1
    await usecases.delete_role_assignment(store, "mine", actor=keeper, now=NOW)
    assert "mine" not in store.kept.role_assignments


async def test_who_lost_the_right_to_assign_in_the_meantime_changes_nothing() -> None:
    store = store_with(*SCOPED)
    with pytest.raises(DeniedError) as raised:
        await usecases.delete_role_assignment(store, "mine", actor=Actor("user:bob"), now=NOW)
    assert raised.value.reason == "OUT_OF_REACH"
