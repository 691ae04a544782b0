"""What is shown of a request for approval: in a list, while it happens, and on its own with all there is to know."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias, cast

from epmctl.fitted import Fit
from epmctl.kinds.model import Column, at
from epmctl.output import Plain, Record, to_json, whole_seconds
from epmctl.spans import in_words

PENDING: Final = "PENDING"
APPROVED: Final = "APPROVED"
_USES_SHOWN: Final = 10
Row: TypeAlias = tuple[str, Plain]

LIST_FIT: Final = Fit(
    whole=("ID", "STATE", "AGE", "LEFT"),
    spare=("PUBLISHER", "REVIEWER", "JUSTIFICATION", "DEVICE", "AGE", "LEFT", "USER"),
)
"""A part of an identifier is of no use; everything else is cut or left out before it."""


def list_columns(now: datetime) -> Mapping[str, Column]:
    """Give the columns of a list as it stands now."""
    return {
        "STATE": at("state"),
        "AGE": lambda record: _age(record, now),
        "LEFT": lambda record: _left(record, now),
        "USER": at("user"),
        "DEVICE": at("deviceName"),
        "FILE": at("file.path"),
        "PUBLISHER": at("file.publisher"),
        "JUSTIFICATION": at("justification"),
        "REVIEWER": at("review.reviewer"),
        "ID": at("id"),
    }


LINE_COLUMNS: Final[Mapping[str, tuple[Column, int]]] = {
    "CHANGED": (lambda record: whole_seconds(_changed(record)), 20),
    "STATE": (at("state"), 9),
    "ID": (at("id"), 36),
    "USER": (at("user"), 16),
    "DEVICE": (at("deviceName"), 16),
    "FILE": (at("file.path"), 0),
}
"""What a line about a change says, and how wide at least."""


def detail(answer: Record, now: datetime) -> Iterator[Row]:
    """Give everything that there is to know of a request, a row a fact; what does not hold is left out."""
    record = cast("Record", answer["request"])
    certificates = len(cast("Sequence[str]", answer["certificates"]))
    yield from _request(record, now)
    yield from _file(record)
    yield from _decision(record)
    yield from _uses(cast("Sequence[Record]", answer["uses"]))
    yield "REPORT", f"epm report elevations --request {record['id']}"
    yield "CERTIFICATES", f"{certificates}, --certificates FILE writes them" if certificates else "none"
    yield "DEVICE TOLD", record["delivered"]


def _request(record: Record, now: datetime) -> Iterator[Row]:
    left = _left(record, now)
    yield "STATE", f"{record['state']}, {left} left" if left else record["state"]
    yield "USER", record["user"]
    yield "DEVICE", f"{record['deviceName']} ({record['deviceId']})"
    yield "JUSTIFICATION", record["justification"]
    yield "SUBMITTED", f"{_seconds(record['submitted'])}, {_age(record, now)} ago"
    yield "REVIEW UNTIL", _seconds(record["reviewDeadline"])
    yield "ASKED BY", f"{record['policy']}/{record['rule']}" if record["rule"] else "default response"
    yield "ATTEMPT", record["attemptId"]


def _file(record: Record) -> Iterator[Row]:
    file = cast("Record", record["file"] or {})
    facts = {
        "FILE": "path",
        "SHA-256": "sha256",
        "PUBLISHER": "publisher",
        "FINGERPRINT": "publisherFingerprint",
        "VERSION": "version",
        "DESCRIPTION": "description",
        "PRODUCT": "productName",
        "INTERNAL NAME": "internalName",
        "COMPANY": "companyName",
    }
    yield from ((heading, file.get(field)) for heading, field in facts.items())
    yield "ARGUMENTS", " ".join(map(to_json, cast("Sequence[str]", record["arguments"])))
    yield "PLATFORM", record["platform"]


def _decision(record: Record) -> Iterator[Row]:
    if review := cast("Record | None", record["review"]):
        yield "REVIEWER", review["reviewer"]
        yield "REVIEWED", _seconds(review["reviewed"])
        yield "THEIR REASON", review["reason"]
    if access := cast("Record | None", record["access"]):
        span = in_words(_time(access["until"]) - _time(access["from"]))
        yield "ACCESS", f"{_seconds(access['from'])} to {_seconds(access['until'])}, {span}"
        yield "USES", f"{access['uses']} of {access['maxUses'] or 'any number'}"
        yield "ANY ARGUMENTS", access["anyArguments"]
    if end := cast("Record | None", record["end"]):
        yield "ENDED", _seconds(end["ended"])
        yield "ENDED BY", end["endedBy"] or "time, the device or the user"
        yield "BECAUSE", end["reason"]


def _uses(uses: Sequence[Record]) -> Iterator[Row]:
    """Give the newest attempts that used the approval; the report has them all."""
    for number, use in enumerate(uses[:_USES_SHOWN]):
        yield "" if number else "USED", f"{_seconds(use['used'])} by attempt {use['attemptId']}"
    if len(uses) > _USES_SHOWN:
        yield "", f"{len(uses) - _USES_SHOWN} more before that"


def _age(record: Record, now: datetime) -> str:
    return in_words(now - _time(record["submitted"]))


def _left(record: Record, now: datetime) -> str:
    """Say how long the request can be decided, or the user may elevate; nothing where neither is so."""
    if record["state"] == PENDING:
        return in_words(_time(record["reviewDeadline"]) - now)
    access = cast("Record | None", record["access"])
    return in_words(_time(access["until"]) - now) if record["state"] == APPROVED and access else ""


def _changed(record: Record) -> str:
    """Give the time of the newest thing that became of the request."""
    end, review = cast("Record | None", record["end"]), cast("Record | None", record["review"])
    return cast("str", end["ended"] if end else review["reviewed"] if review else record["submitted"])


def _seconds(time: Plain) -> str:
    return whole_seconds(cast("str", time or ""))


def _time(text: Plain) -> datetime:
    return datetime.fromisoformat(cast("str", text))
