"""The access data as the access check reads it."""

from dataclasses import replace
from datetime import datetime, timedelta

from services._chassis.access import CompiledAccess
from services._chassis.permits import DEFAULT_TAG
from services._chassis.snapshot import (
    AccessSnapshot,
    AssignmentGrant,
    PrincipalGroupMembers,
    PrincipalUsers,
    RoleGrant,
    TokenDigest,
)
from services.rbac.model.issuers import trust_of
from services.rbac.model.nouns import AccessState

EXPIRED_KEPT = timedelta(days=1)


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
        issuers=tuple(trust_of(issuer, state.issuer_keys.get(name)) for name, issuer in state.trusted_issuers.items()),
        scope_tags=frozenset({DEFAULT_TAG, *state.scope_tags}),
        principals=tuple(PrincipalUsers(record.name, record.endpoint_users) for record in state.principals.values()),
    )


def published(state: AccessState, revision: int, now: datetime) -> AccessSnapshot:
    """Return the snapshot that is sent, without tokens that expired long ago: until then their holders are told why."""
    snapshot = snapshot_of(state, revision)
    kept = (token for token in snapshot.tokens if token.expires is None or now < token.expires + EXPIRED_KEPT)
    return replace(snapshot, tokens=tuple(kept))


def compiled(state: AccessState) -> CompiledAccess:
    """Return the state as the access check reads it."""
    return CompiledAccess(snapshot_of(state, 0))
