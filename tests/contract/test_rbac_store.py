"""What every store of the rbac service does: in memory, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from services._chassis.audit import AuditEntry
from services._chassis.db import Database
from services._chassis.migrate import differences, upgrade
from services.rbac.model.builtin import BUILT_IN_ROLES
from services.rbac.model.issuers import GroupMapping, IssuerKeys, TrustedIssuer
from services.rbac.model.nouns import (
    AccessObject,
    Kept,
    Principal,
    PrincipalGroup,
    Role,
    RoleAssignment,
    ScopeTag,
    Token,
)
from services.rbac.ports import Store
from services.rbac.store import AUDIT, METADATA, SqlStore
from tests.databases import lent
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore

ROLE = Role("Helpdesk", "answers", frozenset({"elevation_requests.view", "elevation_requests.modify"}))
GROUP = PrincipalGroup("tier2", frozenset({"user:bob", "user:alice"}))
RECORD = Principal("bob", frozenset({"robert", r"EXAMPLE\bob"}))
ASSIGNMENT = RoleAssignment(
    name="tier2-emea",
    role="Helpdesk",
    members=frozenset({"group:tier2"}),
    scope_groups=frozenset({"all-devices"}),
    scope_tags=frozenset({"emea"}),
    expires=NOW + timedelta(days=1),
)
TAG = ScopeTag("emea", "Europe")
ISSUER = TrustedIssuer(
    name="corp",
    issuer="https://id.example.com",
    audiences=("epm", "another"),
    jwks_uri="https://id.example.com/keys",
    principal_claim="email",
    principal_prefix="corp:",
    groups_claim="groups",
    group_mappings=(GroupMapping("epm-admins", "tier2"), GroupMapping("all", "tier2")),
    client_id="epm-cli",
)
KEYS = IssuerKeys("corp", "https://id.example.com/keys", '{"keys": []}')
TOKEN = Token(token_id="t1", digest=b"\x00" * 32, principal="user:alice", description="ci", created=NOW)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with lent(request, tmp_path) as url:
        async with opened(url) as database:
            yield SqlStore(database)


class opened:  # noqa: N801 - reads as the sentence it stands in
    """Open a migrated database."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Database:
        self._database = await Database.connect(self._url, service="rbac")
        await upgrade(self._database)
        return self._database

    async def __aexit__(self, *_error: object) -> None:
        await self._database.close()


async def put(store: Store, *items: Kept) -> int:
    async with store.writing() as work:
        for item in items:
            await work.put(item)
        return await work.revision()


async def test_a_new_store_holds_the_built_in_roles_and_nothing_else(store: Store) -> None:
    async with store.reading() as work:
        state = await work.state()
        assert await work.revision() == 0
    assert dict(state.roles) == BUILT_IN_ROLES
    shelves = (state.principal_groups, state.role_assignments, state.scope_tags, state.tokens)
    assert [dict(shelf) for shelf in shelves] == [{}, {}, {}, {}]


async def test_every_kind_of_object_comes_back_as_it_went_in(store: Store) -> None:
    await put(store, ROLE, RECORD, GROUP, ASSIGNMENT, TAG, ISSUER, TOKEN, KEYS)
    async with store.reading() as work:
        state = await work.state()
    assert [state.find(item) for item in (ROLE, RECORD, GROUP, ASSIGNMENT, TAG, ISSUER)] == [
        ROLE,
        RECORD,
        GROUP,
        ASSIGNMENT,
        TAG,
        ISSUER,
    ]
    assert (state.tokens, state.issuer_keys) == ({"t1": TOKEN}, {"corp": KEYS})


async def test_keys_that_are_put_again_are_replaced_and_can_be_removed(store: Store) -> None:
    rotated = replace(KEYS, jwks="{}")
    await put(store, KEYS, rotated)
    async with store.writing() as work:
        assert (await work.state()).issuer_keys == {"corp": rotated}
        await work.remove(rotated)
    async with store.reading() as work:
        assert (await work.state()).issuer_keys == {}


async def test_an_object_that_is_put_again_is_replaced(store: Store) -> None:
    await put(store, ROLE, TOKEN)
    changed, revoked = replace(ROLE, description="other"), replace(TOKEN, revoked=NOW)
    await put(store, changed, revoked)
    async with store.reading() as work:
        state = await work.state()
    assert state.roles["Helpdesk"] == changed
    assert state.tokens["t1"] == revoked


@pytest.mark.parametrize("item", [ROLE, RECORD, GROUP, ASSIGNMENT, TAG, ISSUER])
async def test_a_removed_object_is_gone(store: Store, item: AccessObject) -> None:
    await put(store, item)
    async with store.writing() as work:
        await work.remove(item)
    async with store.reading() as work:
        assert (await work.state()).find(item) is None
        assert await work.revision() == 2


async def test_a_transaction_takes_one_revision_however_much_it_changes(store: Store) -> None:
    assert await put(store, ROLE, GROUP) == 1
    assert await put(store, TAG) == 2


async def test_looking_takes_no_revision(store: Store) -> None:
    async with store.writing() as work:
        await work.state()
    async with store.reading() as work:
        assert await work.revision() == 0


async def test_a_block_that_fails_changes_nothing(store: Store) -> None:
    with pytest.raises(LookupError):
        await put_and_fail(store)
    async with store.reading() as work:
        assert (await work.state()).find(ROLE) is None
        assert await work.revision() == 0


async def put_and_fail(store: Store) -> None:
    async with store.writing() as work:
        await work.put(ROLE)
        raise LookupError


async def test_the_audit_record_shares_the_fate_of_its_change(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'rbac.db'}") as database:
        with pytest.raises(LookupError):
            await record_and_fail(SqlStore(database))
        async with SqlStore(database).writing() as work:
            await work.record(AuditEntry(action="role_created", target_kind="Role", target="kept"), NOW)
        async with database.read() as tx:
            assert [row.target for row in await tx.execute(sa.select(AUDIT.c.target))] == ["kept"]


async def record_and_fail(store: Store) -> None:
    async with store.writing() as work:
        await work.record(AuditEntry(action="role_created", target_kind="Role", target="lost"), NOW)
        raise LookupError


async def test_the_migrations_make_the_tables_that_the_code_declares(database_url: str) -> None:
    async with opened(database_url) as database:
        assert await differences(database, METADATA) == []


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    async with opened(database_url) as database:
        await upgrade(database)
        assert await database.current_revision() == 0


async def test_a_schema_that_is_newer_than_the_code_is_refused(database_url: str) -> None:
    async with opened(database_url) as database:
        async with database.transaction() as tx:
            await tx.execute(sa.text("UPDATE rbac_schema_version SET version_num = 'rbac_9999'"))
        with pytest.raises(Exception, match="rbac_9999"):
            await upgrade(database)
