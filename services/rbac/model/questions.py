"""Who may, and who can: questions about the compiled access data, answered the way every service checks."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest
from itertools import chain

from services._chassis.access import CompiledAccess, Grant, Permit
from services._chassis.nesting import GROUP, way
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
    holding = [grant for grant in grants if grant.mask & BITS[right] and grant.counts(now)]
    if asked is None:
        return tuple(holding)
    permit = Permit(right, tuple(grant.scope for grant in holding))
    if not allows(permit, asked.tags, asked.groups):
        return ()
    return tuple(grant for grant in holding if _contributes(right, grant, asked))


def holders(
    access: CompiledAccess, right: str, asked: Asked | None, now: datetime, *, after: tuple[str, str] | None, most: int
) -> tuple[Holder, ...]:
    """Return who may, by principal and role assignment, after the given pair; principal groups that an issuer maps, too."""
    answers: dict[int, tuple[Grant, ...]] = {}

    def allowing(principal: str) -> tuple[Grant, ...]:
        bits = _bits_of(access, principal)
        if bits not in answers:
            found = contributing(access.of_bits(bits), right, asked, now)
            answers[bits] = tuple(sorted(found, key=lambda grant: grant.assignment))
        return answers[bits]

    # Everybody has one role assignment at least; the first may have told all of its own on the page before.
    first = nsmallest(most + 1, (name for name in _candidates(access, after) if allowing(name)))
    pairs = [(name, grant) for name in first for grant in allowing(name)]
    wanted = [pair for pair in pairs if after is None or (pair[0], pair[1].assignment) > after]
    return tuple(_with_ways(access, wanted[:most]))


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


def _contributes(right: str, grant: Grant, asked: Asked) -> bool:
    permit = Permit(right, (grant.scope,))
    return permit.sees(asked.tags) and (
        not asked.groups or any(permit.may_target([group], tags=asked.tags) for group in asked.groups)
    )


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
