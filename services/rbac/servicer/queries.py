"""Answer questions about access on the public door, from the snapshot that checks this service's own callers."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from epm.access.v1 import queries_pb2, queries_pb2_grpc
from services._chassis.access import NO_GROUPS, AccessControl, CompiledAccess
from services._chassis.caller import current_caller
from services._chassis.errors import DeniedError, InvalidError, Problem
from services._chassis.paging import cut, page_request
from services._chassis.rights import RIGHT_NAMES, RIGHTS
from services.rbac.model.checks import principal_problems
from services.rbac.model.explanations import Query, explain
from services.rbac.model.nouns import Actor
from services.rbac.model.questions import Holder, allows, contributing, holders
from services.rbac.servicer import answers

FRESH_WITHIN = timedelta(seconds=5)
MOST_QUESTIONS = 100
PAGE = 100


class AccessQueryServicer(queries_pb2_grpc.AccessQueryServiceServicer):
    """Answer `epm.access.v1.AccessQueryService`; a question waits so long for the revision that it names."""

    def __init__(
        self, access: AccessControl, *, now: Callable[[], datetime], fresh_within: timedelta = FRESH_WITHIN
    ) -> None:
        self._access = access
        self._now = now
        self._fresh_within = fresh_within.total_seconds()

    async def Check(self, request: queries_pb2.CheckRequest, context: Any) -> queries_pb2.CheckResponse:
        """Tell whether a principal may do something."""
        access = await self._access.at_least(request.at_least_revision, self._fresh_within)
        now = self._now()
        actor, right = self._one(access, request.question, now)
        held = access.grants(actor.name, now, actor.groups)
        allowing = contributing(held, right, answers.asked_of(request.question), now)
        return queries_pb2.CheckResponse(
            allowed=bool(allowing),
            role_assignments=sorted(grant.assignment for grant in allowing),
            revision=access.revision,
        )

    async def BatchCheck(self, request: queries_pb2.BatchCheckRequest, context: Any) -> queries_pb2.BatchCheckResponse:
        """Answer up to 100 checks on one snapshot."""
        access = await self._access.at_least(request.at_least_revision, self._fresh_within)
        now = self._now()
        caller = current_caller()
        questions = request.questions
        asked = [(question.principal or caller.principal, question.right, question) for question in questions]
        self._authorise(access, {principal for principal, _, _ in asked}, now)
        if problems := list(_batch_problems(questions, access)):
            raise InvalidError(problems)
        allowed: list[bool] = []
        for principal, right, question in asked:
            groups = caller.groups if principal == caller.principal else NO_GROUPS
            permit = access.permit(principal, right, now, groups)
            if permit is None or not question.HasField("object"):
                allowed.append(permit is not None)
            else:
                allowed.append(allows(permit, question.object.scope_tags, question.object.groups))
        return queries_pb2.BatchCheckResponse(allowed=allowed, revision=access.revision)

    async def ListAllowedScopes(
        self, request: queries_pb2.ListAllowedScopesRequest, context: Any
    ) -> queries_pb2.ListAllowedScopesResponse:
        """List the scopes in which a principal has a right."""
        access = await self._access.at_least(request.at_least_revision, self._fresh_within)
        now = self._now()
        actor = self._actor(access, request.principal, now)
        _refuse([*_principal_problems("principal", request.principal), *_right_problems("right", request.right)])
        held = contributing(access.grants(actor.name, now, actor.groups), request.right, None, now)
        return queries_pb2.ListAllowedScopesResponse(scopes=answers.scopes(held), revision=access.revision)

    async def ListPrincipals(
        self, request: queries_pb2.ListPrincipalsRequest, context: Any
    ) -> queries_pb2.ListPrincipalsResponse:
        """List who has a right over an object, and by what way."""
        access = await self._access.at_least(request.at_least_revision, self._fresh_within)
        asked = answers.asked_of(request)
        question = f"principals {request.right} {asked and (sorted(asked.tags), sorted(asked.groups))}"
        wanted = page_request(
            page_size=request.page_size or PAGE,
            page_token=request.page_token,
            question=question,
            shape=(str, str),
            beside=_right_problems("right", request.right),
        )
        after = (str(wanted.after[0]), str(wanted.after[1])) if wanted.after else None
        found = holders(access, request.right, asked, self._now(), after=after, most=wanted.size + 1)
        page = cut(found, wanted, key=_place)
        return queries_pb2.ListPrincipalsResponse(
            principals=map(answers.path, page.items), next_page_token=page.next_token, revision=access.revision
        )

    async def ListRights(self, request: queries_pb2.ListRightsRequest, context: Any) -> queries_pb2.ListRightsResponse:
        """List what a principal may do, and within which scopes."""
        access = await self._access.at_least(request.at_least_revision, self._fresh_within)
        now = self._now()
        actor = self._actor(access, request.principal, now)
        _refuse(_principal_problems("principal", request.principal))
        held = access.grants(actor.name, now, actor.groups)
        by_right = {right: contributing(held, right.name, None, now) for right in RIGHTS}
        return queries_pb2.ListRightsResponse(
            principal=actor.name,
            rights=[
                queries_pb2.HeldRight(
                    right=right.name, display_name=right.display_name, scopes=answers.scopes(by_right[right])
                )
                for right in sorted(RIGHTS, key=lambda right: right.name)
                if by_right[right]
            ],
            revision=access.revision,
        )

    async def Explain(self, request: queries_pb2.ExplainRequest, context: Any) -> queries_pb2.ExplainResponse:
        """Tell why a principal may or may not; who may not read roles learns of its own role assignments alone."""
        access = await self._access.at_least(request.at_least_revision, self._fresh_within)
        now = self._now()
        actor, right = self._one(access, request.question, now)
        query = Query(actor, right, answers.asked_of(request.question), strangers=_may_read_roles(access, now))
        return answers.explanation(explain(access, query, now), access.revision)

    def _one(self, access: CompiledAccess, question: queries_pb2.AccessQuestion, now: datetime) -> tuple[Actor, str]:
        actor = self._actor(access, question.principal, now)
        _refuse(list(_question_problems("question", question)))
        return actor, question.right

    def _actor(self, access: CompiledAccess, principal: str, now: datetime) -> Actor:
        caller = current_caller()
        if principal in ("", caller.principal):
            return Actor(caller.principal, caller.groups)
        self._authorise(access, {principal}, now)
        return Actor(principal)

    def _authorise(self, access: CompiledAccess, principals: set[str], now: datetime) -> None:
        """Refuse questions about others to who may not read roles, whether or not the others exist."""
        if principals - {"", current_caller().principal} and not _may_read_roles(access, now):
            raise DeniedError("to ask about another principal takes the right roles.read", reason="RIGHT_MISSING")


def _may_read_roles(access: CompiledAccess, now: datetime) -> bool:
    caller = current_caller()
    return access.permit(caller.principal, "roles.read", now, caller.groups) is not None


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise InvalidError(problems)


def _batch_problems(questions: Sequence[queries_pb2.AccessQuestion], access: CompiledAccess) -> Iterator[Problem]:
    if not 0 < len(questions) <= MOST_QUESTIONS:
        yield Problem("questions", f"must be 1 to {MOST_QUESTIONS}; ask several times")
        return
    for index, question in enumerate(questions):
        # A principal that holds something is a good one: to look at it again would take half the time of the call.
        known = not question.principal or access.bits(question.principal)
        if not known or question.right not in RIGHT_NAMES:
            yield from _question_problems(f"questions[{index}]", question)


def _question_problems(path: str, question: queries_pb2.AccessQuestion) -> Iterator[Problem]:
    yield from _principal_problems(f"{path}.principal", question.principal)
    yield from _right_problems(f"{path}.right", question.right)


def _principal_problems(path: str, principal: str) -> list[Problem]:
    return list(principal_problems(path, principal)) if principal else []


def _right_problems(path: str, right: str) -> list[Problem]:
    if right in RIGHT_NAMES:
        return []
    return [Problem(path, f"{right[:64]!r} is no right; known are {', '.join(sorted(RIGHT_NAMES))}")]


def _place(holder: Holder) -> tuple[str, str]:
    return holder.principal, holder.grant.assignment
