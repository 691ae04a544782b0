"""What receivers read. Texts of devices are data: in JSON as they are, in mails without anything that acts.

INVARIANT: a link is made of the operator's template and of the request's identifier, which the server chose, and of nothing else.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from services.policy.model.notices import WAITING, Notice, NoticedRequest, NoticeEvent

LONGEST = 300
"""Characters of one text of a device in a mail."""
ID = "{id}"
_WORDS = {
    NoticeEvent.SUBMITTED: "Approval requested",
    NoticeEvent.REMINDER: "Still waiting for approval",
    NoticeEvent.APPROVED: "Request approved",
    NoticeEvent.DENIED: "Request denied",
    NoticeEvent.CANCELLED: "Request taken back",
    NoticeEvent.EXPIRED: "Request expired",
    NoticeEvent.REVOKED: "Approval revoked",
    NoticeEvent.COMPLETED: "Approval used up",
}
_ACTS = re.compile(r"://|\bwww\.|\bmailto:", re.IGNORECASE)


def webhook_body(notice: Notice, review_link: str) -> bytes:
    """Return the body of a webhook, JSON in ASCII."""
    document: dict[str, Any] = {
        "id": notice.id,
        "type": f"elevation_request.{notice.event.value}",
        "timestamp": _time(notice.recorded),
        "data": dict(_data(notice.request)) | {"command": command(notice.request)},
    }
    if review_link:
        document["data"]["link"] = review_link.replace(ID, notice.request.request_id)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def command(request: NoticedRequest) -> str:
    """Return what an approver types to see the request."""
    return f"epm requests show {request.request_id}"


def subject(notice: Notice) -> str:
    """Return the subject of a mail.

    Nothing in it is an encoded word: whoever writes the header would decode it, line breaks among it, and a device could write
    headers and bodies of its own.
    """
    request = notice.request
    text = f"{_WORDS[notice.event]}: {plain(request.user)} on {plain(request.device_name)}"
    return text.replace("=?", "= ?")


def mail_body(notice: Notice, review_link: str) -> str:
    """Return the body of a mail, plain text."""
    request = notice.request
    lines = [f"{_WORDS[notice.event]}.", "", *_lines(request), ""]
    if notice.event in WAITING:
        lines.append(f"It can be decided until {_time(request.review_deadline)}.")
    lines += ["Look at it before you decide:", f"  {command(request)}"]
    if review_link:
        lines.append(f"  {review_link.replace(ID, request.request_id)}")
    lines += ["", "Texts after > come from the device. This message cannot be answered, and nothing in it decides."]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Return a text of a device on one line, without control characters, and without what mail programs make links of."""
    seen = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in text[: LONGEST * 4])
    calm = _ACTS.sub(lambda found: found[0].replace(":", "[:]").replace(".", "[.]"), " ".join(seen.split()))
    return calm if len(calm) <= LONGEST else calm[: LONGEST - 1] + "…"


def _lines(request: NoticedRequest) -> Iterator[str]:
    shown = {
        "User": request.user,
        "Device": request.device_name,
        "File": request.file_path,
        "SHA-256": request.sha256,
        "Publisher": request.publisher,
        "Justification": request.justification,
        "Decided by": request.reviewer,
        "Reason": request.reason,
    }
    yield f"Request        {request.request_id}"
    yield f"Submitted      {_time(request.submitted)}"
    yield from (f"{name:<14} > {plain(text)}" for name, text in shown.items() if text)
    if request.access_until is not None:
        yield f"Granted until  {_time(request.access_until)}"


def _data(request: NoticedRequest) -> Iterator[tuple[str, object]]:
    yield "requestId", request.request_id
    yield "device", {"id": request.device_id, "name": request.device_name}
    yield "user", request.user
    yield "justification", request.justification
    yield "file", {"path": request.file_path, "sha256": request.sha256, "publisher": request.publisher}
    yield "policy", request.policy
    yield "rule", request.rule
    yield "submitted", _time(request.submitted)
    yield "reviewDeadline", _time(request.review_deadline)
    yield "reviewer", request.reviewer
    yield "reason", request.reason
    yield "accessUntil", _time(request.access_until) if request.access_until else None


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
