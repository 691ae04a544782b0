"""Elevation requests to the contract and back."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from elevation.certificates import CertificateError, parse_der
from elevation.codec.rules import encode_platform
from elevation.model import Certificate, Platform
from elevation.paths import is_sha256
from epm.elevation.v1 import event_pb2
from epm.policy.v1 import agent_pb2, requests_pb2
from services._chassis.errors import InvalidError, Problem
from services._chassis.times import time_from_proto, time_to_proto
from services.policy.codec.reading import LONGEST_SPAN, NANOS, PLATFORMS
from services.policy.model.certificates import fingerprint_of
from services.policy.model.denials import Denial
from services.policy.model.requests import ElevationRequest, RequestedFile, RequestState
from services.policy.model.told_requests import GrantUse, Outcome, Told
from services.policy.usecases.requests.asking import (
    LARGEST_CERTIFICATE,
    LARGEST_CHAIN,
    MOST_ARGUMENTS,
    MOST_CERTIFICATES,
    SubmissionWanted,
)
from services.policy.usecases.requests.deciding import ApprovalWanted
from services.policy.usecases.requests.using import MOST_USES_TOLD

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATES = {
    RequestState.PENDING: requests_pb2.ELEVATION_REQUEST_STATE_PENDING,
    RequestState.APPROVED: requests_pb2.ELEVATION_REQUEST_STATE_APPROVED,
    RequestState.DENIED: requests_pb2.ELEVATION_REQUEST_STATE_DENIED,
    RequestState.CANCELLED: requests_pb2.ELEVATION_REQUEST_STATE_CANCELLED,
    RequestState.EXPIRED: requests_pb2.ELEVATION_REQUEST_STATE_EXPIRED,
    RequestState.REVOKED: requests_pb2.ELEVATION_REQUEST_STATE_REVOKED,
    RequestState.COMPLETED: requests_pb2.ELEVATION_REQUEST_STATE_COMPLETED,
}
_FACTS = ("path", "version", "description", "product_name", "internal_name", "company_name", "publisher")


def told_to_proto(told: Told) -> requests_pb2.ElevationRequest:
    """Write a request with what is known beside it."""
    message = request_to_proto(told.request)
    message.delivered = told.delivered
    return message


def denial_to_proto(denial: Denial | None) -> requests_pb2.StandingDenial | None:
    """Write by what a file is denied, if it is."""
    if denial is None:
        return None
    return requests_pb2.StandingDenial(
        policy=denial.policy,
        rule=denial.rule,
        default_response=denial.default_response,
        signature_trusted=denial.signature_trusted,
        root_only=denial.root_only,
    )


def request_to_proto(request: ElevationRequest) -> requests_pb2.ElevationRequest:
    """Write a request."""
    return requests_pb2.ElevationRequest(
        id=request.request_id,
        state=_STATES[request.state],
        device_id=request.device_id,
        device_name=request.device_name,
        user=request.user,
        justification=request.justification,
        attempt_id=request.attempt_id,
        submitted=time_to_proto(request.submitted),
        review_deadline=time_to_proto(request.review_deadline),
        platform=encode_platform(request.platform),
        file=file_to_proto(request.file),
        arguments=request.arguments,
        policy=request.policy,
        rule=request.rule,
        review=_review(request),
        access=_access(request),
        end=_end(request),
    )


def outcome_to_proto(outcome: Outcome) -> agent_pb2.StreamPolicyResponse:
    """Write what a device is told of a request; it has heard once it confirms."""
    told = agent_pb2.RequestOutcome(sequence=outcome.sequence, request=request_to_proto(outcome.request))
    return agent_pb2.StreamPolicyResponse(outcome=told)


def submission_from_proto(request: requests_pb2.SubmitElevationRequestRequest) -> SubmissionWanted:
    """Read what a device asks for; what cannot be read of it stands among its flaws."""
    flaws: list[Problem] = []
    if request.platform not in PLATFORMS:
        flaws.append(Problem("platform", "is missing; say which platform the file is of"))
    certificates = tuple(_certificates(request, flaws))
    flaws += _flaws_of_file(request.file, certificates)
    facts = {name: getattr(request.file, name) for name in _FACTS}
    return SubmissionWanted(
        attempt_id=request.attempt_id,
        user=request.user,
        justification=request.justification,
        platform=PLATFORMS.get(request.platform, Platform.WINDOWS),
        file=RequestedFile(
            sha256=request.file.sha256.lower(),
            publisher_fingerprint=request.file.publisher_fingerprint.lower(),
            **facts,
        ),
        certificates=certificates,
        # One more is enough to see that there are too many: a message holds millions.
        arguments=tuple(request.arguments[: MOST_ARGUMENTS + 1]),
        asked_by=(request.policy, request.rule),
        flaws=tuple(flaws),
    )


def approval_from_proto(request: requests_pb2.ApproveElevationRequestRequest) -> ApprovalWanted:
    """Read an approval."""
    flaws: list[Problem] = []
    access: timedelta | None = None
    if request.HasField("access"):
        seconds, nanos = request.access.seconds, request.access.nanos
        if abs(seconds) > LONGEST_SPAN or abs(nanos) >= NANOS:
            flaws.append(Problem("access", "is no length of time; give seconds"))
        else:
            access = timedelta(seconds=seconds, microseconds=nanos // 1000)
    return ApprovalWanted(
        request_id=request.id,
        access=access,
        max_uses=request.max_uses,
        any_arguments=request.any_arguments,
        reason=request.reason,
        flaws=tuple(flaws),
    )


def use_to_proto(use: GrantUse) -> requests_pb2.ElevationRequestUse:
    """Write a use of the grant of a request."""
    return requests_pb2.ElevationRequestUse(attempt_id=use.attempt_id, used=time_to_proto(use.used))


def uses_from_proto(request: requests_pb2.ReportGrantUsesRequest) -> tuple[Sequence[GrantUse], Sequence[Problem]]:
    """Read uses of grants, and what of them cannot be read; too many are not looked at, for a message holds millions."""
    if not 1 <= len(request.uses) <= MOST_USES_TOLD:
        return (), (Problem("uses", f"must be 1 to {MOST_USES_TOLD}"),)
    flaws: list[Problem] = []
    uses = [
        GrantUse(grant_id=use.grant_id, attempt_id=use.attempt_id, used=_used(use, f"uses[{number}].used", flaws))
        for number, use in enumerate(request.uses)
    ]
    return uses, flaws


def _used(use: requests_pb2.GrantUse, field: str, flaws: list[Problem]) -> datetime:
    if not use.HasField("used"):
        flaws.append(Problem(field, "is missing; set it"))
        return _EPOCH
    try:
        return time_from_proto(field, use.used)
    except InvalidError as error:
        flaws += error.problems
        return _EPOCH


def _certificates(request: requests_pb2.SubmitElevationRequestRequest, flaws: list[Problem]) -> Iterator[Certificate]:
    if len(request.certificates) > MOST_CERTIFICATES:
        flaws.append(Problem("certificates", f"must be at most {MOST_CERTIFICATES}; leave out the last issuers"))
        return
    if (size := sum(map(len, request.certificates))) > LARGEST_CHAIN:
        told = f"have {size} bytes together and may have {LARGEST_CHAIN}; leave out the last issuers"
        flaws.append(Problem("certificates", told))
        return
    for number, der in enumerate(request.certificates):
        place = f"certificates[{number}]"
        if len(der) > LARGEST_CERTIFICATE:
            flaws.append(Problem(place, f"has {len(der)} bytes and may have {LARGEST_CERTIFICATE}"))
            continue
        try:
            yield parse_der(der)
        except CertificateError as error:
            flaws.append(Problem(place, f"{error}; give it as the file holds it, or none"))


def _flaws_of_file(file: event_pb2.FileFacts, certificates: tuple[Certificate, ...]) -> Iterator[Problem]:
    if is_sha256(file.sha256) is None:
        yield Problem("file.sha256", "must be a SHA-256, 64 hexadecimal digits")
    fingerprint = file.publisher_fingerprint
    if fingerprint and is_sha256(fingerprint) is None:
        yield Problem("file.publisher_fingerprint", "is not a SHA-256; give 64 hexadecimal digits")
    elif fingerprint and certificates and fingerprint_of(certificates[0]) != fingerprint.lower():
        yield Problem("certificates[0]", "is not the one of file.publisher_fingerprint; give the signing one first")


def file_to_proto(file: RequestedFile) -> event_pb2.FileFacts:
    """Write what a device told of a file."""
    facts = {name: getattr(file, name) for name in _FACTS}
    return event_pb2.FileFacts(sha256=file.sha256, publisher_fingerprint=file.publisher_fingerprint, **facts)


def _review(request: ElevationRequest) -> requests_pb2.ElevationRequestReview | None:
    review = request.review
    if review is None:
        return None
    return requests_pb2.ElevationRequestReview(
        reviewer=review.reviewer, reviewed=time_to_proto(review.reviewed), reason=review.reason
    )


def _access(request: ElevationRequest) -> requests_pb2.ElevationRequestAccess | None:
    access = request.access
    if access is None:
        return None
    message = requests_pb2.ElevationRequestAccess(
        until=time_to_proto(access.until),
        max_uses=access.max_uses,
        any_arguments=access.any_arguments,
        uses=access.uses,
    )
    getattr(message, "from").CopyFrom(time_to_proto(access.begins))
    return message


def _end(request: ElevationRequest) -> requests_pb2.ElevationRequestEnd | None:
    end = request.end
    if end is None:
        return None
    return requests_pb2.ElevationRequestEnd(ended=time_to_proto(end.ended), ended_by=end.ended_by, reason=end.reason)
