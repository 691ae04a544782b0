"""Notices as they are kept until they are told: plain documents."""

from datetime import datetime
from typing import Any

from services.policy.model.notices import Notice, NoticedRequest, NoticeEvent

_TEXTS = (
    "request_id",
    "device_id",
    "device_name",
    "user",
    "justification",
    "file_path",
    "sha256",
    "publisher",
    "policy",
    "rule",
    "reviewer",
    "reason",
)
LONGEST_REASON = 300
"""Characters of why a notice cannot be read; logs and the audit log keep them."""
_TIMES = ("submitted", "review_deadline")


def to_kept(notice: Notice) -> dict[str, Any]:
    """Return the document of a notice."""
    told = notice.request
    texts = {name: getattr(told, name) for name in _TEXTS}
    times = {name: getattr(told, name).isoformat() for name in _TIMES}
    until = told.access_until.isoformat() if told.access_until else None
    return {
        "event": notice.event.value,
        "recorded": notice.recorded.isoformat(),
        "request": {**texts, **times, "access_until": until, "scope_tags": sorted(told.scope_tags)},
    }


class UnreadableNoticeError(ValueError):
    """Say why a document is no notice that this version knows."""


def from_kept(document: dict[str, Any]) -> Notice:
    """Return the notice of a document; what a newer version added is passed over. Raises UnreadableNoticeError."""
    try:
        return _read(document)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        told = f"this version cannot read the notice: {type(error).__name__}: {error}"
        raise UnreadableNoticeError(told[:LONGEST_REASON]) from error


def _read(document: dict[str, Any]) -> Notice:
    told = document["request"]
    texts: dict[str, Any] = {name: str(told.get(name, "")) for name in _TEXTS}
    times: dict[str, Any] = {name: datetime.fromisoformat(told[name]) for name in _TIMES}
    until = told.get("access_until")
    request = NoticedRequest(
        **texts,
        **times,
        access_until=datetime.fromisoformat(until) if until else None,
        scope_tags=frozenset(told["scope_tags"]),
    )
    return Notice(
        event=NoticeEvent(document["event"]), recorded=datetime.fromisoformat(document["recorded"]), request=request
    )
