"""Ask the server what would come of a plan: what lint would find, and whom it would reach or leave.

A plan is good without an answer, from a server that does not tell or to somebody who may not know; that it lacks is said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc, lint_pb2
from epmctl.ascode.authored import reference
from epmctl.ascode.plan import Action, Plan
from epmctl.client import APPLY_DEADLINE, CallError, Client
from epmctl.documents.wire import Requests, to_draft

MOST_AFFECTED: Final = 100
"""Entries of who is affected that are told one by one; all are counted."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would come of a plan, as far as the server tells; `untold` says what it does not tell, and why."""

    findings: Sequence[lint_pb2.Finding] = ()
    reach: analysis_pb2.PreviewAssignmentsResponse | None = None
    untold: tuple[str, ...] = field(default=())


def look_ahead(client: Client, requests: Requests, plan: Plan) -> Outlook:
    """Ask what lint finds and who is affected, if anything changes."""
    draft = _draft(requests, plan)
    if not draft.ByteSize():
        return Outlook()
    untold: list[str] = []
    stub = analysis_pb2_grpc.AnalysisServiceStub(client.channel)

    def preview() -> analysis_pb2.PreviewAssignmentsResponse:
        request = analysis_pb2.PreviewAssignmentsRequest(draft=draft, page_size=MOST_AFFECTED)
        return client.call(stub.PreviewAssignments, request, deadline=APPLY_DEADLINE)

    findings = _ask_lint(client, draft, untold)
    reach = _ask(preview, "who is affected", untold)
    return Outlook(findings or (), reach, tuple(untold))


def lint_ahead(client: Client, draft: analysis_pb2.Draft) -> Outlook:
    """Ask what lint would find about policies and groups as they would be."""
    untold: list[str] = []
    findings = _ask_lint(client, draft, untold)
    return Outlook(findings or (), None, tuple(untold))


def _ask_lint(client: Client, draft: analysis_pb2.Draft, untold: list[str]) -> list[lint_pb2.Finding] | None:
    stub = analysis_pb2_grpc.AnalysisServiceStub(client.channel)

    def lint() -> list[lint_pb2.Finding]:
        request = analysis_pb2.LintRequest(draft=draft, draft_only=True)
        parts = client.stream(stub.Lint, request, deadline=APPLY_DEADLINE)
        return [finding for part in parts for finding in part.findings]

    return _ask(lint, "what lint finds", untold)


def _ask(call: Callable[[], Answer], what: str, untold: list[str]) -> Answer | None:
    """Ask; where the server cannot tell, say so in `untold`."""
    try:
        return call()
    except CallError as error:
        untold.append(f"{what} is not known: {'; '.join(error.lines)}")
        return None


def _draft(requests: Requests, plan: Plan) -> analysis_pb2.Draft:
    """Give policies and groups as they would be, those that stay as they are left out."""
    draft = to_draft(requests, unchanged=plan.unchanged)
    draft.deletions.extend(reference(*one.ref) for one in plan.objects if one.action is Action.DELETE)
    return draft
