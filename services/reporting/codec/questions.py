"""Read what administrators ask; what cannot be read is named, to be refused with everything else that is wrong."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from elevation.model import GroupType
from epm.reporting.v1 import reports_pb2
from services._chassis.errors import Problem
from services.reporting.codec.words import ELEVATION_TYPES, RESULTS, SOURCES, time_of
from services.reporting.model.events import datetime_of
from services.reporting.model.groups import NO_GROUPS, Memberships
from services.reporting.model.reports import MOST_VALUES, ElevationFilter, Question

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
    "device_groups",
    "user_groups",
    "attempt_ids",
)
"""The fields that are texts, taken as they are."""
_SHA256 = re.compile(r"(?:[0-9a-fA-F]{64})?")


def question_from_proto(
    message: reports_pb2.ElevationFilter,
    tags: frozenset[str] | None,
    drill_down: reports_pb2.ElevationFilter | None = None,
    *,
    groups: Memberships = NO_GROUPS,
) -> Question:
    """Read a filter, perhaps with that of a row of another report, and what of them cannot be read.

    Raises UnavailableError where it names groups and nobody can tell yet which there are.
    """
    messages = {"filter": message} | ({} if drill_down is None else {"drill_down": drill_down})
    filters = {path: _filter(each) for path, each in messages.items()}
    unreadable = [problem for path, each in messages.items() for problem in _problems(path, each)]
    unreadable += [problem for path, each in filters.items() for problem in _unknown(path, each, groups, tags)]
    return Question(filters["filter"], tags, tuple(unreadable), filters.get("drill_down"), groups)


def _filter(message: reports_pb2.ElevationFilter) -> ElevationFilter:
    return ElevationFilter(
        occurred_from=_time(message, "occurred_from"),
        occurred_before=_time(message, "occurred_before"),
        elevation_types=_words(message.elevation_types, ELEVATION_TYPES),
        results=_words(message.results, RESULTS),
        managed=message.managed if message.HasField("managed") else None,
        governed_by_rule=message.governed_by_rule,
        administrator=message.administrator if message.HasField("administrator") else None,
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


def _unknown(path: str, asked: ElevationFilter, groups: Memberships, tags: frozenset[str] | None) -> Iterator[Problem]:
    for kind, name, names in (
        (GroupType.DEVICE, "device_groups", asked.device_groups),
        (GroupType.USER, "user_groups", asked.user_groups),
    ):
        if len(names) > MOST_VALUES:
            continue
        if unknown := groups.unknown(kind, names, tags):
            called = ", ".join(f'"{group}"' for group in unknown)
            word = kind.name.lower()
            what = f"a {word} group that is not there" if len(unknown) == 1 else f"{word} groups that are not there"
            yield Problem(f"{path}.{name}", f"names {what}: {called}; list the groups for those there are")


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
