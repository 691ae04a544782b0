"""Files that were approved more than once, and what is known of each: a rule would make approvals needless."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from elevation.model import Certificate
from services.policy.model.evidence import Evidence
from services.policy.model.requests import ElevationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Say whose request for which file was approved."""

    request_id: str
    device_id: str
    user: str
    sha256: str
    scope_tags: frozenset[str]
    """Those of the device when it asked."""
    reviewed: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedFile:
    """Say how often a file was approved."""

    request_id: str
    """The newest request."""
    approvals: int
    users: int
    devices: int


def approved_files(approvals: Iterable[Approval], *, least: int, most: int) -> Sequence[ApprovedFile]:
    """Return the files with the most approvals, at least so many of each; of equals the one of the newest request first."""
    of_files: dict[str, list[Approval]] = defaultdict(list)
    for approval in approvals:
        of_files[approval.sha256].append(approval)
    found = [_counted(each) for each in of_files.values() if len(each) >= least]
    return sorted(found, key=lambda each: (each.approvals, each.request_id), reverse=True)[:most]


def evidence_of(request: ElevationRequest, certificates: Iterable[Certificate]) -> Evidence:
    """Return what a request tells of its file."""
    return Evidence(
        file=request.file.evidence(),
        platform=request.platform,
        publisher_fingerprint=request.file.publisher_fingerprint,
        certificates=tuple(certificates),
        arguments=request.arguments,
    )


def _counted(approvals: Sequence[Approval]) -> ApprovedFile:
    return ApprovedFile(
        request_id=max(each.request_id for each in approvals),
        approvals=len(approvals),
        users=len({each.user for each in approvals}),
        devices=len({each.device_id for each in approvals}),
    )
