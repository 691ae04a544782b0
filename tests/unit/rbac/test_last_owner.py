"""An Owner without an end can always log in: what would lock the last one out is refused."""

from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest

from services._chassis.errors import StateError
from services.rbac import usecases
from services.rbac.model.issuers import GroupMapping, IssuerKeys, TrustedIssuer
from services.rbac.model.nouns import AccessObject, Actor, PrincipalGroup, Token
from tests.builders.issuer import key_set, public_rsa
from tests.builders.rbac import OWNER_TOKEN, OWNERS, assignment, store_with
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore

OWNER = Actor("user:owner")
SOON = NOW + timedelta(hours=1)
SECOND = replace(OWNER_TOKEN, token_id="second", digest=b"s" * 32)
KEYS = key_set(public_rsa())
CORP = TrustedIssuer(name="corp", issuer="https://id.example.com", audiences=("epm",), jwks=KEYS)
MAPPING = replace(CORP, principal_prefix="corp:", groups_claim="g", group_mappings=(GroupMapping("a", "admins"),))
ADMINS = PrincipalGroup("admins", frozenset())
NAMED = assignment("named", "Owner", "user:corp:alice")
OWNING_GROUP = assignment("by-group", "Owner", "group:admins")


async def revoke(store: MemoryStore, token_id: str = OWNER_TOKEN.token_id) -> None:
    await usecases.revoke_token(store, token_id, now=NOW)


async def apply(store: MemoryStore, item: AccessObject) -> None:
    await usecases.apply_access(store, [item], actor=OWNER, now=NOW, validate_only=False)


async def locked_out(store: MemoryStore, call: Awaitable[object]) -> None:
    before = store.kept
    with pytest.raises(StateError, match="issue another token to an Owner first") as raised:
        await call
    assert raised.value.reason == "LAST_OWNER"
    assert (store.kept, store.audit) == (before, [])


NO_WAY_IN: dict[str, tuple[AccessObject | Token, ...]] = {
    "no other token": (),
    "one of somebody else": (replace(SECOND, principal="user:bob"),),
    "one that is revoked": (replace(SECOND, revoked=NOW),),
    "one that ends now": (replace(SECOND, expires=NOW),),
    "one of an Owner with an end": (
        replace(SECOND, principal="user:eve"),
        assignment("eve", "Owner", "user:eve", expires=SOON),
    ),
    "an issuer without keys": (replace(CORP, jwks=""),),
    "an issuer that names no Owner": (replace(CORP, principal_prefix="corp:"),),
    "an issuer that maps no Owner": (ADMINS, MAPPING),
    "an Owner whose name is the bare prefix": (
        assignment("bare", "Owner", "user:corp:"),
        replace(CORP, principal_prefix="corp:"),
    ),
    "a mapped group of Owners with an end": (ADMINS, MAPPING, replace(OWNING_GROUP, expires=SOON)),
}


@pytest.mark.parametrize("others", NO_WAY_IN.values(), ids=NO_WAY_IN.keys())
async def test_the_last_token_of_the_owners_is_not_revoked(others: tuple[AccessObject | Token, ...]) -> None:
    store = store_with(OWNER_TOKEN, *others)
    await locked_out(store, revoke(store))


WAYS_IN: dict[str, tuple[AccessObject | Token, ...]] = {
    "another token": (SECOND,),
    "another token for a while": (replace(SECOND, expires=SOON),),
    "a token of another Owner": (
        replace(SECOND, principal="user:eve"),
        assignment("eve", "Owner", "group:owners"),
        PrincipalGroup("owners", frozenset({"user:eve"})),
    ),
    "an issuer that names anybody": (CORP,),
    "an issuer that names an Owner": (NAMED, replace(CORP, principal_prefix="corp:")),
    "an issuer that maps a group of Owners": (ADMINS, OWNING_GROUP, MAPPING),
}


@pytest.mark.parametrize("others", WAYS_IN.values(), ids=WAYS_IN.keys())
async def test_a_token_is_revoked_where_an_owner_has_another_way_in(others: tuple[AccessObject | Token, ...]) -> None:
    store = store_with(OWNER_TOKEN, *others)
    await revoke(store)
    assert store.kept.tokens["owner"].revoked == NOW


async def test_keys_that_were_fetched_are_a_way_in() -> None:
    issuer = replace(CORP, jwks="")
    store = store_with(OWNER_TOKEN, issuer)
    store.kept = replace(store.kept, issuer_keys={"corp": IssuerKeys("corp", issuer.key_source, KEYS)})
    await revoke(store)


async def test_what_is_no_way_in_can_be_revoked() -> None:
    others = replace(SECOND, principal="user:bob"), replace(SECOND, token_id="old", digest=b"x", expires=NOW)
    store = store_with(OWNER_TOKEN, *others)
    await revoke(store, "second")
    await revoke(store, "old")


async def test_where_no_owner_could_log_in_before_nothing_is_held_back() -> None:
    store = store_with(replace(OWNER_TOKEN, expires=NOW), replace(SECOND, principal="user:bob"))
    await revoke(store, "second")
    await revoke(store, "owner")


async def test_the_only_owner_who_can_log_in_stays_owner() -> None:
    store = store_with(OWNER_TOKEN, assignment("eve", "Owner", "user:eve"))
    await locked_out(store, usecases.delete_role_assignment(store, "owner", actor=OWNER, now=NOW))
    await locked_out(store, apply(store, replace(OWNERS, expires=SOON)))


async def test_the_only_issuer_by_which_an_owner_logs_in_stays() -> None:
    store = store_with(CORP)
    await locked_out(store, usecases.delete_trusted_issuer(store, "corp", actor=OWNER, now=NOW))
    await locked_out(store, apply(store, replace(CORP, principal_prefix="corp:")))
