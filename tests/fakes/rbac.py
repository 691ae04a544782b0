"""The rbac service's store in memory; it passes the same contract as the one in SQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from services._chassis.audit import AuditEntry
from services.rbac.model.builtin import BUILT_IN_ROLES
from services.rbac.model.issuers import IssuerKeys, TrustedIssuer
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


class MemoryStore:
    """Keep the state, the revision and the audit record; a transaction works on copies."""

    def __init__(self) -> None:
        self.kept = AccessState(roles=dict(BUILT_IN_ROLES))
        self.kept_revision = 0
        self.audit: list[AuditEntry] = []

    def written_down(self) -> list[tuple[str, str, str]]:
        """Return what the audit record holds: action, kind and name of the target."""
        return [(entry.action, entry.target_kind, entry.target) for entry in self.audit]

    @asynccontextmanager
    async def writing(self) -> AsyncIterator["MemoryWork"]:
        """Keep what the block did if it is left cleanly."""
        work = MemoryWork(self)
        yield work
        self.kept, self.kept_revision, self.audit = work.own, work.own_revision, work.audit

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["MemoryWork"]:
        """Keep nothing."""
        yield MemoryWork(self)


class MemoryWork:
    """Look at and change one copy of the state."""

    def __init__(self, store: MemoryStore) -> None:
        self.own = store.kept
        self.own_revision = store.kept_revision
        self.audit = list(store.audit)
        self._before = store.kept_revision

    async def state(self) -> AccessState:
        """Return the copy."""
        return self.own

    async def put(self, item: Kept) -> None:
        """Create or replace an object."""
        self.own_revision = self._before + 1
        if isinstance(item, Token):
            self.own = replace(self.own, tokens={**self.own.tokens, item.token_id: item})
        elif isinstance(item, IssuerKeys):
            self.own = replace(self.own, issuer_keys={**self.own.issuer_keys, item.name: item})
        else:
            self.own = self.own.having([item])

    async def remove(self, item: AccessObject | IssuerKeys) -> None:
        """Delete an object."""
        self.own_revision = self._before + 1
        shelves: dict[type[AccessObject | IssuerKeys], str] = {
            Role: "roles",
            Principal: "principals",
            PrincipalGroup: "principal_groups",
            RoleAssignment: "role_assignments",
            ScopeTag: "scope_tags",
            TrustedIssuer: "trusted_issuers",
            IssuerKeys: "issuer_keys",
        }
        shelf = shelves[type(item)]
        kept = {name: value for name, value in getattr(self.own, shelf).items() if name != item.name}
        self.own = replace(self.own, **{shelf: kept})

    async def record(self, entry: AuditEntry, now: datetime) -> None:
        """Note the entry."""
        assert now.tzinfo is not None
        self.own_revision = self._before + 1
        self.audit.append(entry)

    async def revision(self) -> int:
        """Return the revision as it would be kept."""
        return self.own_revision
