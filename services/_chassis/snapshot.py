"""What the rbac service tells every other one: all that a check needs, at one revision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """Name the rights of a role."""

    name: str
    rights: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentGrant:
    """Give a role to members within a scope; members are `user:NAME` or `group:NAME`."""

    name: str
    role: str
    members: frozenset[str]
    scope_groups: frozenset[str] = frozenset()
    scope_tags: frozenset[str] = frozenset()
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class PrincipalGroupMembers:
    """Name the members of a principal group, as `user:NAME` and `group:NAME`."""

    name: str
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class PrincipalUsers:
    """Name the users of devices that a principal is, as its record states them; the name is without `user:`."""

    name: str
    endpoint_users: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDigest:
    """Know a bearer token by the SHA-256 of its text."""

    token_id: str
    digest: bytes
    principal: str
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerTrust:
    """Say what is believed of one issuer's tokens; `key_set` is empty while its keys are not known."""

    name: str
    issuer: str
    audiences: tuple[str, ...]
    key_set: str = field(default="", repr=False)
    principal_claim: str = "sub"
    principal_prefix: str = ""
    groups_claim: str = ""
    group_mappings: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Principal groups by the value in the groups claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSnapshot:
    """Hold everything that a check needs, at one revision."""

    revision: int
    roles: tuple[RoleGrant, ...] = ()
    assignments: tuple[AssignmentGrant, ...] = ()
    principal_groups: tuple[PrincipalGroupMembers, ...] = ()
    tokens: tuple[TokenDigest, ...] = ()
    issuers: tuple[IssuerTrust, ...] = ()
    scope_tags: frozenset[str] = frozenset()
    """All that there are, `default` among them; none if the rbac service is too old to tell."""
    principals: tuple[PrincipalUsers, ...] = ()
