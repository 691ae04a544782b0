"""What changes access, what is refused, and what is written down."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from services._chassis.errors import DeniedError, InvalidError, NotFoundError, StateError
from services.rbac import usecases
from services.rbac.model.builtin import BUILT_IN_ROLES
from services.rbac.model.nouns import AccessObject, Actor, PrincipalGroup, Role, ScopeTag
from services.rbac.usecases import Action, Applied
from tests.builders.rbac import OWNERS, assignment, role, store_with
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore

HELPDESK = role("helpdesk", "policy_authoring.read")
TIER2 = PrincipalGroup("tier2", frozenset({"user:bob"}))
EMEA = ScopeTag("emea", "Europe")
GIVEN = assignment("given", "helpdesk", "group:tier2", groups=["laptops"], tags=["emea"])
ALL = (HELPDESK, TIER2, GIVEN, EMEA)


async def apply(
    store: MemoryStore, *items: AccessObject, actor: str = "user:owner", validate_only: bool = False
) -> Applied:
    return await usecases.apply_access(store, items, actor=Actor(actor), now=NOW, validate_only=validate_only)


def actions(applied: Applied) -> list[Action]:
    return [action for _, action in applied.actions]


async def problems(store: MemoryStore, *items: AccessObject) -> list[tuple[str, str]]:
    with pytest.raises(InvalidError) as raised:
        await apply(store, *items)
    return [(problem.field, problem.message) for problem in raised.value.problems]


async def test_objects_that_refer_to_one_another_are_applied_together() -> None:
    store = store_with()
    applied = await apply(store, *ALL)
    assert actions(applied) == [Action.CREATED] * 4
    assert [store.kept.find(item) for item in ALL] == list(ALL)
    assert applied.revision == store.kept_revision == 2


async def test_the_same_call_again_changes_nothing() -> None:
    store = store_with()
    await apply(store, *ALL)
    written = len(store.audit)
    again = await apply(store, *ALL)
    assert actions(again) == [Action.UNCHANGED] * 4
    assert (again.revision, store.kept_revision, len(store.audit)) == (2, 2, written)


async def test_what_differs_is_replaced_and_the_rest_stays() -> None:
    store = store_with(*ALL)
    applied = await apply(store, replace(HELPDESK, description="new"), EMEA)
    assert actions(applied) == [Action.UPDATED, Action.UNCHANGED]
    assert store.kept.roles["helpdesk"].description == "new"


async def test_validating_tells_the_same_and_changes_nothing() -> None:
    store = store_with(HELPDESK)
    applied = await apply(store, HELPDESK, EMEA, validate_only=True)
    assert actions(applied) == [Action.UNCHANGED, Action.CREATED]
    assert (applied.revision, store.kept_revision, store.audit) == (1, 1, [])
    assert "emea" not in store.kept.scope_tags


async def test_validating_refuses_what_applying_refuses() -> None:
    wide = assignment("wide", "Owner", "user:eve")
    with pytest.raises(DeniedError):
        await apply(store_with(), wide, actor="user:eve", validate_only=True)


async def test_every_change_is_written_down_with_what_was_and_what_is() -> None:
    store = store_with(HELPDESK)
    await apply(store, role("helpdesk", "audit.read"), TIER2)
    assert store.written_down() == [
        ("role_updated", "Role", "helpdesk"),
        ("principal_group_created", "PrincipalGroup", "tier2"),
    ]
    assert store.audit[0].before == {"name": "helpdesk", "description": "", "rights": ["policy_authoring.read"]}
    assert store.audit[0].after == {"name": "helpdesk", "description": "", "rights": ["audit.read"]}
    assert (store.audit[1].before, store.audit[1].after) == (None, {"name": "tier2", "members": ["user:bob"]})


async def test_who_grants_what_it_lacks_is_denied_and_nothing_changes() -> None:
    store = store_with(HELPDESK, assignment("eve", "helpdesk", "user:eve"))
    with pytest.raises(DeniedError, match="only an Owner may") as raised:
        await apply(store, EMEA, role("helpdesk", "policy_authoring.assign"), actor="user:eve")
    assert raised.value.reason == "GRANT_EXCEEDS_OWN_RIGHTS"
    assert (store.kept_revision, store.audit, dict(store.kept.scope_tags)) == (1, [], {})


@pytest.mark.parametrize("name", sorted(BUILT_IN_ROLES))
async def test_a_built_in_role_cannot_be_changed(name: str) -> None:
    with pytest.raises(StateError, match="built-in roles cannot be changed") as raised:
        await apply(store_with(), role(name, "audit.read"))
    assert raised.value.reason == "BUILT_IN_ROLE"


async def test_all_problems_of_all_objects_come_at_once() -> None:
    found = await problems(
        store_with(),
        Role("", "d" * 257, frozenset()),
        Role("bad right", "bell\x07", frozenset({"policy_authoring.fly"})),
        PrincipalGroup("g", frozenset({"group:nested", "carol"})),
        assignment("a", "none", groups=["x" * 129], tags=["mars"]),
        assignment(" padded ", "Owner", "group:none", "user:", "robot:x", tags=["default"]),
        ScopeTag("t", "d" * 257),
        ScopeTag("t"),
    )
    assert [field for field, _ in found] == [
        "roles[0].name",
        "roles[0].description",
        "roles[0].rights",
        "roles[1].description",
        "roles[1].rights",
        "principal_groups[0].members",
        "principal_groups[0].members",
        "role_assignments[0].role",
        "role_assignments[0].members",
        "role_assignments[0].scope_groups",
        "role_assignments[0].scope_tags",
        "role_assignments[1].name",
        "role_assignments[1].members",
        "role_assignments[1].members",
        "role_assignments[1].members",
        "role_assignments[1]",
        "scope_tags[0].description",
        "scope_tags[1].name",
    ]


@pytest.mark.parametrize("name", ["a", "x" * 128, "Zürich ☂", "with space"])
async def test_a_name_is_any_printable_text_of_up_to_128_characters(name: str) -> None:
    store = store_with()
    await apply(store, ScopeTag(name))
    assert name in store.kept.scope_tags


@pytest.mark.parametrize("name", ["", "x" * 129, " a", "a ", "a\nb", "a\x00", "\u202ea"])
async def test_another_text_is_no_name(name: str) -> None:
    assert [field for field, _ in await problems(store_with(), ScopeTag(name))] == ["scope_tags[0].name"]


@pytest.mark.parametrize("name", ["p\u0430ypal", "\ufb01nance", "cafe\u0301", "a\u3164"])
async def test_a_name_that_passes_for_another_is_refused_where_it_is_given_and_kept_where_it_is(name: str) -> None:
    assert [field for field, _ in await problems(store_with(), ScopeTag(name))] == ["scope_tags[0].name"]

    store = store_with(ScopeTag(name))
    await apply(store, ScopeTag(name, "told better"))
    assert store.kept.scope_tags[name].description == "told better"


async def test_a_name_that_looks_like_one_that_is_there_is_refused() -> None:
    there, twin = ScopeTag("COP"), ScopeTag("\u0421\u041e\u0420")
    assert [field for field, _ in await problems(store_with(there), twin)] == ["scope_tags[0].name"]
    assert [field for field, _ in await problems(store_with(), there, twin)] == [
        "scope_tags[0].name",
        "scope_tags[1].name",
    ]
    await apply(store_with(there, twin), there, twin)


async def test_an_assignment_carries_at_most_a_hundred_tags() -> None:
    tags = [ScopeTag(f"t{number}") for number in range(101)]
    store = store_with(HELPDESK, *tags)
    most = assignment("a", "helpdesk", "user:bob", tags=[tag.name for tag in tags[:100]])
    await apply(store, most)
    assert await problems(store, replace(most, scope_tags=frozenset(tag.name for tag in tags))) == [
        ("role_assignments[0].scope_tags", "must be at most 100")
    ]


async def test_who_may_assign_roles_cannot_fill_the_snapshot_with_one_object() -> None:
    store = store_with(HELPDESK)
    many = frozenset(f"user:{number}" for number in range(10_001))
    assert await problems(store, PrincipalGroup("big", many)) == [
        ("principal_groups[0].members", "must be at most 10000; make several groups")
    ]
    for big in (assignment("a", "helpdesk", *many), assignment("a", "helpdesk", "user:bob", groups=many)):
        assert [field for field, _ in await problems(store, big)] == ["role_assignments[0]"]


async def test_the_tag_that_untagged_objects_carry_needs_no_making() -> None:
    store = store_with(HELPDESK)
    await apply(store, assignment("a", "helpdesk", "user:bob", tags=["default"]))
    assert "a" in store.kept.role_assignments


@pytest.mark.parametrize(
    "change",
    [
        assignment("owner", "Auditor", "user:owner"),
        assignment("owner", "Owner", "group:empty"),
        assignment("owner", "Owner", "user:owner", expires=NOW + timedelta(days=3650)),
    ],
    ids=["another role", "nobody", "an end"],
)
async def test_the_last_owner_stays(change: AccessObject) -> None:
    store = store_with(PrincipalGroup("empty", frozenset()))
    with pytest.raises(StateError) as raised:
        await apply(store, change)
    assert raised.value.reason == "LAST_OWNER"
    assert store.kept.role_assignments["owner"] == OWNERS


async def test_the_last_owner_stays_in_the_group_that_makes_it_one() -> None:
    store = store_with(PrincipalGroup("owners", frozenset({"user:x"})))
    await apply(store, assignment("owner", "Owner", "group:owners"))
    with pytest.raises(StateError, match="nobody would be Owner"):
        await apply(store, PrincipalGroup("owners", frozenset()), actor="user:x")


async def test_the_assignment_of_the_last_owner_cannot_be_deleted() -> None:
    store = store_with()
    with pytest.raises(StateError) as raised:
        await usecases.delete_role_assignment(store, "owner", actor=Actor("user:owner"), now=NOW)
    assert raised.value.reason == "LAST_OWNER"


async def test_an_owner_goes_once_there_is_another() -> None:
    store = store_with(assignment("second", "Owner", "user:x"))
    await usecases.delete_role_assignment(store, "owner", actor=Actor("user:owner"), now=NOW)
    assert set(store.kept.role_assignments) == {"second"}
    assert store.written_down() == [("role_assignment_deleted", "RoleAssignment", "owner")]


async def test_a_role_that_is_used_cannot_be_deleted() -> None:
    store = store_with(*ALL)
    with pytest.raises(StateError, match="used by given") as raised:
        await usecases.delete_role(store, "helpdesk", now=NOW)
    assert raised.value.reason == "ROLE_IN_USE"
    await usecases.delete_role_assignment(store, "given", actor=Actor("user:owner"), now=NOW)
    assert await usecases.delete_role(store, "helpdesk", now=NOW) == 3
    assert "helpdesk" not in store.kept.roles


async def test_a_principal_group_that_is_used_cannot_be_deleted() -> None:
    store = store_with(*ALL, PrincipalGroup("outer", frozenset({"group:tier2"})))
    with pytest.raises(StateError, match="used by role assignment given, principal group outer") as raised:
        await usecases.delete_principal_group(store, "tier2", now=NOW)
    assert raised.value.reason == "GROUP_IN_USE"
    assert raised.value.details == {"users": "role assignment given\nprincipal group outer"}
    await usecases.delete_role_assignment(store, "given", actor=Actor("user:owner"), now=NOW)
    with pytest.raises(StateError, match="used by principal group outer"):
        await usecases.delete_principal_group(store, "tier2", now=NOW)
    await apply(store, PrincipalGroup("outer", frozenset()))
    await usecases.delete_principal_group(store, "tier2", now=NOW)
    assert "tier2" not in store.kept.principal_groups


async def test_a_built_in_role_cannot_be_deleted() -> None:
    with pytest.raises(StateError, match="built-in"):
        await usecases.delete_role(store_with(), "Auditor", now=NOW)


@pytest.mark.parametrize(
    "delete",
    [
        usecases.delete_role,
        partial(usecases.delete_role_assignment, actor=Actor("user:owner")),
        usecases.delete_principal_group,
    ],
)
async def test_what_is_not_there_cannot_be_deleted(delete: Callable[..., Awaitable[int]]) -> None:
    store = store_with()
    with pytest.raises(NotFoundError):
        await delete(store, "none", now=NOW)
    assert (store.kept_revision, store.audit) == (1, [])
