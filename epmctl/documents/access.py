"""Read the documents that say who may administer what."""

import re
from datetime import datetime
from typing import Final

from epmctl.documents.fields import Fields
from epmctl.documents.model import Metadata, PrincipalGroup, Role, RoleAssignment, ScopeTag
from epmctl.documents.values import parse_time

MAX_SCOPE_TAGS: Final = 100

_RIGHT: Final = re.compile(r"[a-z_]+\.[a-z_]+")
_MEMBER: Final = re.compile(r"(user|group):\S.*")
_MEMBER_REMEDY: Final = "must be user:NAME or group:NAME"


def read_role(metadata: Metadata, spec: Fields) -> Role:
    """Read the spec of a Role. Whether its rights exist, the server says."""
    remedy = "must name a right, such as policy_authoring.read"
    return Role(metadata.name, _read_texts(spec, "rights", form=_RIGHT, remedy=remedy))


def read_principal_group(metadata: Metadata, spec: Fields) -> PrincipalGroup:
    """Read the spec of a PrincipalGroup."""
    return PrincipalGroup(metadata.name, _read_texts(spec, "members", form=_MEMBER, remedy=_MEMBER_REMEDY))


def read_role_assignment(metadata: Metadata, spec: Fields) -> RoleAssignment:
    """Read the spec of a RoleAssignment."""
    tags = _read_texts(spec, "scopeTags")
    if len(tags) > MAX_SCOPE_TAGS:
        spec.refuse("scopeTags", f"more than {MAX_SCOPE_TAGS} scope tags; split the role assignment")
    return RoleAssignment(
        name=metadata.name,
        role=spec.text("role", required=True, blank=False),
        members=_read_texts(spec, "members", form=_MEMBER, remedy=_MEMBER_REMEDY),
        scope_groups=_read_texts(spec, "scopeGroups"),
        scope_tags=tags,
        expires=_read_expiry(spec),
    )


def read_scope_tag(metadata: Metadata, spec: Fields) -> ScopeTag:
    """Read the spec of a ScopeTag, which has no keys."""
    del spec
    return ScopeTag(metadata.name)


def _read_expiry(spec: Fields) -> datetime | None:
    text = spec.time_text("expires")
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        spec.refuse("expires", str(error))
        return None


def _read_texts(spec: Fields, key: str, *, form: re.Pattern[str] | None = None, remedy: str = "") -> tuple[str, ...]:
    """Read a list of texts, required where it has a form; refuse what does not have it and what stands twice."""
    values = spec.texts(key, required=form is not None)
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value and form is not None and form.fullmatch(value) is None:
            spec.refuse_item(key, index, f"{remedy}, not {value!r}")
        elif value and value in seen:
            spec.refuse_item(key, index, f"{value!r} is given twice; keep one")
        seen.add(value)
    return values
