"""The access data in SQL."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services._chassis.audit import AuditEntry
from services._chassis.audit_store import audit_table, record
from services._chassis.db import Database, Transaction, revision_table
from services._chassis.tables import UtcDateTime
from services.rbac.model.builtin import BUILT_IN_ROLES
from services.rbac.model.issuers import GroupMapping, IssuerKeys, TrustedIssuer
from services.rbac.model.nouns import (
    AccessObject,
    AccessState,
    Kept,
    Principal,
    PrincipalGroup,
    Role,
    RoleAssignment,
    ScopeTag,
    Token,
)

METADATA = sa.MetaData()
REVISION = revision_table(METADATA, "rbac")
AUDIT = audit_table(METADATA, "rbac")
ROLES = sa.Table(
    "rbac_roles",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("rights", sa.JSON, nullable=False),
)
PRINCIPAL_GROUPS = sa.Table(
    "rbac_principal_groups",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("members", sa.JSON, nullable=False),
)
PRINCIPALS = sa.Table(
    "rbac_principals",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("endpoint_users", sa.JSON, nullable=False),
)
ROLE_ASSIGNMENTS = sa.Table(
    "rbac_role_assignments",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("members", sa.JSON, nullable=False),
    sa.Column("scope_groups", sa.JSON, nullable=False),
    sa.Column("scope_tags", sa.JSON, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=True),
)
SCOPE_TAGS = sa.Table(
    "rbac_scope_tags",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
)
TOKENS = sa.Table(
    "rbac_tokens",
    METADATA,
    sa.Column("token_id", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("principal", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=True),
    sa.Column("revoked", UtcDateTime, nullable=True),
)
TRUSTED_ISSUERS = sa.Table(
    "rbac_trusted_issuers",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("audiences", sa.JSON, nullable=False),
    sa.Column("jwks_uri", sa.Text, nullable=False),
    sa.Column("jwks", sa.Text, nullable=False),
    sa.Column("principal_claim", sa.Text, nullable=False),
    sa.Column("principal_prefix", sa.Text, nullable=False),
    sa.Column("groups_claim", sa.Text, nullable=False),
    sa.Column("group_mappings", sa.JSON, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
)
ISSUER_KEYS = sa.Table(
    "rbac_issuer_keys",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("jwks", sa.Text, nullable=False),
)
TOKEN_USES = sa.Table(
    "rbac_token_uses",
    METADATA,
    sa.Column("token_id", sa.Text, primary_key=True),
    sa.Column("last_used", UtcDateTime, nullable=False),
)
_TABLES: Mapping[type[Kept], sa.Table] = {
    Role: ROLES,
    Principal: PRINCIPALS,
    PrincipalGroup: PRINCIPAL_GROUPS,
    RoleAssignment: ROLE_ASSIGNMENTS,
    ScopeTag: SCOPE_TAGS,
    TrustedIssuer: TRUSTED_ISSUERS,
    IssuerKeys: ISSUER_KEYS,
    Token: TOKENS,
}
Row = Mapping[str, Any]


class SqlStore:
    """Open transactions on the rbac service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def writing(self) -> AsyncIterator["SqlWork"]:
        """Open a writing transaction and hold it against others, since every verb looks before it writes."""
        async with self._database.held() as tx:
            yield SqlWork(tx)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["SqlWork"]:
        """Open a reading transaction."""
        async with self._database.read() as tx:
            yield SqlWork(tx)


class SqlTokenUses:
    """Keep when tokens were last shown, apart from the tokens: no revision is taken, and nobody is woken."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, uses: Mapping[str, datetime]) -> None:
        """Keep the times of tokens that there are, unless a later one is known."""
        dialect = postgresql if self._database.on_postgresql else sqlite
        async with self._database.transaction() as tx:
            known = await tx.execute(sa.select(TOKENS.c.token_id).where(TOKENS.c.token_id.in_(uses)))
            # In one order for everybody, so that reports of two services wait for one another and never deadlock.
            rows = [{"token_id": token_id, "last_used": uses[token_id]} for token_id in sorted(known.scalars())]
            if rows:
                insert = dialect.insert(TOKEN_USES)
                newer = insert.excluded.last_used > TOKEN_USES.c.last_used
                values = {"last_used": insert.excluded.last_used}
                await tx.execute(
                    insert.on_conflict_do_update(index_elements=["token_id"], set_=values, where=newer), rows
                )

    async def last_used(self, token_ids: Collection[str]) -> Mapping[str, datetime]:
        """Return when these tokens were last shown; those that never were are not in it."""
        asked = sa.select(TOKEN_USES.c.token_id, TOKEN_USES.c.last_used).where(TOKEN_USES.c.token_id.in_(token_ids))
        async with self._database.read() as tx:
            return {row.token_id: row.last_used for row in await tx.execute(asked)}


class SqlWork:
    """Read and write the tables within one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def state(self) -> AccessState:
        """Read every table, and add the built-in roles."""
        custom = {row["name"]: _role(row) for row in await self._rows(ROLES)}
        return AccessState(
            roles={**custom, **BUILT_IN_ROLES},
            principal_groups={row["name"]: _group(row) for row in await self._rows(PRINCIPAL_GROUPS)},
            role_assignments={row["name"]: _assignment(row) for row in await self._rows(ROLE_ASSIGNMENTS)},
            scope_tags={row["name"]: ScopeTag(row["name"], row["description"]) for row in await self._rows(SCOPE_TAGS)},
            tokens={row["token_id"]: Token(**row) for row in await self._rows(TOKENS)},
            trusted_issuers={row["name"]: _issuer(row) for row in await self._rows(TRUSTED_ISSUERS)},
            issuer_keys={row["name"]: IssuerKeys(**row) for row in await self._rows(ISSUER_KEYS)},
            principals={row["name"]: _principal(row) for row in await self._rows(PRINCIPALS)},
        )

    async def put(self, item: Kept) -> None:
        """Delete the object's row, if there is one, and insert the new one."""
        await self._tx.next_revision()
        table, row = _row(item)
        await self._tx.execute(_deletion(table, row))
        await self._tx.execute(sa.insert(table), row)

    async def remove(self, item: AccessObject | IssuerKeys) -> None:
        """Delete the object's row."""
        await self._tx.next_revision()
        await self._tx.execute(_deletion(*_row(item)))

    async def record(self, entry: AuditEntry, now: datetime) -> None:
        """Add a row to the audit table."""
        await record(self._tx, AUDIT, entry, now=now)

    async def revision(self) -> int:
        """Return the revision that was taken, or else the one that stands."""
        return self._tx.revision or await self._tx.current_revision()

    async def _rows(self, table: sa.Table) -> list[dict[str, Any]]:
        result = await self._tx.execute(sa.select(*table.columns))
        return [dict(row) for row in result.mappings()]


def _deletion(table: sa.Table, row: Row) -> sa.Delete:
    key = next(iter(table.primary_key.columns))
    return sa.delete(table).where(key == row[key.name])


def _row(item: Kept) -> tuple[sa.Table, dict[str, Any]]:
    table = _TABLES[type(item)]
    return table, {column.name: _stored(getattr(item, column.name)) for column in table.columns}


def _stored(value: object) -> object:
    match value:
        case frozenset():
            return sorted(value)
        case tuple():
            return [_stored(part) for part in value]
        case GroupMapping():
            return [value.claim_value, value.principal_group]
        case _:
            return value


def _issuer(row: dict[str, Any]) -> TrustedIssuer:
    mappings = tuple(GroupMapping(*mapping) for mapping in row["group_mappings"])
    return TrustedIssuer(**row | {"audiences": tuple(row["audiences"]), "group_mappings": mappings})


def _role(row: Row) -> Role:
    return Role(row["name"], row["description"], frozenset(row["rights"]))


def _group(row: Row) -> PrincipalGroup:
    return PrincipalGroup(row["name"], frozenset(row["members"]))


def _principal(row: Row) -> Principal:
    return Principal(row["name"], frozenset(row["endpoint_users"]))


def _assignment(row: Row) -> RoleAssignment:
    return RoleAssignment(
        name=row["name"],
        role=row["role"],
        members=frozenset(row["members"]),
        scope_groups=frozenset(row["scope_groups"]),
        scope_tags=frozenset(row["scope_tags"]),
        expires=row["expires"],
    )
