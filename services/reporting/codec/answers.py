"""Write reports."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2
from services._chassis.times import time_to_proto
from services.reporting.codec.words import ELEVATION_TYPES, RESULTS, SOURCES
from services.reporting.model.live import Passage
from services.reporting.model.reports import (
    ApplicationCount,
    Elevation,
    ElevationFilter,
    PublisherCount,
    Summary,
    UserCount,
)


def _numbers(words: Mapping[int, str]) -> dict[str, int]:
    return {word: number for number, word in words.items()}


_RESULTS = {word: event_pb2.AttemptResult.ValueType(number) for word, number in _numbers(RESULTS).items()}
_SOURCES = {word: event_pb2.Source.ValueType(number) for word, number in _numbers(SOURCES).items()}
_TYPES = {word: rules_pb2.ElevationType.ValueType(number) for word, number in _numbers(ELEVATION_TYPES).items()}


def elevation_to_proto(found: Elevation) -> reports_pb2.Elevation:
    """Write one attempt with everything that its device said of it."""
    event = event_pb2.ElevationEvent.FromString(found.body)
    return reports_pb2.Elevation(
        attempt_id=found.attempt_id,
        device_id=found.device_id,
        device_name=found.device_name,
        occurred=time_to_proto(found.occurred),
        received=time_to_proto(found.received),
        decided=event.decided,
        exit_code=found.exit_code,
        event_id=found.event_id,
    )


def passage_to_proto(found: Passage) -> reports_pb2.WatchElevationsResponse:
    """Write attempts that were stored, and how far that is."""
    return reports_pb2.WatchElevationsResponse(
        elevations=map(elevation_to_proto, found.elevations), cursor=str(found.cursor)
    )


def summary_to_proto(summary: Summary) -> reports_pb2.SummarizeElevationsResponse:
    """Write a summary."""
    return reports_pb2.SummarizeElevationsResponse(
        total=summary.total,
        managed=summary.managed,
        unmanaged=summary.unmanaged,
        results=[reports_pb2.ResultCount(result=_RESULTS[tally.word], count=tally.count) for tally in summary.results],
        elevation_types=[
            reports_pb2.TypeCount(elevation_type=_TYPES[tally.word], count=tally.count)
            for tally in summary.elevation_types
        ],
    )


def application_to_proto(found: ApplicationCount) -> reports_pb2.ApplicationCount:
    """Write one application's count."""
    return reports_pb2.ApplicationCount(
        file_name=found.file_name,
        internal_name=found.internal_name,
        version=found.version,
        company_name=found.company_name,
        sha256=found.sha256,
        elevation_type=_TYPES[found.elevation_type],
        count=found.count,
        publisher=found.publisher,
        drill_down=filter_to_proto(found.drill_down),
    )


def publisher_to_proto(found: PublisherCount) -> reports_pb2.PublisherCount:
    """Write one publisher's count."""
    return reports_pb2.PublisherCount(
        publisher=found.publisher,
        elevation_type=_TYPES[found.elevation_type],
        count=found.count,
        drill_down=filter_to_proto(found.drill_down),
    )


def user_to_proto(found: UserCount) -> reports_pb2.UserCount:
    """Write one user's counts."""
    return reports_pb2.UserCount(
        user=found.user,
        managed=found.managed,
        unmanaged=found.unmanaged,
        total=found.total,
        drill_down=filter_to_proto(found.drill_down),
    )


def filter_to_proto(found: ElevationFilter) -> reports_pb2.ElevationFilter:
    """Write a filter, so that what a row counted can be asked for."""
    words: dict[str, Any] = {
        "elevation_types": [_TYPES[word] for word in found.elevation_types],
        "results": [_RESULTS[word] for word in found.results],
        "sources": [_SOURCES[word] for word in found.sources],
        "occurred_from": time_to_proto(found.occurred_from),
        "occurred_before": time_to_proto(found.occurred_before),
    }
    rest = {each.name: getattr(found, each.name) for each in fields(found) if each.name not in words}
    return reports_pb2.ElevationFilter(**words, **rest)
