"""Read what administrators ask; what cannot be read is named, to be refused with everything else that is wrong."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from epm.reporting.v1 import reports_pb2
from services._chassis.errors import Problem
from services.reporting.codec.incoming import ELEVATION_TYPES, RESULTS, SOURCES, time_of
from services.reporting.model.events import datetime_of
from services.reporting.model.reports import ElevationFilter, Question

_TEXTS = (
    "users",
    "devices",
    "policies",
    "rules",
    "publishers",
    "file_names",
    "device_ids",
    "internal_names",
    "versions",
    "company_names",
)
"""The fields that are texts, taken as they are."""
_SHA256 = re.compile(r"(?:[0-9a-fA-F]{64})?")


def question_from_proto(
    message: reports_pb2.ElevationFilter,
    tags: frozenset[str] | None,
    drill_down: reports_pb2.ElevationFilter | None = None,
) -> Question:
    """Read a filter, perhaps with that of a row of another report, and what of them cannot be read."""
    unreadable = [*_problems("filter", message), *(() if drill_down is None else _problems("drill_down", drill_down))]
    return Question(_filter(message), tags, tuple(unreadable), None if drill_down is None else _filter(drill_down))


def _filter(message: reports_pb2.ElevationFilter) -> ElevationFilter:
    return ElevationFilter(
        occurred_from=_time(message, "occurred_from"),
        occurred_before=_time(message, "occurred_before"),
        elevation_types=_words(message.elevation_types, ELEVATION_TYPES),
        results=_words(message.results, RESULTS),
        managed=message.managed if message.HasField("managed") else None,
        governed_by_rule=message.governed_by_rule,
        sha256s=_texts(digest.lower() for digest in message.sha256s),
        sources=_words(message.sources, SOURCES),
        **{name: _texts(getattr(message, name)) for name in _TEXTS},
    )


def _problems(path: str, message: reports_pb2.ElevationFilter) -> Iterator[Problem]:
    for name, stamp in (("occurred_from", message.occurred_from), ("occurred_before", message.occurred_before)):
        if message.HasField(name) and _read(stamp) is None:  # type: ignore[arg-type]
            yield Problem(f"{path}.{name}", "must be a time between the years 1 and 9999")
    if not ELEVATION_TYPES.keys() >= set(message.elevation_types):
        yield Problem(f"{path}.elevation_types", "must be elevation types that this server knows")
    if not RESULTS.keys() >= set(message.results):
        yield Problem(f"{path}.results", "must be results that this server knows")
    if not SOURCES.keys() >= set(message.sources):
        yield Problem(f"{path}.sources", "must be sources that this server knows")
    if not all(_SHA256.fullmatch(digest) for digest in message.sha256s):
        yield Problem(f"{path}.sha256s", "must be 64 hexadecimal digits each; empty for files without a hash")


def _time(message: reports_pb2.ElevationFilter, name: str) -> datetime | None:
    return _read(getattr(message, name)) if message.HasField(name) else None  # type: ignore[arg-type]


def _read(stamp: Timestamp) -> datetime | None:
    time = time_of(stamp)
    try:
        return None if time is None else datetime_of(time)
    except OverflowError:
        return None


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))


def _words(numbers: Sequence[int], words: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(sorted({words[number] for number in numbers if number in words}))
