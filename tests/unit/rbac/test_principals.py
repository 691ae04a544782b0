"""Who may say which users of devices an administrator is, and who may take it back."""

import pytest

from services._chassis.errors import DeniedError, InvalidError, NotFoundError
from services.rbac import usecases
from services.rbac.model.grants import compiled
from services.rbac.model.nouns import AccessObject, Actor, Principal
from services.rbac.usecases import Action
from tests.builders.rbac import assignment, role, store_with
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore

OWNER, SECOND, MANAGER = Actor("user:owner"), Actor("user:second"), Actor("user:manager")
ASSIGNS = role("manager", "roles.assign", "elevation_requests.modify")
BOB = Principal("bob", frozenset({"robert", "svc-bob"}))


def users(name: str, *endpoint_users: str) -> Principal:
    return Principal(name, frozenset(endpoint_users))


def store(*items: AccessObject) -> MemoryStore:
    """Make a store with two Owners and a manager of roles."""
    owners = assignment("second", "Owner", "user:second")
    return store_with(ASSIGNS, owners, assignment("managers", "manager", "user:manager"), *items)


async def apply(kept: MemoryStore, *items: AccessObject, actor: Actor = OWNER) -> list[Action]:
    applied = await usecases.apply_access(kept, items, actor=actor, now=NOW, validate_only=False)
    return [action for _, action in applied.actions]


async def refused(kept: MemoryStore, *items: AccessObject, actor: Actor) -> str:
    before = kept.kept
    with pytest.raises(DeniedError) as raised:
        await apply(kept, *items, actor=actor)
    assert kept.kept == before
    return raised.value.reason


async def refused_deletion(kept: MemoryStore, name: str, actor: Actor) -> str:
    before = kept.kept
    with pytest.raises(DeniedError) as raised:
        await usecases.delete_principal(kept, name, actor=actor, now=NOW)
    assert kept.kept == before
    return raised.value.reason


async def test_who_assigns_roles_records_users_and_adds_more_even_to_oneself() -> None:
    kept = store()
    assert await apply(kept, users("bob", "robert"), actor=MANAGER) == [Action.CREATED]
    assert await apply(kept, BOB, actor=MANAGER) == [Action.UPDATED]
    assert await apply(kept, BOB, actor=MANAGER) == [Action.UNCHANGED]
    assert await apply(kept, users("manager", "mona"), actor=MANAGER) == [Action.CREATED]
    assert compiled(kept.kept).endpoint_users.includes("user:bob", r"EXAMPLE\Robert")
    assert [entry[:2] for entry in kept.written_down()] == [
        ("principal_created", "Principal"),
        ("principal_updated", "Principal"),
        ("principal_created", "Principal"),
    ]
    assert kept.audit[1].before == {"name": "bob", "endpointUsers": ["robert"]}
    assert kept.audit[1].after == {"name": "bob", "endpointUsers": ["robert", "svc-bob"]}


@pytest.mark.parametrize("left", [(), ("robert",), ("svc-bob", "somebody")])
async def test_nobody_takes_users_from_their_own_record_not_even_an_owner(left: tuple[str, ...]) -> None:
    kept = store(users("owner", "robert", "svc-bob"), users("manager", "robert", "svc-bob"))
    assert await refused(kept, users("owner", *left), actor=OWNER) == "OWN_ENDPOINT_USERS"
    assert await refused(kept, users("manager", *left), actor=MANAGER) == "OWN_ENDPOINT_USERS"
    assert await refused_deletion(kept, "owner", OWNER) == "OWN_ENDPOINT_USERS"
    assert await apply(kept, users("owner", *left), actor=SECOND) == [Action.UPDATED]


async def test_only_an_owner_takes_users_from_somebody_else() -> None:
    kept = store(BOB)
    assert await refused(kept, users("bob", "robert"), actor=MANAGER) == "OWNER_REQUIRED"
    assert await refused_deletion(kept, "bob", MANAGER) == "OWNER_REQUIRED"
    assert await apply(kept, users("bob", "robert")) == [Action.UPDATED]
    await usecases.delete_principal(kept, "bob", actor=OWNER, now=NOW)
    assert kept.kept.principals == {}
    assert kept.written_down()[-1] == ("principal_deleted", "Principal", "bob")
    assert not compiled(kept.kept).endpoint_users.includes("user:bob", "robert")


@pytest.mark.parametrize(("tags", "groups"), [(["emea"], []), ([], ["berlin"])])
async def test_who_assigns_within_a_scope_alone_changes_no_record(tags: list[str], groups: list[str]) -> None:
    confined = Actor("user:confined")
    kept = store(users("bob"), assignment("confined", "manager", "user:confined", tags=tags, groups=groups))
    assert await refused(kept, BOB, actor=confined) == "OUT_OF_REACH"
    assert await refused(kept, users("eve"), actor=confined) == "OUT_OF_REACH"
    assert await refused_deletion(kept, "bob", confined) == "OUT_OF_REACH"
    assert await apply(kept, users("bob"), actor=confined) == [Action.UNCHANGED]


async def test_records_that_name_nobody_are_deleted_by_who_assigns_roles() -> None:
    kept = store(users("manager"))
    await usecases.delete_principal(kept, "manager", actor=MANAGER, now=NOW)
    with pytest.raises(NotFoundError):
        await usecases.delete_principal(kept, "manager", actor=MANAGER, now=NOW)


async def test_principals_may_be_called_as_their_identity_provider_calls_them() -> None:
    assert await apply(store(users("alice")), users("alic\u0435")) == [Action.CREATED]


async def test_all_that_is_wrong_with_records_is_told_at_once() -> None:
    with pytest.raises(InvalidError) as raised:
        await apply(
            store(),
            users("user:bob", "robert"),
            users("bob", "", " x", "a\nb", "b" * 257),
            users("eve", *(f"u{number}" for number in range(101))),
            users("", "fine"),
        )
    assert [problem.field for problem in raised.value.problems] == [
        "principals[0].name",
        *["principals[1].endpoint_users"] * 4,
        "principals[2].endpoint_users",
        "principals[3].name",
    ]
