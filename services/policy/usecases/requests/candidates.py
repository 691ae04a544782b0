"""Offer rules for files that approvers approve again and again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from elevation.certificates import parse_der
from elevation.lint.findings import Finding
from elevation.model import Rule
from services._chassis.errors import InvalidError
from services._chassis.permits import Permit
from services.policy.model.candidates import Approval, ApprovedFile, approved_files, evidence_of
from services.policy.model.denials import Denial
from services.policy.model.evidence import Wishes
from services.policy.model.requests import ElevationRequest, OfDevice
from services.policy.ports import Linting
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.analysis.proposal import ProposalWanted, propose_rule
from services.policy.usecases.requests.denials import Denials
from services.policy.usecases.requests.ports import ElevationRequests

USUAL_SPAN = timedelta(days=30)
FEWEST = 2
USUAL_SIZE = 20
LARGEST_SIZE = 100

LONGEST = 10.0
"""Seconds for which rules are made for one list: lint has one thread, which others wait for."""

Sees = Callable[[Permit], Callable[[OfDevice], bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidatesWanted:
    """Ask for files that were approved so often since a time."""

    since: datetime
    approvals: int = FEWEST
    size: int = USUAL_SIZE


@dataclass(frozen=True, slots=True)
class RuleCandidate:
    """Hold a file that was approved often, as its newest request tells it, and the rule for it, or the one that denies it already.

    No rule: the caller may not read it, one denies the file, the evidence allows none, or there was no time to make it.
    """

    counted: ApprovedFile
    request: ElevationRequest
    rule: Rule | None = None
    findings: tuple[Finding, ...] = ()
    denied_by: Denial | None = None


class GivenApprovals(Protocol):
    """Know what was approved."""

    async def given(self, since: datetime) -> Sequence[Approval]:
        """Return approvals of requests from a time on, those of the newest requests first; a bounded number of them."""
        ...


class Candidates:
    """Find the files, and make rules for them."""

    def __init__(
        self,
        requests: ElevationRequests,
        given: GivenApprovals,
        drafting: Drafting,
        linting: Linting,
        *,
        denials: Denials,
        sees: Sees,
        monotonic: Callable[[], float],
    ) -> None:
        self._requests = requests
        self._given = given
        self._drafting = drafting
        self._linting = linting
        self._denials = denials
        self._sees = sees
        self._monotonic = monotonic

    async def find(
        self, wanted: CandidatesWanted, viewing: Permit, reading: Permit | None, now: datetime
    ) -> Sequence[RuleCandidate]:
        """Return candidates, most approvals first; rules for those alone who may read policies, and as many as can be made in time.

        Raises UnavailableError, LimitError where lint takes too long.
        """
        visible = self._sees(viewing)
        given = [each for each in await self._given.given(wanted.since) if visible(each)]
        found: list[RuleCandidate] = []
        end = self._monotonic() + LONGEST
        for counted in approved_files(given, least=wanted.approvals, most=wanted.size):
            told = await self._requests.find(counted.request_id)
            if told is not None:
                candidate = RuleCandidate(counted, told.request)
                if self._monotonic() < end:
                    candidate = await self._with_rule(candidate, reading, now)
                found.append(candidate)
        return found

    async def _with_rule(self, candidate: RuleCandidate, reading: Permit | None, now: datetime) -> RuleCandidate:
        """Make the rule as it is proposed for the request, unless one denies the file; evidence that allows none leaves it out."""
        request = candidate.request
        kept = await self._requests.certificates(request.request_id)
        denied = await self._denials.by_rule(request, kept, reading or Permit(), now)
        if denied is not None or reading is None:
            return replace(candidate, denied_by=denied)
        certificates = map(parse_der, kept)
        wanted = ProposalWanted(
            evidence=evidence_of(request, certificates), wishes=Wishes(origin=f"request {request.request_id}")
        )
        try:
            made = await propose_rule(self._drafting, self._linting, wanted, permit=reading, now=now)
        except InvalidError:
            return candidate
        return replace(candidate, rule=made.rule, findings=made.findings)
