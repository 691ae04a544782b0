"""Take an attempt from its file to its end: evidence, decision, what the user owes, the event, the launch.

INVARIANT: the DECIDED event is on disk before the launcher is called and before the user sees the result. Where it
cannot be written, nothing is elevated. The use of a grant is on disk before the event: what is not counted does not start.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol
from unicodedata import category

import structlog

from agent_stub.config import JUSTIFICATION_LIMIT
from agent_stub.events.journal import SpoolError
from agent_stub.events.records import Decided, Diagnostic
from agent_stub.events.spool import ATTEMPT_SCOPES, Spool
from agent_stub.inspection.inspector import Inspection
from agent_stub.inspection.opened import EvidenceError, OpenedFile, opened
from agent_stub.model import Answer, Moment, Origin, Question, Result, Subject, Submission
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.ports import Identities, Inspector, Launcher, Prompter
from agent_stub.requests.ledger import UseError
from elevation.decision import decide
from elevation.explain import explain
from elevation.index import compile_policy
from elevation.model import (
    Attempt,
    Decision,
    Device,
    FileEvidence,
    Grant,
    Outcome,
    ReportingScope,
    Source,
    Trigger,
    User,
    Validation,
)

log = structlog.get_logger()

NO_POLICY = compile_policy(None, [], {})
_SETTLED = {
    Outcome.DENY: Result.DENIED,
    Outcome.REQUEST_APPROVAL: Result.APPROVAL_REQUIRED,
    Outcome.NOT_MANAGED: Result.NOT_MANAGED,
}
_MESSAGES = {
    Result.DENIED: "not elevated: {reason}",
    Result.APPROVAL_REQUIRED: "not elevated: {reason}",
    Result.NOT_MANAGED: "left to the operating system: {reason}",
    Result.CANCELLED: "not elevated: the user did not confirm, or did not give what was asked",
    Result.ELEVATED: "elevated: {reason}",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt goes on, before its event is written."""

    result: Result
    message: str
    justification: str = ""
    asks_support: bool = False
    """Whether the support is to be asked once the event is written."""
    request_id: str = ""


class Approvals(Protocol):
    """What the support approved, and the way to ask it."""

    def grants(self) -> tuple[Grant, ...]:
        """Give the grants that count now, each with what is left of it."""
        ...

    def use(self, grant_id: str, attempt_id: str) -> None:
        """Count a use durably; raise UseError, after which nothing may start."""
        ...

    async def submit(self, attempt_id: str, attempt: Attempt, decision: Decision, justification: str) -> Submission:
        """Ask the support about an attempt whose event is on the disk."""
        ...


@dataclass(frozen=True, slots=True)
class Broker:
    """Everything an attempt needs."""

    keeper: PolicyKeeper
    inspector: Inspector
    identities: Identities
    launcher: Launcher
    spool: Spool
    approvals: Approvals
    now: Callable[[], Moment]
    new_id: Callable[[], str]

    async def elevate(self, path: str, arguments: tuple[str, ...], origin: Origin, prompter: Prompter) -> Answer:
        """Carry one attempt through and tell its user how it went."""
        attempt_id = self.new_id()
        with ExitStack() as held:
            file, inspection, fault = await self._evidence(path, origin, held)
            attempt = self._attempt(inspection.evidence, arguments, origin)
            decision = self._explained(attempt)
            if fault and decision.source is Source.ERROR:
                decision = replace(decision, detail=fault)
            ending = await self._settle(attempt, decision, prompter)
            if ending.result is Result.ELEVATED and file is not None and not file.unchanged():
                # A user has minutes to answer, and may own the file.
                ending = replace(ending, result=Result.REFUSED, message="not elevated: the file changed meanwhile")
            ending = self._counted(attempt_id, decision, ending)
            ending = self._spooled(attempt_id, attempt, decision, ending)
            if ending.result is Result.ELEVATED and file is not None:
                ending = await self._launched(attempt_id, file, attempt, ending)
        if ending.asks_support:
            ending = await self._submitted(attempt_id, attempt, decision, ending)
        log.info("attempt_decided", attempt_id=attempt_id, outcome=decision.outcome.name, result=ending.result.name)
        return Answer(
            attempt_id=attempt_id,
            decision=decision,
            result=ending.result,
            message=ending.message,
            file=attempt.file,
            kind=inspection.kind,
            interpreter=inspection.interpreter,
            owner=inspection.owner,
            platform=origin.platform,
            request_id=ending.request_id,
        )

    async def _evidence(self, path: str, origin: Origin, held: ExitStack) -> tuple[OpenedFile | None, Inspection, str]:
        """Give what is known of the file; what cannot be read has no hash, which the kernel denies (D19)."""
        try:
            file = held.enter_context(opened(path, origin.rights))
            inspection = await self.inspector.inspect(file, origin.platform, self.now().wall)
        except EvidenceError as error:
            known = FileEvidence(path=self.identities.judged_path(path, origin.platform))
            return None, Inspection(known), str(error)
        judged = self.identities.judged_path(file.path, origin.platform)
        return file, replace(inspection, evidence=replace(inspection.evidence, path=judged)), ""

    def _attempt(self, file: FileEvidence, arguments: tuple[str, ...], origin: Origin) -> Attempt:
        held, now = self.keeper.held, self.now().wall
        subject = origin.subject
        return Attempt(
            device=Device(held.policy.device_name if held else ""),
            user=User(subject.name, administrator=subject.administrator),
            trigger=origin.trigger,
            platform=origin.platform,
            file=file,
            now=now,
            arguments=arguments,
            parent=origin.parent,
            grants=self.approvals.grants(),
            policy_confirmed=self.keeper.confirmed_by(now),
        )

    def _explained(self, attempt: Attempt) -> Decision:
        held = self.keeper.held
        return explain(held.policy.for_user(attempt.user.name) if held else NO_POLICY, attempt)

    async def _settle(self, attempt: Attempt, decision: Decision, prompter: Prompter) -> Ending:
        if decision.outcome is Outcome.REQUEST_APPROVAL and attempt.trigger is Trigger.REQUEST:
            return await self._asked_for_approval(attempt, decision, prompter)
        if (settled := _SETTLED.get(decision.outcome)) is not None:
            return _ending(settled, decision)
        if decision.outcome is Outcome.ELEVATE:
            return _ending(Result.ELEVATED, decision)
        if Validation.AUTHENTICATION in decision.validations:
            return Ending(
                Result.REFUSED,
                f"not elevated: {decision.reason}, and this device has no way to authenticate its users yet",
            )
        return await self._prompted(attempt, decision, prompter)

    async def _prompted(self, attempt: Attempt, decision: Decision, prompter: Prompter) -> Ending:
        question = Question(attempt.file.path, attempt.arguments, decision.validations, decision.reason)
        if not await prompter.confirm(question):
            return _ending(Result.CANCELLED, decision)
        justification = ""
        if Validation.BUSINESS_JUSTIFICATION in decision.validations:
            justification = await _justification(prompter)
            if not justification:
                return _ending(Result.CANCELLED, decision)
        if not self._still_holds(attempt, decision):
            return Ending(Result.REFUSED, "not elevated: the policy changed meanwhile; try again", justification)
        return replace(_ending(Result.ELEVATED, decision), justification=justification)

    async def _asked_for_approval(self, attempt: Attempt, decision: Decision, prompter: Prompter) -> Ending:
        """Ask for what the support is to be told; whoever gives nothing has asked for nothing."""
        ending = _ending(Result.APPROVAL_REQUIRED, decision)
        unasked = replace(ending, message=f"{ending.message}; the support was not asked")
        question = Question(attempt.file.path, attempt.arguments, decision.validations, decision.reason)
        if not await prompter.approval(question) or not (justification := await _justification(prompter)):
            return unasked
        if not self._still_holds(attempt, decision):
            changed = "the support was not asked, because the policy changed meanwhile; try again"
            return replace(unasked, message=f"not elevated: {changed}", justification=justification)
        return replace(ending, justification=justification, asks_support=True)

    async def _submitted(self, attempt_id: str, attempt: Attempt, decision: Decision, ending: Ending) -> Ending:
        submission = await self.approvals.submit(attempt_id, attempt, decision, ending.justification)
        message = f"{ending.message}; {submission.message}"
        return replace(ending, message=message, request_id=submission.request_id)

    def _counted(self, attempt_id: str, decision: Decision, ending: Ending) -> Ending:
        """Count the use of a grant. Another attempt may have used it up since this one was decided."""
        if ending.result is not Result.ELEVATED or decision.grant is None:
            return ending
        try:
            self.approvals.use(decision.grant, attempt_id)
        except UseError as error:
            return Ending(Result.REFUSED, f"not elevated: {error}")
        return ending

    def _still_holds(self, attempt: Attempt, decision: Decision) -> bool:
        """Decide again: a user may take hours to answer, and a policy seconds to arrive."""
        held = self.keeper.held
        policy = held.policy.for_user(attempt.user.name) if held else NO_POLICY
        now = self.now().wall
        confirmed = self.keeper.confirmed_by(now)
        again = decide(policy, replace(attempt, now=now, policy_confirmed=confirmed, grants=self.approvals.grants()))
        return again == replace(decision, losers=(), near_misses=())

    def _spooled(self, attempt_id: str, attempt: Attempt, decision: Decision, ending: Ending) -> Ending:
        held = self.keeper.held
        record = Decided(
            attempt_id=attempt_id,
            attempt=attempt,
            decision=decision,
            result=ending.result,
            justification=ending.justification,
            policy_revision=held.policy.revision_of(decision.policy) if held else 0,
            document_revision=held.revision if held else 0,
        )
        scope = held.policy.scope_for(attempt.user.name) if held else ReportingScope.NOTHING
        try:
            self.spool.decided(record, scope)
        except SpoolError as error:
            log.warning("attempt_not_spooled", attempt_id=attempt_id, reason=str(error))
            if ending.result is Result.ELEVATED:
                return Ending(Result.REFUSED, f"not elevated: the report of it cannot be kept, because {error}")
            if ending.asks_support:
                unasked = f"the support was not asked, because the report of it cannot be kept: {error}"
                return replace(ending, message=f"{ending.message}; {unasked}", asks_support=False)
        return ending

    async def _launched(self, attempt_id: str, file: OpenedFile, attempt: Attempt, ending: Ending) -> Ending:
        subject = Subject(attempt.user.name, administrator=attempt.user.administrator)
        try:
            launched = await self.launcher.launch(file, attempt.arguments, subject)
        except OSError as error:
            problem = (error.strerror or "input/output error").lower()
            self.spool.diagnose(Diagnostic("LAUNCH_FAILED", f"attempt {attempt_id} was not started: {problem}"))
            return replace(ending, message=f"allowed, but not started: {problem}")
        if launched.exit_code is not None:
            self._report_end(attempt_id, attempt, launched.exit_code)
        return replace(ending, message=f"{ending.message}; {launched.message}")

    def _report_end(self, attempt_id: str, attempt: Attempt, exit_code: int) -> None:
        held = self.keeper.held
        if held is None or held.policy.scope_for(attempt.user.name) not in ATTEMPT_SCOPES:
            return
        try:
            self.spool.completed(attempt_id, exit_code)
        except SpoolError as error:
            log.warning("completion_not_spooled", attempt_id=attempt_id, reason=str(error))


async def _justification(prompter: Prompter) -> str:
    """Ask until the reason fits or the user gives up; empty then."""
    problem = ""
    while (text := await prompter.justification(problem)) is not None:
        text = text.strip()
        problem = _problem_of(text)
        if not problem:
            return text
    return ""


def _problem_of(justification: str) -> str:
    if not justification or len(justification) > JUSTIFICATION_LIMIT:
        return f"give a reason of 1 to {JUSTIFICATION_LIMIT} characters"
    if any(category(character) in {"Cc", "Cs"} for character in justification):
        return "give a reason without control characters"
    return ""


def _ending(result: Result, decision: Decision) -> Ending:
    return Ending(result, _MESSAGES[result].format(reason=decision.reason))
