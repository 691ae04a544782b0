"""The registry of rights: every right that an RPC may ask for and a role may hold."""

from dataclasses import dataclass

POLICY_AUTHORING = "Endpoint Privilege Management Policy Authoring"
ELEVATION_REQUESTS = "Endpoint Privilege Management Elevation Requests"


@dataclass(frozen=True, slots=True)
class Right:
    """Name a right as the contracts spell it, and as people read it."""

    name: str
    display_name: str


def _rights(permission: str, display_name: str, *verbs: str) -> tuple[Right, ...]:
    return tuple(Right(f"{permission}.{verb}", f"{display_name}: {verb.replace('_', ' ')}") for verb in verbs)


RIGHTS: tuple[Right, ...] = (
    *_rights("policy_authoring", POLICY_AUTHORING, "view_reports", "read", "create", "update", "delete", "assign"),
    *_rights("elevation_requests", ELEVATION_REQUESTS, "view", "modify"),
    *_rights("devices", "Devices", "read", "enroll", "update", "retire"),
    *_rights("groups", "Groups", "read", "create", "update", "delete"),
    *_rights("roles", "Roles", "read", "create", "update", "delete", "assign"),
    *_rights("tokens", "Tokens", "read", "create", "revoke"),
    *_rights("scope_tags", "Scope tags", "read", "manage"),
    *_rights("reporting", "Reporting", "configure"),
    *_rights("audit", "Audit", "read"),
)
RIGHT_NAMES: frozenset[str] = frozenset(right.name for right in RIGHTS)
BITS: dict[str, int] = {right.name: 1 << index for index, right in enumerate(RIGHTS)}


def mask_of(names: frozenset[str] | tuple[str, ...]) -> int:
    """Return the rights as bits. An unknown name counts for nothing: it cannot open a door."""
    mask = 0
    for name in names:
        mask |= BITS.get(name, 0)
    return mask


def names_of(mask: int) -> tuple[str, ...]:
    """Return the names of the rights in `mask`, sorted."""
    return tuple(sorted(name for name, bit in BITS.items() if mask & bit))
