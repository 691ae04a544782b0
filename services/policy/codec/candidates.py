"""Rule candidates to the contract, and what is asked for from it."""

from collections.abc import Iterable
from datetime import datetime

from elevation.codec.rules import encode_rule
from epm.policy.v1 import requests_pb2
from services._chassis.errors import InvalidError, Problem
from services._chassis.paging import LARGEST_PAGE
from services._chassis.times import time_from_proto
from services.policy.codec.findings import findings_to_proto
from services.policy.codec.requests import denial_to_proto, file_to_proto
from services.policy.usecases.requests.candidates import (
    FEWEST,
    LARGEST_SIZE,
    USUAL_SIZE,
    USUAL_SPAN,
    CandidatesWanted,
    RuleCandidate,
)

MOST_FINDINGS = 20
"""Findings that are told of one rule."""


def wanted_from_proto(request: requests_pb2.ListRuleCandidatesRequest, now: datetime) -> CandidatesWanted:
    """Read what is asked for. Raises InvalidError with all problems."""
    problems: list[Problem] = []
    since = now - USUAL_SPAN
    if request.HasField("reviewed_from"):
        try:
            since = time_from_proto("reviewed_from", request.reviewed_from)
        except InvalidError as error:
            problems += error.problems
    if request.page_size < 0:
        problems.append(Problem("page_size", "must not be negative; leave it 0 for the default"))
    if problems:
        raise InvalidError(problems)
    size = min(request.page_size or USUAL_SIZE, LARGEST_SIZE)
    return CandidatesWanted(since=since, approvals=request.approvals or FEWEST, size=size)


def candidates_to_proto(candidates: Iterable[RuleCandidate]) -> requests_pb2.ListRuleCandidatesResponse:
    """Write candidates, as many as one message holds."""
    written = requests_pb2.ListRuleCandidatesResponse()
    size = 0
    for candidate in candidates:
        message = _candidate(candidate)
        size += message.ByteSize()
        if size > LARGEST_PAGE and written.candidates:
            break
        written.candidates.append(message)
    return written


def _candidate(candidate: RuleCandidate) -> requests_pb2.RuleCandidate:
    counted = candidate.counted
    return requests_pb2.RuleCandidate(
        file=file_to_proto(candidate.request.file),
        approvals=counted.approvals,
        users=counted.users,
        devices=counted.devices,
        request_id=counted.request_id,
        rule=None if candidate.rule is None else encode_rule(candidate.rule),
        findings=findings_to_proto(candidate.findings, most=MOST_FINDINGS),
        denied_by=denial_to_proto(candidate.denied_by),
    )
