"""Times of records and checkpoints: microseconds since 1970 in UTC, and the text that people and JSON have for them."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
EARLIEST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def to_microseconds(time: datetime) -> int:
    """Return an aware time as microseconds."""
    return (time - _EPOCH) // _MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    """Return microseconds as an aware time. Raises ValueError for what no calendar has."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise ValueError("is beyond all calendars") from error


def to_text(microseconds: int) -> str:
    """Return microseconds as RFC 3339 text, always with six digits of a second."""
    return to_datetime(microseconds).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_text(text: str) -> int:
    """Read what `to_text` wrote. Raises ValueError for anything else."""
    microseconds = to_microseconds(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC))
    if to_text(microseconds) != text:
        raise ValueError("is no time in UTC to the microsecond")
    return microseconds
