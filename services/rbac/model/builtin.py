"""The roles that OpenEPM brings; they are code, never rows, so that nothing can change them."""

from services._chassis.access import OWNER
from services._chassis.rights import RIGHT_NAMES
from services.rbac.model.nouns import Role

_READING = frozenset({"policy_authoring.read", "policy_authoring.view_reports", "elevation_requests.view"})
_LOOKING = frozenset({"devices.read", "groups.read", "scope_tags.read"})
_EPM = frozenset(right for right in RIGHT_NAMES if right.startswith(("policy_authoring.", "elevation_requests.")))


def _all_of(*permissions: str) -> frozenset[str]:
    return frozenset(right for right in RIGHT_NAMES if right.partition(".")[0] in permissions)


def _role(name: str, description: str, rights: frozenset[str]) -> Role:
    return Role(name, description, rights, built_in=True)


_MANAGES = "Authors policies, reads reports and answers elevation requests"
_READS = "Reads policies, reports and elevation requests"
_BUILT_IN = (
    _role("Endpoint Privilege Manager", _MANAGES, _EPM | _LOOKING),
    _role("Endpoint Security Manager", _MANAGES, _EPM | _LOOKING),
    _role("Endpoint Privilege Reader", _READS, _READING | _LOOKING),
    _role("Read Only Operator", _READS, _READING | _LOOKING),
    _role(
        "Elevation Approver",
        "Reads as a reader does, and answers elevation requests",
        _READING | _LOOKING | {"elevation_requests.modify"},
    ),
    _role(
        "Device Administrator",
        "Enrols, changes and retires devices, and manages groups",
        _all_of("devices", "groups") | {"scope_tags.read"},
    ),
    _role(
        "Role Administrator",
        "Manages roles, role assignments, tokens and scope tags",
        _all_of("roles", "tokens", "scope_tags") | {"groups.read"},
    ),
    _role(
        "Auditor",
        "Reads the audit record, roles, policies, reports and devices",
        frozenset(
            {"audit.read", "roles.read", "policy_authoring.read", "policy_authoring.view_reports", "devices.read"}
        ),
    ),
    _role(OWNER, "May do everything, everywhere", RIGHT_NAMES),
)
BUILT_IN_ROLES: dict[str, Role] = {role.name: role for role in _BUILT_IN}
