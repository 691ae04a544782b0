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
    "file_name",
    "sha256",
    "publisher",
    "policy",
    "rule",
    "reviewer",
    "reason",
)
_TIMES = ("submitted", "review_deadline")


def to_kept(notice: Notice) -> dict[str, Any]:
    """Return the document of a notice."""
    told = notice.request
    texts = {name: getattr(told, name) for name in _TEXTS}
    times = {name: getattr(told, name).isoformat() for name in _TIMES}
    until = told.access_until.isoformat() if told.access_until else None
    return {
        "id": notice.id,
        "event": notice.event.value,
        "recorded": notice.recorded.isoformat(),
        "request": {**texts, **times, "access_until": until},
    }


def from_kept(document: dict[str, Any]) -> Notice:
    """Return the notice of a document; what a newer version added is passed over."""
    told = document["request"]
    texts = {name: str(told.get(name, "")) for name in _TEXTS}
    times = {name: datetime.fromisoformat(told[name]) for name in _TIMES}
    until = told.get("access_until")
    return Notice(
        id=document["id"],
        event=NoticeEvent(document["event"]),
        recorded=datetime.fromisoformat(document["recorded"]),
        request=NoticedRequest(**texts, **times, access_until=datetime.fromisoformat(until) if until else None),
    )
