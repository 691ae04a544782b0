"""Access objects that a test may want, and stores that hold them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from services._chassis.access import OWNER
from services.rbac.model.nouns import AccessObject, Role, RoleAssignment, Token
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore


def role(name: str, *rights: str) -> Role:
    """Return a custom role."""
    return Role(name, "", frozenset(rights))


def assignment(
    name: str,
    role: str,
    *members: str,
    groups: Iterable[str] = (),
    tags: Iterable[str] = (),
    expires: datetime | None = None,
) -> RoleAssignment:
    """Return a role assignment."""
    return RoleAssignment(
        name=name,
        role=role,
        members=frozenset(members),
        scope_groups=frozenset(groups),
        scope_tags=frozenset(tags),
        expires=expires,
    )


OWNERS = assignment("owner", OWNER, "user:owner")


OWNER_TOKEN = Token(token_id="owner", digest=b"o" * 32, principal="user:owner", description="first", created=NOW)


def store_with(*items: AccessObject | Token) -> MemoryStore:
    """Return a store at revision 1 that holds the built-in roles, the Owner, and the items."""
    store = MemoryStore()
    objects = [item for item in items if not isinstance(item, Token)]
    tokens = {item.token_id: item for item in items if isinstance(item, Token)}
    store.kept = replace(store.kept.having([OWNERS, *objects]), tokens=tokens)
    store.kept_revision = 1
    return store
