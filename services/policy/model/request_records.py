"""Changes of elevation requests as the audit record states them."""

from services._chassis.audit import Act, AuditEntry
from services.policy.model.requests import ElevationRequest, RequestState

KIND = "ElevationRequest"
_VERBS = {
    RequestState.PENDING: "submitted",
    RequestState.APPROVED: "approved",
    RequestState.DENIED: "denied",
    RequestState.CANCELLED: "cancelled",
    RequestState.EXPIRED: "expired",
    RequestState.REVOKED: "revoked",
    RequestState.COMPLETED: "completed",
}


def entry_of(before: ElevationRequest | None, after: ElevationRequest, *, act: Act | None = None) -> AuditEntry:
    """State what became of a request, with the user's reason and, where one decided or ended it, the approver's."""
    return AuditEntry(
        action=f"elevation_request_{_VERBS[after.state]}",
        target_kind=KIND,
        target=after.request_id,
        before=None if before is None else document_of(before),
        after=document_of(after),
        reason=_reason(after),
        details={"justification": after.justification, "user": after.user, "device": after.device_name},
        act=act,
    )


def document_of(request: ElevationRequest) -> dict[str, object]:
    """Write a request; arguments may hold secrets of the user's, and are left to the request itself."""
    written: dict[str, object] = {
        "state": request.state.value,
        "deviceId": request.device_id,
        "device": request.device_name,
        "user": request.user,
        "justification": request.justification,
        "attemptId": request.attempt_id,
        "file": {"path": request.file.path, "sha256": request.file.sha256},
        "policy": request.policy,
        "rule": request.rule,
    }
    if review := request.review:
        written["review"] = {"reviewer": review.reviewer, "reason": review.reason}
    if access := request.access:
        written["access"] = {
            "from": access.begins.isoformat(),
            "until": access.until.isoformat(),
            "maxUses": access.max_uses,
            "anyArguments": access.any_arguments,
            "uses": access.uses,
        }
    if end := request.end:
        written["end"] = {"endedBy": end.ended_by, "reason": end.reason}
    return written


def _reason(request: ElevationRequest) -> str:
    if request.end is not None:
        return request.end.reason
    return request.justification if request.review is None else request.review.reason
