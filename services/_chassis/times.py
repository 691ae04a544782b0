"""Points in time to the contract and back."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services._chassis.errors import InvalidError, Problem


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
