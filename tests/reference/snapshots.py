"""What a snapshot grants, cycles of groups and groups of the caller's own included: slow, plain, and independent."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from services._chassis.snapshot import AccessSnapshot, AssignmentGrant

Groups = Mapping[str, frozenset[str]]


def contains(groups: Groups, outer: str, inner: str) -> bool:
    """Tell whether a group holds another one by any way, round or not."""
    reached, left = set[str](), {outer}
    while left:
        name = left.pop()
        found = {member.removeprefix("group:") for member in groups.get(name, ()) if member.startswith("group:")}
        left |= found - reached
        reached |= found
    return inner in reached


def counting_members(groups: Groups, name: str) -> Iterator[str]:
    """Give the members of a group without the groups that hold it in turn: such a step lies on a cycle."""
    for member in groups.get(name, ()):
        inner = member.removeprefix("group:")
        if not member.startswith("group:") or (inner in groups and inner != name and not contains(groups, inner, name)):
            yield member


def is_in(groups: Groups, member: str, principal: str, own: frozenset[str]) -> bool:
    """Tell whether a member of an assignment means the principal, or one of the groups that it brings."""
    if not member.startswith("group:"):
        return member == principal
    name = member.removeprefix("group:")
    if name not in groups:
        return False
    return name in own or any(is_in(groups, inner, principal, own) for inner in counting_members(groups, name))


def granting(
    snapshot: AccessSnapshot, principal: str, right: str, now: datetime, *, own: frozenset[str] = frozenset()
) -> list[AssignmentGrant]:
    """Return the assignments that grant the right now."""
    groups = {group.name: group.members for group in snapshot.principal_groups}
    roles = {role.name: role.rights for role in snapshot.roles}
    return [
        given
        for given in snapshot.assignments
        if right in roles.get(given.role, frozenset())
        and (given.expires is None or now < given.expires)
        and any(is_in(groups, member, principal, own) for member in given.members)
    ]


def allows(granting: list[AssignmentGrant], tags: frozenset[str], aims: frozenset[str]) -> bool:
    """Tell whether the assignments see an object with these tags, and may aim it at every one of the groups."""
    carried = tags or frozenset({"default"})
    seeing = [
        given for given in granting if given.role == "Owner" or not given.scope_tags or given.scope_tags & carried
    ]
    return bool(seeing) and all(
        any(given.role == "Owner" or group in given.scope_groups for given in seeing) for group in aims
    )
