"""Questions about access from the contract, and answers to it."""

from collections.abc import Iterable

from epm.access.v1 import queries_pb2
from services._chassis.access import Grant
from services._chassis.times import time_to_proto
from services.rbac.model.explanations import Explanation, Gap, Step
from services.rbac.model.questions import Asked, Holder

_GAPS = {
    Gap.EXPIRED: queries_pb2.ACCESS_GAP_EXPIRED,
    Gap.NOT_A_MEMBER: queries_pb2.ACCESS_GAP_NOT_A_MEMBER,
    Gap.ROLE_WITHOUT_RIGHT: queries_pb2.ACCESS_GAP_ROLE_WITHOUT_RIGHT,
    Gap.OTHER_SCOPE_TAGS: queries_pb2.ACCESS_GAP_OTHER_SCOPE_TAGS,
    Gap.GROUP_OUT_OF_SCOPE: queries_pb2.ACCESS_GAP_GROUP_OUT_OF_SCOPE,
    Gap.ROLE_MISSING: queries_pb2.ACCESS_GAP_ROLE_MISSING,
}


def asked_of(message: queries_pb2.AccessQuestion | queries_pb2.ListPrincipalsRequest) -> Asked | None:
    """Read the object of a question; None where any will do."""
    if not message.HasField("object"):
        return None
    return Asked(frozenset(message.object.scope_tags), frozenset(message.object.groups))


def scopes(grants: Iterable[Grant]) -> list[queries_pb2.AllowedScope]:
    """Write the scopes of grants, by role assignment."""
    return [
        queries_pb2.AllowedScope(
            role_assignment=grant.assignment,
            role=grant.role,
            everything=grant.scope.everything,
            scope_groups=sorted(grant.scope.groups),
            scope_tags=sorted(grant.scope.tags),
            expires=time_to_proto(grant.expires),
        )
        for grant in sorted(grants, key=lambda grant: grant.assignment)
    ]


def path(holder: Holder) -> queries_pb2.PrincipalPath:
    """Write a principal who can, and by what way."""
    return queries_pb2.PrincipalPath(
        principal=holder.principal,
        role_assignment=holder.grant.assignment,
        role=holder.grant.role,
        groups=holder.way,
        expires=time_to_proto(holder.grant.expires),
    )


def explanation(found: Explanation, revision: int) -> queries_pb2.ExplainResponse:
    """Write why."""
    return queries_pb2.ExplainResponse(
        allowed=found.allowed, reason=found.reason, steps=map(_step, found.steps), revision=revision
    )


def _step(step: Step) -> queries_pb2.AccessStep:
    return queries_pb2.AccessStep(
        role_assignment=step.grant.assignment,
        role=step.grant.role,
        groups=step.way,
        gaps=[_GAPS[gap] for gap in step.gaps],
        reason=step.reason,
    )
