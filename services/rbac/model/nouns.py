"""What the rbac service keeps.

- A member is `user:NAME`, a principal, or `group:NAME`, a principal group; principal groups may hold others, and none
  holds itself by any way.
- A token is known by the SHA-256 of its text; the text is shown once and kept nowhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from services.rbac.model.issuers import IssuerKeys, TrustedIssuer


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, and the principal groups that an identity provider counts them into."""

    name: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of rights."""

    name: str
    description: str
    rights: frozenset[str]
    built_in: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """The users of devices that a principal is besides that of its own name; the name is without `user:`."""

    name: str
    endpoint_users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PrincipalGroup:
    """A named set of principals, and of principal groups with all who are in them."""

    name: str
    members: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAssignment:
    """A role, given to members within a scope; no scope groups target nothing, no scope tags see everything."""

    name: str
    role: str
    members: frozenset[str]
    scope_groups: frozenset[str] = frozenset()
    scope_tags: frozenset[str] = frozenset()
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class ScopeTag:
    """A word that marks objects for those who may see them."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token, without its text."""

    token_id: str
    digest: bytes
    principal: str
    description: str
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None


AccessObject: TypeAlias = Role | Principal | PrincipalGroup | RoleAssignment | ScopeTag | TrustedIssuer
Kept: TypeAlias = AccessObject | Token | IssuerKeys


@dataclass(frozen=True, slots=True)
class AccessState:
    """Everything of the rbac service at one revision, by name."""

    roles: Mapping[str, Role] = field(default_factory=dict)
    principal_groups: Mapping[str, PrincipalGroup] = field(default_factory=dict)
    role_assignments: Mapping[str, RoleAssignment] = field(default_factory=dict)
    scope_tags: Mapping[str, ScopeTag] = field(default_factory=dict)
    tokens: Mapping[str, Token] = field(default_factory=dict)
    trusted_issuers: Mapping[str, TrustedIssuer] = field(default_factory=dict)
    issuer_keys: Mapping[str, IssuerKeys] = field(default_factory=dict)
    principals: Mapping[str, Principal] = field(default_factory=dict)

    def find(self, item: AccessObject) -> AccessObject | None:
        """Return the object of the same kind and name; None if there is none."""
        return self._shelf(item).get(item.name)

    def named(self, kind: str, name: str) -> AccessObject | None:
        """Return the object of a kind, spelt as in documents, by its name; None if there is none."""
        shelves: Mapping[str, Mapping[str, AccessObject]] = {
            "Role": self.roles,
            "Principal": self.principals,
            "PrincipalGroup": self.principal_groups,
            "RoleAssignment": self.role_assignments,
            "ScopeTag": self.scope_tags,
            "TrustedIssuer": self.trusted_issuers,
        }
        return shelves[kind].get(name)

    def having(self, items: Iterable[AccessObject]) -> "AccessState":
        """Return the state with the objects created or replaced."""
        roles, groups = dict(self.roles), dict(self.principal_groups)
        assignments, tags = dict(self.role_assignments), dict(self.scope_tags)
        issuers, principals = dict(self.trusted_issuers), dict(self.principals)
        for item in items:
            match item:
                case Role():
                    roles[item.name] = item
                case Principal():
                    principals[item.name] = item
                case PrincipalGroup():
                    groups[item.name] = item
                case RoleAssignment():
                    assignments[item.name] = item
                case ScopeTag():
                    tags[item.name] = item
                case TrustedIssuer():
                    issuers[item.name] = item
        return AccessState(roles, groups, assignments, tags, self.tokens, issuers, self.issuer_keys, principals)

    def without_assignment(self, name: str) -> "AccessState":
        """Return the state without one role assignment."""
        kept = {key: assignment for key, assignment in self.role_assignments.items() if key != name}
        return replace(self, role_assignments=kept)

    def without_principal(self, name: str) -> "AccessState":
        """Return the state without one principal record."""
        kept = {key: record for key, record in self.principals.items() if key != name}
        return replace(self, principals=kept)

    def without_issuer(self, name: str) -> "AccessState":
        """Return the state without one trusted issuer."""
        kept = {key: issuer for key, issuer in self.trusted_issuers.items() if key != name}
        return replace(self, trusted_issuers=kept)

    def with_token(self, token: Token) -> "AccessState":
        """Return the state with a token added or replaced."""
        return replace(self, tokens={**self.tokens, token.token_id: token})

    def _shelf(self, item: AccessObject) -> Mapping[str, AccessObject]:
        match item:
            case Role():
                return self.roles
            case Principal():
                return self.principals
            case PrincipalGroup():
                return self.principal_groups
            case RoleAssignment():
                return self.role_assignments
            case ScopeTag():
                return self.scope_tags
            case TrustedIssuer():
                return self.trusted_issuers
