"""Say in one sentence how a request stands, for the user who made it."""

from datetime import UTC, datetime

from agent_stub.model import Moment
from agent_stub.requests.model import Access, Request, RequestState

_UNKNOWN = "in a state that this agent does not know; ask the support"
_TAKEN_BACK = "the requester took it back"
"""As the server says it; with another reason, device or user are gone."""
_ENDED = {
    RequestState.DENIED: "denied{reason}",
    RequestState.REVOKED: "revoked{end_reason}; the file is not elevated any more",
    RequestState.COMPLETED: "completed: all uses are spent",
}


def sentence(request: Request, now: datetime) -> str:
    """Tell how the request stands."""
    if request.state is RequestState.PENDING:
        return _pending(request, now)
    if request.state is RequestState.APPROVED and request.access is not None:
        over = "; that time is over" if now >= request.access.until else ""
        return f"approved {_access(request.access)}{_because(request.reason)}{over}"
    if request.state is RequestState.EXPIRED:
        fallback = "its time is over" if request.access is not None else "nobody decided in time"
        return f"expired: {request.end_reason or fallback}"
    if request.state is RequestState.CANCELLED:
        by_user = request.end_reason in {"", _TAKEN_BACK}
        return "cancelled by you" if by_user else f"cancelled: {request.end_reason}"
    return _ENDED.get(request.state, _UNKNOWN).format(
        reason=_because(request.reason), end_reason=_because(request.end_reason)
    )


def presented(request: Request, moment: Moment, *, spent: bool) -> dict[str, object]:
    """Show a request as plain values. `spent`: the device itself has counted the last use, which the server need not tell."""
    access = request.access
    return {
        "id": request.id,
        "state": request.state.name,
        "file": request.file,
        "arguments": list(request.arguments),
        "justification": request.justification,
        "submitted": request.submitted.isoformat(),
        "reviewDeadline": request.review_deadline.isoformat(),
        "reason": request.reason,
        "endReason": request.end_reason,
        "accessUntil": None if access is None else access.until.isoformat(),
        "maxUses": None if access is None or not access.max_uses else access.max_uses,
        "anyArguments": access is not None and access.any_arguments,
        "new": request.news,
        "message": sentence(request, moment.wall) + ("; all uses are spent" if spent else ""),
    }


def _pending(request: Request, now: datetime) -> str:
    if now < request.review_deadline:
        return f"waits for an approver until {readable(request.review_deadline)}"
    return "was not decided in time, as far as this device knows"


def _access(access: Access) -> str:
    often = "" if not access.max_uses else ", once" if access.max_uses == 1 else f", {access.max_uses} times"
    arguments = " with any arguments" if access.any_arguments else ""
    return f"until {readable(access.until)}{often}{arguments}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def readable(time: datetime) -> str:
    """Write a time to the minute."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
