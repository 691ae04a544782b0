"""Who may do what, written from the specification alone: slow, plain, and without a line of the real evaluator.

The sentences of the specification stand beside the code that follows them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

OWNER = "Owner"
ALL = "all"


@dataclass(frozen=True)
class Given:
    """One role assignment."""

    role: str
    members: frozenset[str]
    groups: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    expires: datetime | None = None


@dataclass(frozen=True)
class Issued:
    """One token."""

    principal: str
    expires: datetime
    revoked: bool = False


@dataclass
class World:
    """Everything that access depends on, by name; Owner needs no entry among the roles."""

    roles: dict[str, frozenset[str]] = field(default_factory=dict)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    given: dict[str, Given] = field(default_factory=dict)
    tokens: dict[bytes, Issued] = field(default_factory=dict)


def belongs(world: World, principal: str, member: str) -> bool:
    """Tell whether a principal is meant by a member: itself, or a principal group that holds it, by any way."""
    if member == principal:
        return True
    held = world.groups.get(member.removeprefix("group:"), frozenset()) if member.startswith("group:") else frozenset()
    return any(belongs(world, principal, inner) for inner in held)


def granting(world: World, principal: str, right: str, now: datetime) -> Iterator[Given]:
    """Give the assignments that grant the principal the right now."""
    for given in world.given.values():
        # "optionally until a time"
        over = given.expires is not None and now >= given.expires
        # "Owner: all"; what is no role grants nothing
        holds = given.role == OWNER or right in world.roles.get(given.role, frozenset())
        if holds and not over and any(belongs(world, principal, member) for member in given.members):
            yield given


def has(world: World, principal: str, right: str, now: datetime) -> bool:
    """Tell whether the principal has the right over anything. "Grants only add"."""
    return any(True for _ in granting(world, principal, right, now))


def sees(given: Given, tags: frozenset[str]) -> bool:
    """Tell whether an assignment sees an object with these tags."""
    # "An assignment without tags sees all"; "untagged objects carry `default`"
    return given.role == OWNER or not given.tags or bool(given.tags & (tags or {"default"}))


def may(
    world: World,
    principal: str,
    right: str,
    now: datetime,
    *,
    tags: frozenset[str],
    groups: frozenset[str] = frozenset(),
) -> bool:
    """Tell whether the principal may do this to an object with these tags, aimed at these groups.

    "A right counts only within the scope of the assignment that grants it."
    """
    seeing = [given for given in granting(world, principal, right, now) if sees(given, tags)]
    reaching = all(any(given.role == OWNER or group in given.groups for given in seeing) for group in groups)
    return bool(seeing) and reaching


def speaks_for(world: World, digest: bytes, now: datetime) -> str | None:
    """Return whom a token speaks for now."""
    token = world.tokens.get(digest)
    return token.principal if token and not token.revoked and now < token.expires else None


def is_owner(world: World, principal: str, now: datetime) -> bool:
    """Tell whether the principal is an Owner now."""
    return any(given.role == OWNER for given in granting(world, principal, ALL, now))


def lasting_owner(world: World, principals: frozenset[str]) -> bool:
    """Tell whether one of the principals is Owner without an end. "The last Owner cannot be removed"."""
    return any(
        given.role == OWNER
        and given.expires is None
        and any(belongs(world, principal, member) for member in given.members)
        for given in world.given.values()
        for principal in principals
    )


def owner_comes_in(world: World, now: datetime) -> bool:
    """Tell whether a token speaks for an Owner without an end. "The last Owner stays" is about who can log in, too."""
    speakers = (speaks_for(world, digest, now) for digest in world.tokens)
    return any(lasting_owner(world, frozenset({principal})) for principal in speakers if principal)


def goes_round(world: World) -> bool:
    """Tell whether a principal group contains itself, by any way."""
    reached = {name: set(members) for name, members in world.groups.items()}
    for _ in world.groups:
        for members in reached.values():
            for member in list(members):
                members.update(reached.get(member.removeprefix("group:"), ()) if member.startswith("group:") else ())
    return any(f"group:{name}" in members for name, members in reached.items())
