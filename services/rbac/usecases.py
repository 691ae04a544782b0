"""The verbs of access. Each looks, checks and writes in one transaction, with the audit record beside the change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from services._chassis.access import OWNER
from services._chassis.audit import AuditEntry
from services._chassis.errors import InvalidError, NotFoundError, Problem, StateError
from services._chassis.expected import Expected, check_expected, refuse_stale
from services._chassis.jwks import read_key_set
from services.rbac.model.changes import Change, excess_of_token
from services.rbac.model.checks import description_problems, object_problems, principal_problems
from services.rbac.model.documents import KINDS, document_of, document_of_token, etag_of, kind_of
from services.rbac.model.issuers import IssuerKeys, TrustedIssuer
from services.rbac.model.nouns import AccessObject, AccessState, Actor, Role, RoleAssignment, Token
from services.rbac.model.refusals import (
    refuse_all_but_owners,
    refuse_built_in,
    refuse_change,
    refuse_excess,
    refuse_lockout,
    refuse_principals,
)
from services.rbac.ports import OwnerTokenFile, Store, Work

TOKEN_LIFETIME = timedelta(days=90)
FIRST_OWNER = "user:owner"
FIRST_ASSIGNMENT = "owner"


class Action(Enum):
    """What became of an object that was applied."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Applied:
    """Say what became of the objects, in the order in which they were given, and the revision after it."""

    actions: tuple[tuple[AccessObject, Action], ...]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """Describe a token that is to be issued; `secret_digest` stands for its text."""

    token_id: str
    secret_digest: bytes
    principal: str
    description: str
    expires: datetime | None = None


async def apply_access(
    store: Store,
    items: Sequence[AccessObject],
    *,
    actor: Actor,
    now: datetime,
    validate_only: bool,
    expected: Sequence[Expected] = (),
) -> Applied:
    """Create or replace objects, all or none; the same call again changes nothing.

    Raises InvalidError with all problems, ConflictError where objects are not as expected, StateError for a built-in role or
    the last Owner, DeniedError for rights that the actor lacks.
    """
    async with store.reading() if validate_only else store.writing() as work:
        before = await work.state()
        if any(isinstance(item, TrustedIssuer) for item in items):
            refuse_all_but_owners(before, actor, now)
        if problems := list(check_expected(expected, KINDS)):
            raise InvalidError(problems)
        refuse_stale(expected, lambda entry: _present_etag(before, entry))
        refuse_built_in(item.name for item in items if isinstance(item, Role))
        if problems := list(object_problems(items, before)):
            raise InvalidError(problems)
        after = before.having(items)
        refuse_change(Change(before, after), actor, now)
        refuse_principals(before, after, actor, now)
        actions = tuple((item, _action(before.find(item), item)) for item in items)
        if not validate_only:
            for item, action in actions:
                await _write(work, before.find(item), item, action, now=now)
        return Applied(actions, await work.revision())


async def delete_role(store: Store, name: str, *, now: datetime) -> int:
    """Delete a custom role that no assignment uses; return the revision."""
    async with store.writing() as work:
        state = await work.state()
        refuse_built_in([name])
        role = state.roles.get(name)
        if role is None:
            raise NotFoundError(f"there is no role {name!r}")
        users = sorted(a.name for a in state.role_assignments.values() if a.role == name)
        if users:
            raise StateError(
                f"the role is used by {', '.join(users)}; delete those role assignments first", reason="ROLE_IN_USE"
            )
        return await _remove(work, role, now=now)


async def delete_role_assignment(store: Store, name: str, *, actor: Actor, now: datetime) -> int:
    """Delete a role assignment within the actor's reach, unless it makes the last Owner; return the revision."""
    async with store.writing() as work:
        state = await work.state()
        assignment = state.role_assignments.get(name)
        if assignment is None:
            raise NotFoundError(f"there is no role assignment {name!r}")
        refuse_change(Change(state, state.without_assignment(name)), actor, now)
        return await _remove(work, assignment, now=now)


async def delete_principal(store: Store, name: str, *, actor: Actor, now: datetime) -> int:
    """Delete a principal record, if the actor may take its endpoint users; return the revision."""
    async with store.writing() as work:
        state = await work.state()
        record = state.principals.get(name)
        if record is None:
            raise NotFoundError(f"there is no principal record {name!r}")
        refuse_principals(state, state.without_principal(name), actor, now)
        return await _remove(work, record, now=now)


async def delete_principal_group(store: Store, name: str, *, now: datetime) -> int:
    """Delete a principal group that no assignment and no other group uses; return the revision."""
    async with store.writing() as work:
        state = await work.state()
        group = state.principal_groups.get(name)
        if group is None:
            raise NotFoundError(f"there is no principal group {name!r}")
        users = [
            *sorted(
                f"role assignment {a.name}" for a in state.role_assignments.values() if f"group:{name}" in a.members
            ),
            *sorted(
                f"principal group {g.name}" for g in state.principal_groups.values() if f"group:{name}" in g.members
            ),
        ]
        users += sorted(
            f"trusted issuer {issuer.name}"
            for issuer in state.trusted_issuers.values()
            if any(mapping.principal_group == name for mapping in issuer.group_mappings)
        )
        if users:
            raise StateError(
                f"the principal group is used by {', '.join(users)}; take it out of those first",
                reason="GROUP_IN_USE",
                details={"users": "\n".join(users)},
            )
        return await _remove(work, group, now=now)


async def delete_trusted_issuer(store: Store, name: str, *, actor: Actor, now: datetime) -> int:
    """Delete a trusted issuer and the keys that were fetched for it; return the revision."""
    async with store.writing() as work:
        state = await work.state()
        refuse_all_but_owners(state, actor, now)
        issuer = state.trusted_issuers.get(name)
        if issuer is None:
            raise NotFoundError(f"there is no trusted issuer {name!r}")
        refuse_lockout(Change(state, state.without_issuer(name)), now)
        if keys := state.issuer_keys.get(name):
            await work.remove(keys)
        return await _remove(work, issuer, now=now)


async def keep_keys(store: Store, keys: IssuerKeys, *, now: datetime) -> bool:
    """Put keys that were fetched for an issuer in force; tell whether they are new and still those that it names."""
    async with store.writing() as work:
        state = await work.state()
        issuer = state.trusted_issuers.get(keys.name)
        if issuer is None or issuer.key_source != keys.source or state.issuer_keys.get(keys.name) == keys:
            return False
        await work.put(keys)
        details = {"source": keys.source, "keys": ", ".join(key.kid for key in read_key_set(keys.jwks))}
        entry = AuditEntry(
            action="issuer_keys_replaced", target_kind="TrustedIssuer", target=keys.name, details=details
        )
        await work.record(entry, now)
        return True


async def issue_token(store: Store, new: NewToken, *, actor: Actor, now: datetime) -> tuple[Token, int]:
    """Issue a token for a principal whose rights the actor has, for 90 days unless told otherwise."""
    expires = new.expires or now + TOKEN_LIFETIME
    problems = [
        *principal_problems("principal", new.principal),
        *description_problems("description", new.description),
        *([Problem("expires", "must be in the future")] if expires <= now else []),
    ]
    if problems:
        raise InvalidError(problems)
    token = Token(
        token_id=new.token_id,
        digest=new.secret_digest,
        principal=new.principal,
        description=new.description,
        created=now,
        expires=expires,
    )
    async with store.writing() as work:
        refuse_excess(excess_of_token(await work.state(), new.principal, actor, now), actor)
        return token, await _put_token(work, None, token, "token_issued", now=now)


async def revoke_token(store: Store, token_id: str, *, now: datetime) -> tuple[Token, int]:
    """Revoke a token, unless no Owner could log in any more; one that is revoked stays as it was."""
    async with store.writing() as work:
        state = await work.state()
        token = state.tokens.get(token_id)
        if token is None:
            raise NotFoundError(f"there is no token {token_id!r}")
        if token.revoked is not None:
            return token, await work.revision()
        revoked = replace(token, revoked=now)
        refuse_lockout(Change(state, state.with_token(revoked)), now)
        return revoked, await _put_token(work, token, revoked, "token_revoked", now=now)


async def read_state(store: Store) -> tuple[AccessState, int]:
    """Return everything and its revision, as one moment saw them."""
    async with store.reading() as work:
        return await work.state(), await work.revision()


async def bootstrap(
    store: Store, file: OwnerTokenFile, *, token_id: str, secret: str, digest: bytes, now: datetime
) -> bool:
    """Make the first Owner and its token, unless there is an Owner; tell whether it did.

    The file is written before the commit: after a crash in between, the next start writes it again.
    """
    async with store.writing() as work:
        state = await work.state()
        if any(assignment.role == OWNER for assignment in state.role_assignments.values()):
            return False
        owner = RoleAssignment(name=FIRST_ASSIGNMENT, role=OWNER, members=frozenset({FIRST_OWNER}))
        await _write(work, state.find(owner), owner, Action.CREATED, now=now)
        token = Token(
            token_id=token_id, digest=digest, principal=FIRST_OWNER, description="made at the first start", created=now
        )
        await _put_token(work, None, token, "token_issued", now=now)
        file.write(secret)
    return True


def _present_etag(state: AccessState, entry: Expected) -> str:
    item = state.named(entry.kind, entry.name)
    return etag_of(item) if item else ""


def _action(old: AccessObject | None, new: AccessObject) -> Action:
    if old is None:
        return Action.CREATED
    return Action.UNCHANGED if old == new else Action.UPDATED


async def _write(work: Work, old: AccessObject | None, new: AccessObject, action: Action, *, now: datetime) -> None:
    if action is Action.UNCHANGED:
        return
    await work.put(new)
    kind = kind_of(new)
    entry = AuditEntry(
        action=f"{kind.snake}_{action.value}",
        target_kind=kind.name,
        target=new.name,
        before=document_of(old) if old else None,
        after=document_of(new),
    )
    await work.record(entry, now)


async def _remove(work: Work, item: AccessObject, *, now: datetime) -> int:
    await work.remove(item)
    kind = kind_of(item)
    entry = AuditEntry(
        action=f"{kind.snake}_deleted", target_kind=kind.name, target=item.name, before=document_of(item)
    )
    await work.record(entry, now)
    return await work.revision()


async def _put_token(work: Work, old: Token | None, new: Token, action: str, *, now: datetime) -> int:
    await work.put(new)
    entry = AuditEntry(
        action=action,
        target_kind="Token",
        target=new.token_id,
        before=document_of_token(old) if old else None,
        after=document_of_token(new),
        details={"principal": new.principal},
    )
    await work.record(entry, now)
    return await work.revision()
