"""Points in time to the contract and back."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services._chassis.errors import InvalidError, Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 24 * 60 * 60


def stamp(into: Timestamp, time: datetime) -> None:
    """Write a time where it stands; a tenth of the work of `FromDatetime`, and streams do it for every message."""
    since = time - _EPOCH
    into.seconds = since.days * _DAY + since.seconds
    into.nanos = since.microseconds * 1000


def time_to_proto(time: datetime | None) -> Timestamp | None:
    """Write a time; None is absent."""
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def time_from_proto(field: str, stamp: Timestamp) -> datetime:
    """Read a time. Raises InvalidError that names the field for one that no calendar has."""
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (OverflowError, ValueError) as error:
        raise InvalidError([Problem(field, "must be a time from the year 1 to the year 9999")]) from error
