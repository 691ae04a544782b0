"""The nouns of the document form: a document, its metadata, and the kinds that the kernel has no noun for.

The kinds that decide elevation are the kernel's own: `RulesPolicy`, `SettingsPolicy`, `ReusableCertificate`, `Group`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from elevation.model import Group, ReusableCertificate, RulesPolicy, SettingsPolicy
from epmctl.documents.nodes import MapNode

API_VERSION = "openepm/v1"


class Kind(Enum):
    """What a document describes, spelt as in the document."""

    ElevationSettingsPolicy = "ElevationSettingsPolicy"
    ElevationRulesPolicy = "ElevationRulesPolicy"
    ReusableCertificate = "ReusableCertificate"
    Group = "Group"
    Role = "Role"
    Principal = "Principal"
    PrincipalGroup = "PrincipalGroup"
    RoleAssignment = "RoleAssignment"
    ScopeTag = "ScopeTag"
    TrustedIssuer = "TrustedIssuer"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What every object has. No scope tags: the server gives the object those of its creator."""

    name: str
    description: str = ""
    scope_tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of rights."""

    name: str
    rights: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Principal:
    """The users of devices that an administrator is besides that of their own name."""

    name: str
    endpoint_users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrincipalGroup:
    """Administrators under one name."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """A role given to administrators, within scope groups and scope tags, optionally until a time."""

    name: str
    role: str
    members: tuple[str, ...]
    scope_groups: tuple[str, ...] = ()
    scope_tags: tuple[str, ...] = ()
    expires: datetime | None = None
    """None: it does not end by itself."""


@dataclass(frozen=True, slots=True)
class ScopeTag:
    """A tag that objects and role assignments carry."""

    name: str


@dataclass(frozen=True, slots=True)
class GroupMapping:
    """A group of an identity provider that counts as a principal group."""

    claim_value: str
    principal_group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An identity provider whose tokens are believed."""

    name: str
    issuer: str
    audiences: tuple[str, ...]
    jwks_uri: str = ""
    jwks: str = ""
    """Its key set as JSON; where both this and the address are blank, its keys are found by discovery."""
    principal_claim: str = ""
    principal_prefix: str = ""
    groups_claim: str = ""
    group_mappings: tuple[GroupMapping, ...] = ()
    client_id: str = ""


Access = Role | Principal | PrincipalGroup | RoleAssignment | ScopeTag | TrustedIssuer
Spec = SettingsPolicy | RulesPolicy | ReusableCertificate | Group | Access


@dataclass(frozen=True, slots=True)
class Document:
    """One document."""

    kind: Kind
    metadata: Metadata
    spec: Spec
    file: str
    node: MapNode = field(compare=False, repr=False)
    """As it was read, for the lines of its keys."""

    @property
    def name(self) -> str:
        """Give the name that the object has on the server."""
        return self.metadata.name


@dataclass(frozen=True, slots=True)
class Draft:
    """A document as it was read, with its place; it is declared even where its spec is too wrong to be used."""

    kind: Kind
    metadata: Metadata
    spec: Spec | None
    file: str
    node: MapNode
    lines: range
