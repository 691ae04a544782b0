"""Take out of a batch what the reporting scope of its device does not let leave it, before anything of it is read or kept."""

from typing import NamedTuple

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2
from services.reporting.codec.words import time_of
from services.reporting.model.events import LARGEST_NUMBER, Rejection
from services.reporting.model.scope import EventKind, Reported


class Scoped(NamedTuple):
    """What is left of a batch, and what was passed over."""

    message: agent_pb2.EventBatch
    passed_over: tuple[Rejection, ...] = ()
    newest: int = 0
    """When the newest event of those occurred."""


def in_scope(message: agent_pb2.EventBatch, reported: Reported) -> Scoped:
    """Return what is taken of a batch; the batch itself where that is all, as nearly always."""
    if reported.takes_all:
        return Scoped(message)
    kept, passed_over, newest = list[agent_pb2.JournalEntry](), list[Rejection](), 0
    for entry in message.entries:
        occurred = time_of(entry.event.occurred) if entry.event.HasField("occurred") else None
        if reported.takes(_kind(entry.event), occurred):
            kept.append(entry)
        else:
            # What is no place is told as none.
            seq = entry.seq if entry.seq <= LARGEST_NUMBER else 0
            passed_over.append(Rejection(seq, reported.refusal()))
            newest = max(newest, occurred or 0)
    if not passed_over:
        return Scoped(message)
    left = agent_pb2.EventBatch(journal_id=message.journal_id, entries=kept, priority=message.priority)
    return Scoped(left, tuple(passed_over), newest)


def _kind(event: event_pb2.ElevationEvent) -> EventKind:
    match event.WhichOneof("body"):
        case "diagnostic":
            return EventKind.HEALTH
        case "completed":
            return EventKind.MANAGED
        case "decided" if event.decided.managed and event.decided.outcome != event_pb2.OUTCOME_NOT_MANAGED:
            return EventKind.MANAGED
        case _:
            return EventKind.ANYTHING
