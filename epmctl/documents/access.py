"""Read the documents that say who may administer what."""

from datetime import datetime
from typing import Final

from epmctl.documents.accesstables import MAX_SCOPE_TAGS
from epmctl.documents.fields import Fields
from epmctl.documents.model import Metadata, Principal, PrincipalGroup, Role, RoleAssignment, ScopeTag
from epmctl.documents.values import parse_time

_MEMBER_REMEDY: Final = "must be user:NAME or group:NAME"


def read_role(metadata: Metadata, spec: Fields) -> Role:
    """Read the spec of a Role. Whether its rights exist, the server says."""
    remedy = "must name a right, such as policy_authoring.read"
    return Role(metadata.name, spec.texts("rights", remedy))


def read_principal(metadata: Metadata, spec: Fields) -> Principal:
    """Read the spec of a Principal."""
    return Principal(metadata.name, spec.texts("endpointUsers"))


def read_principal_group(metadata: Metadata, spec: Fields) -> PrincipalGroup:
    """Read the spec of a PrincipalGroup."""
    return PrincipalGroup(metadata.name, spec.texts("members", _MEMBER_REMEDY))


def read_role_assignment(metadata: Metadata, spec: Fields) -> RoleAssignment:
    """Read the spec of a RoleAssignment."""
    tags = spec.texts("scopeTags")
    if len(tags) > MAX_SCOPE_TAGS:
        spec.refuse("scopeTags", f"more than {MAX_SCOPE_TAGS} scope tags; split the role assignment")
    return RoleAssignment(
        name=metadata.name,
        role=spec.text("role"),
        members=spec.texts("members", _MEMBER_REMEDY),
        scope_groups=spec.texts("scopeGroups"),
        scope_tags=tags,
        expires=_read_expiry(spec),
    )


def read_scope_tag(metadata: Metadata, spec: Fields) -> ScopeTag:
    """Read the spec of a ScopeTag, which has no keys."""
    del spec
    return ScopeTag(metadata.name)


def _read_expiry(spec: Fields) -> datetime | None:
    text = spec.text("expires")
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        spec.refuse("expires", str(error))
        return None
