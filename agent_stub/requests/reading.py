"""Read requests out of the messages of the server, and out of the notes of the device's own disk."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agent_stub.requests.model import Access, Request, RequestState, Use
from epm.policy.v1 import requests_pb2

_PREFIX = "ELEVATION_REQUEST_STATE_"


def read_request(message: requests_pb2.ElevationRequest) -> Request:
    """Read a request as the server tells it."""
    access = message.access
    return Request(
        id=message.id,
        user=message.user,
        state=_state(message.state),
        file=message.file.path,
        arguments=tuple(message.arguments),
        justification=message.justification,
        submitted=message.submitted.ToDatetime(UTC),
        review_deadline=message.review_deadline.ToDatetime(UTC),
        reason=message.review.reason,
        access=Access(access.until.ToDatetime(UTC), access.max_uses, access.any_arguments)
        if message.HasField("access")
        else None,
        end_reason=message.end.reason,
    )


def noted_request(request: Request) -> dict[str, object]:
    """Note a request."""
    access = request.access
    fields = {name: getattr(request, name) for name in ("id", "user", "file", "justification", "reason", "news")}
    return fields | {
        "state": request.state.name,
        "arguments": list(request.arguments),
        "submitted": request.submitted.isoformat(),
        "reviewDeadline": request.review_deadline.isoformat(),
        "endReason": request.end_reason,
        "access": None
        if access is None
        else {"until": access.until.isoformat(), "maxUses": access.max_uses, "anyArguments": access.any_arguments},
    }


def request_in(fields: Mapping[str, Any]) -> Request:
    """Read a noted request; raise ValueError, KeyError or TypeError where it is none."""
    access = fields["access"]
    return Request(
        id=fields["id"],
        user=fields["user"],
        state=RequestState(fields["state"]),
        file=fields["file"],
        arguments=tuple(fields["arguments"]),
        justification=fields["justification"],
        submitted=datetime.fromisoformat(fields["submitted"]),
        review_deadline=datetime.fromisoformat(fields["reviewDeadline"]),
        reason=fields["reason"],
        access=None
        if access is None
        else Access(datetime.fromisoformat(access["until"]), access["maxUses"], access["anyArguments"]),
        end_reason=fields["endReason"],
        news=fields["news"],
    )


def noted_use(use: Use) -> dict[str, object]:
    """Note a use."""
    return {"grant": use.grant_id, "attempt": use.attempt_id, "used": use.used.isoformat()}


def use_in(fields: Mapping[str, Any]) -> Use:
    """Read a noted use; raise ValueError, KeyError or TypeError where it is none."""
    return Use(fields["grant"], fields["attempt"], datetime.fromisoformat(fields["used"]))


def as_news(request: Request) -> Request:
    """Mark a request as one whose user is to be told."""
    return replace(request, news=True)


def _state(number: "requests_pb2.ElevationRequestState.ValueType") -> RequestState:
    if number not in requests_pb2.ElevationRequestState.values():
        return RequestState.UNKNOWN
    name = requests_pb2.ElevationRequestState.Name(number).removeprefix(_PREFIX)
    return RequestState.__members__.get(name, RequestState.UNKNOWN)
