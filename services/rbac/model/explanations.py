"""Why somebody may or may not: every role assignment that allows it or lacks one thing, and what it lacks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from services._chassis.access import CompiledAccess, Grant
from services._chassis.permits import DEFAULT_TAG
from services._chassis.rights import BITS
from services.rbac.model.nouns import Actor
from services.rbac.model.questions import Asked, Way, allows, contributing, steps_above, way_to

MOST_STEPS = 1000
MOST_NAMES = 5
_NEVER = datetime.max.replace(tzinfo=UTC)


class Gap(Enum):
    """What a role assignment lacks."""

    EXPIRED = "expired"
    NOT_A_MEMBER = "not_a_member"
    ROLE_WITHOUT_RIGHT = "role_without_right"
    OTHER_SCOPE_TAGS = "other_scope_tags"
    GROUP_OUT_OF_SCOPE = "group_out_of_scope"
    ROLE_MISSING = "role_missing"


@dataclass(frozen=True, slots=True)
class Step:
    """Hold one role assignment on the way to the answer."""

    grant: Grant
    way: Way
    gaps: tuple[Gap, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Hold the answer, what it rests on, and what nearly changes it."""

    allowed: bool
    reason: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """Ask why; `strangers` also asks for assignments of which the actor is no member."""

    actor: Actor
    right: str
    asked: Asked | None
    strangers: bool


def explain(access: CompiledAccess, query: Query, now: datetime) -> Explanation:
    """Tell why the actor may or may not; at most 1000 assignments, those that allow it first."""
    permit = access.permit(query.actor.name, query.right, now, query.actor.groups)
    asked = query.asked
    allowed = permit is not None and (asked is None or allows(permit, asked.tags, asked.groups))
    steps = sorted(_steps(access, query, now), key=lambda step: (len(step.gaps), step.grant.assignment))
    return Explanation(allowed, _conclusion(access, query, now, allowed=allowed), tuple(steps[:MOST_STEPS]))


def _steps(access: CompiledAccess, query: Query, now: datetime) -> Iterator[Step]:
    roles = {role.name for role in access.snapshot.roles}
    steps = steps_above(access, query.actor)
    for assignment, grant in zip(access.snapshot.assignments, access.all_grants, strict=True):
        way = way_to(assignment.members, query.actor.name, steps)
        gaps = tuple(_gaps(grant, query, now, member=way is not None, known=grant.role in roles))
        if len(gaps) <= 1 and (query.strangers or Gap.NOT_A_MEMBER not in gaps):
            yield Step(grant, way or (), gaps, _sentence(grant, query, gaps, way or ()))


def _gaps(grant: Grant, query: Query, now: datetime, *, member: bool, known: bool) -> Iterator[Gap]:
    if not grant.counts(now):
        yield Gap.EXPIRED
    if not member:
        yield Gap.NOT_A_MEMBER
    if not known:
        yield Gap.ROLE_MISSING
    elif not grant.mask & BITS[query.right]:
        yield Gap.ROLE_WITHOUT_RIGHT
    if query.asked is None:
        return
    if not grant.scope.sees(query.asked.tags or frozenset({DEFAULT_TAG})):
        yield Gap.OTHER_SCOPE_TAGS
    if not all(grant.scope.targets(group) for group in query.asked.groups):
        yield Gap.GROUP_OUT_OF_SCOPE


def _conclusion(access: CompiledAccess, query: Query, now: datetime, *, allowed: bool) -> str:
    if not allowed:
        return f"{query.actor.name} may not: no role assignment allows {query.right}{_of(query.asked)}"
    held = access.grants(query.actor.name, now, query.actor.groups)
    names = [grant.assignment for grant in contributing(held, query.right, query.asked, now)]
    return f"{query.actor.name} may: {query.right}{_of(query.asked)} is allowed by {_listed('role assignment', names)}"


def _of(asked: Asked | None) -> str:
    if asked is None:
        return ""
    groups = f" and for {_listed('group', asked.groups)}" if asked.groups else ""
    return f" with {_listed('tag', asked.tags or (DEFAULT_TAG,))}{groups}"


def _sentence(grant: Grant, query: Query, gaps: tuple[Gap, ...], way: Way) -> str:
    if not gaps:
        through = f" through {' > '.join(way)}" if way else ""
        until = f" until {grant.expires:%Y-%m-%d}" if grant.expires else ""
        return f'role "{grant.role}" grants it{through}{until}'
    return f'role "{grant.role}" {_lacking(grant, query, gaps[0])}'


def _lacking(grant: Grant, query: Query, gap: Gap) -> str:
    groups = f"only for {_listed('group', grant.scope.groups)}" if grant.scope.groups else "for no group"
    return {
        Gap.EXPIRED: f"granted it; it expired on {grant.expires or _NEVER:%Y-%m-%d}",
        Gap.NOT_A_MEMBER: f"grants it, but {query.actor.name} is no member of the assignment",
        Gap.ROLE_WITHOUT_RIGHT: f"does not hold {query.right}",
        Gap.ROLE_MISSING: "does not exist any more",
        Gap.OTHER_SCOPE_TAGS: f"grants it, but only for {_listed('tag', grant.scope.tags)}",
        Gap.GROUP_OUT_OF_SCOPE: f"grants it, but {groups}",
    }[gap]


def _listed(what: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - MOST_NAMES} more" if len(ordered) > MOST_NAMES else ""
    return f"{what}{'s' if len(ordered) > 1 else ''} {', '.join(ordered[:MOST_NAMES])}{more}"
