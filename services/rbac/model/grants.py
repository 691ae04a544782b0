"""What a change would grant, and whether its actor may grant it.

INVARIANT: only an Owner grants what it lacks. A change is compared by its effect: every grant that any principal would gain,
by whatever road (role, role assignment, principal group), must lie within one of the actor's own grants: its rights, its
scope, its time.
"""

from datetime import UTC, datetime

from services._chassis.access import OWNER, CompiledAccess, Grant, Scope
from services._chassis.rights import names_of
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, PrincipalGroupMembers, RoleGrant, TokenDigest
from services.rbac.model.nouns import AccessState

_NEVER = datetime.max.replace(tzinfo=UTC)


def snapshot_of(state: AccessState, revision: int) -> AccessSnapshot:
    """Return what every service needs to check its callers."""
    return AccessSnapshot(
        revision=revision,
        roles=tuple(RoleGrant(role.name, role.rights) for role in state.roles.values()),
        assignments=tuple(
            AssignmentGrant(
                name=assignment.name,
                role=assignment.role,
                members=assignment.members,
                scope_groups=assignment.scope_groups,
                scope_tags=assignment.scope_tags,
                expires=assignment.expires,
            )
            for assignment in state.role_assignments.values()
        ),
        principal_groups=tuple(
            PrincipalGroupMembers(group.name, group.members) for group in state.principal_groups.values()
        ),
        tokens=tuple(
            TokenDigest(token_id=token.token_id, digest=token.digest, principal=token.principal, expires=token.expires)
            for token in state.tokens.values()
            if token.revoked is None
        ),
    )


def compiled(state: AccessState) -> CompiledAccess:
    """Return the state as the access check reads it."""
    return CompiledAccess(snapshot_of(state, 0))


def excess_of_change(before: AccessState, after: AccessState, actor: str, now: datetime) -> tuple[str, ...]:
    """Name the rights that the change grants somebody and that the actor lacks, sorted; empty for an Owner."""
    old, new = compiled(before), compiled(after)
    if old.is_owner(actor, now):
        return ()
    own = old.grants(actor, now)
    excess = 0
    for principal in new.principals():
        held = old.grants(principal, now)
        for grant in new.grants(principal, now):
            excess |= _beyond(grant, held) & _beyond(grant, own)
    return names_of(excess)


def excess_of_token(state: AccessState, principal: str, actor: str, now: datetime) -> tuple[str, ...]:
    """Name the rights of the principal that the actor lacks, sorted; who speaks for a principal has its rights."""
    access = compiled(state)
    if access.is_owner(actor, now):
        return ()
    own = access.grants(actor, now)
    excess = 0
    for grant in access.grants(principal, now):
        excess |= _beyond(grant, own)
    return names_of(excess)


def has_lasting_owner(state: AccessState) -> bool:
    """Tell whether somebody is Owner without an end."""
    owners = (a for a in state.role_assignments.values() if a.role == OWNER and a.expires is None)
    return any(
        member.startswith("user:") or bool(_group_members(state, member))
        for owner in owners
        for member in owner.members
    )


def _group_members(state: AccessState, member: str) -> frozenset[str]:
    group = state.principal_groups.get(member.removeprefix("group:"))
    return group.members if group else frozenset()


def _beyond(grant: Grant, own: tuple[Grant, ...]) -> int:
    """Return the rights of the grant that no single one of `own` holds within at least the same scope and time."""
    covered = 0
    for candidate in own:
        if _as_wide(candidate.scope, grant.scope) and (candidate.expires or _NEVER) >= (grant.expires or _NEVER):
            covered |= candidate.mask
    return grant.mask & ~covered


def _as_wide(own: Scope, other: Scope) -> bool:
    if own.everything:
        return True
    tags = not own.tags or (bool(other.tags) and other.tags <= own.tags)
    return not other.everything and tags and other.groups <= own.groups
