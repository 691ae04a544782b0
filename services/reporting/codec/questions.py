"""Read what administrators ask. A field that cannot be understood is refused: to leave it out would widen the report."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from epm.reporting.v1 import reports_pb2
from services._chassis.errors import InvalidError, Problem
from services.reporting.codec.incoming import ELEVATION_TYPES, RESULTS, time_of
from services.reporting.model.events import datetime_of
from services.reporting.model.reports import ElevationFilter, Question


def question_from_proto(message: reports_pb2.ElevationFilter, tags: frozenset[str] | None) -> Question:
    """Read a filter. Raises InvalidError with all problems."""
    if problems := list(_problems(message)):
        raise InvalidError(problems)
    asked = ElevationFilter(
        occurred_from=_time(message, "occurred_from"),
        occurred_before=_time(message, "occurred_before"),
        elevation_types=_words(message.elevation_types, ELEVATION_TYPES),
        results=_words(message.results, RESULTS),
        managed=message.managed if message.HasField("managed") else None,
        users=tuple(sorted(set(message.users))),
        devices=tuple(sorted(set(message.devices))),
        governed_by_rule=message.governed_by_rule,
    )
    return Question(asked, tags)


def _problems(message: reports_pb2.ElevationFilter) -> Iterator[Problem]:
    for name, stamp in (("occurred_from", message.occurred_from), ("occurred_before", message.occurred_before)):
        if message.HasField(name) and not _is_time(stamp):  # type: ignore[arg-type]
            yield Problem(f"filter.{name}", "must be a time between the years 1 and 9999")
    if not ELEVATION_TYPES.keys() >= set(message.elevation_types):
        yield Problem("filter.elevation_types", "must be elevation types that this server knows")
    if not RESULTS.keys() >= set(message.results):
        yield Problem("filter.results", "must be results that this server knows")


def _is_time(stamp: Timestamp) -> bool:
    time = time_of(stamp)
    if time is None:
        return False
    try:
        datetime_of(time)
    except OverflowError:
        return False
    return True


def _time(message: reports_pb2.ElevationFilter, name: str) -> datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    time = time_of(getattr(message, name))
    return None if time is None else datetime_of(time)


def _words(numbers: Sequence[int], words: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(sorted({words[number] for number in numbers}))
