"""Read and write what consumers of exports say and get."""

from collections.abc import Sequence

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import export_pb2
from services._chassis.errors import Problem
from services._chassis.times import time_to_proto
from services.reporting.codec.answers import elevation_to_proto
from services.reporting.codec.words import words
from services.reporting.model.live import ATTEMPTS_ALONE, Completion, ConsumerState, Passage, Statement

_KINDS = words(export_pb2.EventKind.items(), "EVENT_KIND_")


def kinds_from_proto(kinds: Sequence[int]) -> tuple[frozenset[str], tuple[Problem, ...]]:
    """Read which kinds of events a consumer takes, and what of them cannot be read."""
    if not _KINDS.keys() >= set(kinds):
        return ATTEMPTS_ALONE, (Problem("hello.kinds", "must be kinds of events that this server knows"),)
    return frozenset(_KINDS[kind] for kind in kinds) or ATTEMPTS_ALONE, ()


def exported_to_proto(found: Passage) -> export_pb2.ExportEventsResponse:
    """Write events that are handed over, and how far that is."""
    return export_pb2.ExportEventsResponse(
        elevations=map(elevation_to_proto, found.elevations),
        cursor=str(found.cursor),
        completions=map(_completion_to_proto, found.completions),
        diagnostics=map(statement_to_proto, found.statements),
    )


def statement_to_proto(found: Statement) -> export_pb2.DeviceDiagnostic:
    """Write what an agent said of its own health."""
    return export_pb2.DeviceDiagnostic(
        event_id=found.event_id,
        device_id=found.device_id,
        device_name=found.device_name,
        occurred=time_to_proto(found.occurred),
        received=time_to_proto(found.received),
        diagnostic=event_pb2.Diagnostic(
            code=found.code,
            message=found.message,
            count=found.event_count,
            first_seq=found.first_seq,
            last_seq=found.last_seq,
        ),
    )


def consumer_to_proto(state: ConsumerState, *, connected: bool) -> export_pb2.Consumer:
    """Write how far a consumer is."""
    oldest = None if state.oldest is None else time_to_proto(state.oldest)
    return export_pb2.Consumer(name=state.name, behind=state.behind, oldest=oldest, connected=connected)


def _completion_to_proto(found: Completion) -> export_pb2.Completion:
    return export_pb2.Completion(
        attempt_id=found.attempt_id,
        device_id=found.device_id,
        device_name=found.device_name,
        occurred=time_to_proto(found.occurred),
        received=time_to_proto(found.received),
        exit_code=found.exit_code,
        event_id=found.event_id,
    )
