"""Who may name identity providers, and what is refused of one."""

from dataclasses import replace
from typing import Any

import pytest

from services._chassis.errors import DeniedError, InvalidError, NotFoundError, StateError
from services.rbac import usecases
from services.rbac.model.issuers import GroupMapping, TrustedIssuer
from services.rbac.model.nouns import AccessObject, Actor, PrincipalGroup
from services.rbac.usecases import Action
from tests.builders.issuer import key_set, public_rsa
from tests.builders.rbac import assignment, role, store_with
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore

OWNER = Actor("user:owner")
ADMINS = PrincipalGroup("admins", frozenset())
CORP = TrustedIssuer(
    name="corp",
    issuer="https://id.example.com",
    audiences=("epm",),
    principal_prefix="corp:",
    groups_claim="groups",
    group_mappings=(GroupMapping("epm-admins", "admins"),),
    client_id="epm-cli",
)
MANAGER = role("manager", "roles.assign", "roles.create", "roles.update", "roles.read", "tokens.create")


async def apply(store: MemoryStore, *items: AccessObject, actor: Actor = OWNER) -> list[Action]:
    applied = await usecases.apply_access(store, items, actor=actor, now=NOW, validate_only=False)
    return [action for _, action in applied.actions]


async def problems(*items: AccessObject, store: MemoryStore | None = None) -> list[tuple[str, str]]:
    with pytest.raises(InvalidError) as raised:
        await apply(store or store_with(ADMINS), *items)
    return [(problem.field, problem.message) for problem in raised.value.problems]


async def test_an_owner_applies_an_issuer_beside_the_groups_that_it_maps() -> None:
    store = store_with()
    assert await apply(store, ADMINS, CORP) == [Action.CREATED, Action.CREATED]
    assert await apply(store, CORP) == [Action.UNCHANGED]
    assert store.kept.trusted_issuers == {"corp": CORP}
    assert store.written_down()[-1] == ("trusted_issuer_created", "TrustedIssuer", "corp")


async def test_nobody_but_an_owner_applies_or_deletes_one() -> None:
    store = store_with(ADMINS, CORP, MANAGER, assignment("managers", "manager", "user:manager"))
    manager = Actor("user:manager")
    for call in (
        apply(store, CORP, actor=manager),
        usecases.delete_trusted_issuer(store, "corp", actor=manager, now=NOW),
        usecases.delete_trusted_issuer(store, "gone", actor=manager, now=NOW),
    ):
        with pytest.raises(DeniedError) as raised:
            await call
        assert raised.value.reason == "OWNER_REQUIRED"
    assert store.kept.trusted_issuers == {"corp": CORP}


async def test_an_owner_by_a_group_of_the_organisation_is_one() -> None:
    store = store_with(ADMINS, assignment("owners", "Owner", "group:admins"))
    by_group = Actor("user:corp:alice", frozenset({"admins"}))
    assert await apply(store, CORP, actor=by_group) == [Action.CREATED]
    await usecases.delete_trusted_issuer(store, "corp", actor=by_group, now=NOW)
    with pytest.raises(NotFoundError):
        await usecases.delete_trusted_issuer(store, "corp", actor=by_group, now=NOW)


async def test_a_group_that_is_mapped_cannot_be_deleted() -> None:
    store = store_with(ADMINS, CORP)
    with pytest.raises(StateError, match="trusted issuer corp"):
        await usecases.delete_principal_group(store, "admins", now=NOW)


async def test_what_a_mapped_group_gains_is_granted_to_somebody_even_where_it_has_no_member() -> None:
    store = store_with(ADMINS, CORP, MANAGER, assignment("managers", "manager", "user:manager"))
    taking = assignment("take", "Owner", "group:admins")
    with pytest.raises(DeniedError, match="would grant what it lacks"):
        await apply(store, taking, actor=Actor("user:manager"))


async def test_rights_that_come_by_a_group_for_one_call_are_never_stored() -> None:
    store = store_with(ADMINS, CORP, MANAGER, assignment("managers", "manager", "group:admins"))
    alice = Actor("user:corp:alice", frozenset({"admins"}))
    await apply(store, assignment("more", "manager", "user:corp:carol"), actor=alice)
    with pytest.raises(DeniedError):
        await apply(store, assignment("yet more", "manager", "user:corp:carol"), actor=Actor("user:corp:alice"))
    assert store.kept.principal_groups["admins"].members == frozenset()


async def test_the_last_owner_stays_though_a_group_of_the_organisation_owns_as_well() -> None:
    store = store_with(ADMINS, CORP, assignment("owners", "Owner", "group:admins"))
    with pytest.raises(StateError) as raised:
        await usecases.delete_role_assignment(store, "owner", actor=OWNER, now=NOW)
    assert raised.value.reason == "LAST_OWNER"


ADDRESS = "must be an https address such as https://id.example.com, without user, query and fragment"
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "plain HTTP": ({"issuer": "http://id.example.com"}, "issuer", ADDRESS),
    "no address": ({"issuer": "id.example.com"}, "issuer", ADDRESS),
    "no host": ({"issuer": "https:///x"}, "issuer", ADDRESS),
    "a query": ({"issuer": "https://id.example.com?x=1"}, "issuer", ADDRESS),
    "a user": ({"issuer": "https://user@id.example.com"}, "issuer", ADDRESS),
    "a port beyond all": ({"issuer": "https://id.example.com:99999"}, "issuer", ADDRESS),
    "half a bracket": ({"issuer": "https://[::1"}, "issuer", ADDRESS),
    "nothing": ({"issuer": ""}, "issuer", ADDRESS),
    "no audience": ({"audiences": ()}, "audiences", "must be 1 to 20"),
    "many audiences": ({"audiences": tuple(map(str, range(21)))}, "audiences", "must be 1 to 20"),
    "an audience twice": ({"audiences": ("epm", "epm")}, "audiences", "names an audience twice"),
    "a blank audience": ({"audiences": ("",)}, "audiences", "must be printable"),
    "keys over HTTP": ({"jwks_uri": "http://id.example.com/keys"}, "jwks_uri", ADDRESS),
    "keys that are none": ({"jwks": "{}"}, "jwks", "must be a JSON Web Key Set"),
    "keys that are no JSON": ({"jwks": "no"}, "jwks", "Expecting value"),
    "a private key": ({"jwks": key_set(public_rsa() | {"d": "AQAB"})}, "jwks", "holds a private or a secret key"),
    "a claim with a line end": ({"principal_claim": "sub\n"}, "principal_claim", "must be printable"),
    "a long prefix": ({"principal_prefix": "p" * 65}, "principal_prefix", "at most 64 characters"),
    "groups from no claim": ({"groups_claim": ""}, "groups_claim", "must name the claim that lists groups"),
    "a group that is not there": (
        {"group_mappings": (GroupMapping("epm-admins", "admin"),)},
        "group_mappings[0].principal_group",
        "there is no principal group 'admin'",
    ),
    "a mapping twice": (
        {"group_mappings": (GroupMapping("a", "admins"), GroupMapping("a", "admins"))},
        "group_mappings[1]",
        "is given twice",
    ),
    "a blank group": (
        {"group_mappings": (GroupMapping("", "admins"),)},
        "group_mappings[0].claim_value",
        "must be printable",
    ),
    "a client with spaces": ({"client_id": " x"}, "client_id", "must be printable"),
}


@pytest.mark.parametrize(("changes", "field", "said"), WRONG.values(), ids=WRONG.keys())
async def test_an_issuer_is_refused_with_field_and_remedy(changes: dict[str, Any], field: str, said: str) -> None:
    ((path, message),) = await problems(replace(CORP, **changes))
    assert path == f"trusted_issuers[0].{field}"
    assert said in message


async def test_all_problems_come_at_once() -> None:
    found = await problems(
        replace(CORP, name="", issuer="", audiences=(), jwks="{}", group_mappings=(GroupMapping("x", "y"),))
    )
    fields = [path.removeprefix("trusted_issuers[0].") for path, _ in found]
    assert fields == ["name", "issuer", "audiences", "jwks", "group_mappings[0].principal_group"]


@pytest.mark.parametrize(
    ("one", "other"), [("", ""), ("corp:", "corp:"), ("corp:", "corp:eu:"), ("", "x:"), ("ab", "a")]
)
async def test_two_issuers_that_could_name_the_same_principals_are_refused(one: str, other: str) -> None:
    store = store_with(ADMINS, replace(CORP, principal_prefix=one))
    second = replace(CORP, name="second", issuer="https://second.example.com", principal_prefix=other)
    ((path, message),) = await problems(second, store=store)
    assert path == "trusted_issuers[0].principal_prefix"
    assert "'corp' could name the same principals" in message


async def test_two_issuers_with_prefixes_of_their_own_are_taken() -> None:
    second = replace(CORP, name="second", issuer="https://second.example.com", principal_prefix="second:")
    assert await apply(store_with(ADMINS, CORP), second) == [Action.CREATED]


async def test_an_issuer_is_named_once() -> None:
    store = store_with(ADMINS, CORP)
    ((path, message),) = await problems(replace(CORP, name="second", principal_prefix="second:"), store=store)
    assert (path, message) == ("trusted_issuers[0].issuer", "is that of 'corp' too; give each issuer once")


async def test_issuers_are_few() -> None:
    many = [
        replace(CORP, name=f"i{n}", issuer=f"https://i{n:02}.example.com", principal_prefix=f"i{n:02}:")
        for n in range(21)
    ]
    found = await problems(*many)
    assert {message for _, message in found} == {"would be one of more than 20; delete those that are not needed"}
