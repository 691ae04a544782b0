"""Who may, and who can: questions about the compiled access data, answered the way every service checks."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop
from itertools import chain

from services._chassis.access import CompiledAccess, Grant
from services._chassis.nesting import GROUP, way
from services._chassis.permits import Permit
from services._chassis.rights import BITS
from services.rbac.model.nouns import Actor

Way = tuple[str, ...]
"""Principal groups from a role assignment to a principal, outermost first; empty where it names the principal."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The object of a question: its scope tags, and the groups that must all be in scope."""

    tags: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Holder:
    """Say through which role assignment, and by what way, somebody may."""

    principal: str
    grant: Grant
    way: Way


def allows(permit: Permit | None, tags: Collection[str], groups: Collection[str]) -> bool:
    """Tell whether the permit allows something with an object of these tags and groups."""
    if permit is None or not permit.sees(tags):
        return False
    return not groups or permit.may_target(groups, tags=tags)


def contributing(grants: Iterable[Grant], right: str, asked: Asked | None, now: datetime) -> tuple[Grant, ...]:
    """Return those of the grants that together allow it: each holds the right, sees the object and targets one of the groups.

    Empty where they do not.
    """
    helping = tuple(grant for grant in grants if _helps(grant, right, asked, now))
    permit = Permit(right, tuple(grant.scope for grant in helping))
    return helping if asked is None or allows(permit, asked.tags, asked.groups) else ()


def holders(
    access: CompiledAccess, right: str, asked: Asked | None, now: datetime, *, after: tuple[str, str] | None, most: int
) -> tuple[Holder, ...]:
    """Return who may, by principal and role assignment, after the given pair; principal groups that an issuer maps, too."""
    helping = _helping(access, right, asked, now)
    left = [name for name in _candidates(access, after) if _bits_of(access, name) & helping]
    heapify(left)
    found: list[tuple[str, Grant]] = []
    while left and len(found) < most:
        name = heappop(left)
        allowing = contributing(access.of_bits(_bits_of(access, name) & helping), right, asked, now)
        pairs = [(name, grant) for grant in sorted(allowing, key=lambda grant: grant.assignment)]
        found += [pair for pair in pairs if after is None or (name, pair[1].assignment) > after]
    return tuple(_with_ways(access, found[:most]))


def steps_above(access: CompiledAccess, actor: Actor) -> dict[str, str]:
    """Return every principal group that the actor is in, nearest first, with the step down from it."""
    inside = {group.name for group in access.snapshot.principal_groups if actor.name in group.members}
    return access.nesting.above(inside | actor.groups)


def way_to(members: frozenset[str], principal: str, steps: dict[str, str]) -> Way | None:
    """Return the shortest way from an assignment's members to the principal; None if there is none."""
    if principal in members:
        return ()
    nearest = next((group for group in steps if GROUP + group in members), None)
    return None if nearest is None else way(steps, nearest)


def _helps(grant: Grant, right: str, asked: Asked | None, now: datetime) -> bool:
    if not grant.mask & BITS[right] or not grant.counts(now):
        return False
    permit = Permit(right, (grant.scope,))
    if asked is None or not asked.groups:
        return asked is None or permit.sees(asked.tags)
    return any(permit.may_target([group], tags=asked.tags) for group in asked.groups)


def _helping(access: CompiledAccess, right: str, asked: Asked | None, now: datetime) -> int:
    """Return the assignments that help anybody, as bits."""
    return sum(1 << index for index, grant in enumerate(access.all_grants) if _helps(grant, right, asked, now))


def _candidates(access: CompiledAccess, after: tuple[str, str] | None) -> Iterator[str]:
    mapped = {
        GROUP + name for issuer in access.snapshot.issuers for names in issuer.group_mappings.values() for name in names
    }
    return (name for name in chain(access.principals(), mapped) if after is None or name >= after[0])


def _bits_of(access: CompiledAccess, principal: str) -> int:
    if principal.startswith(GROUP):
        return access.bits("", frozenset({principal.removeprefix(GROUP)}))
    return access.bits(principal)


def _with_ways(access: CompiledAccess, pairs: list[tuple[str, Grant]]) -> Iterator[Holder]:
    members = {assignment.name: assignment.members for assignment in access.snapshot.assignments}
    steps = {
        name: access.nesting.above(groups) for name, groups in _inside(access, {name for name, _ in pairs}).items()
    }
    for principal, grant in pairs:
        found = way_to(members[grant.assignment], principal, steps[principal])
        yield Holder(principal, grant, found or ())


def _inside(access: CompiledAccess, principals: set[str]) -> dict[str, set[str]]:
    """Return the groups that directly hold each of the principals, found in one pass over all groups."""
    users = {name for name in principals if not name.startswith(GROUP)}
    inside = {name: set[str]() for name in users}
    for group in access.snapshot.principal_groups:
        for name in users & group.members:
            inside[name].add(group.name)
    outer = {name: set(access.nesting.containers.get(name.removeprefix(GROUP), ())) for name in principals - users}
    return inside | outer
