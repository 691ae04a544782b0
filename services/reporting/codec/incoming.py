"""Sort what a device sends into records and dead letters.

This is the hot path. Attempts that are right, which nearly all are, are read by `attempts.py`; whatever is unusual is looked at
here once more with care, and is told all that is wrong with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from epm.reporting.v1 import agent_pb2
from services.reporting.codec import unreadable
from services.reporting.codec.attempts import REMEMBERED, attempt_of, right_attempts
from services.reporting.codec.words import (
    LOSSES,
    PLATFORMS,
    time_of,
)
from services.reporting.model.attempts import AttemptRecord
from services.reporting.model.events import (
    LARGEST_NUMBER,
    Batch,
    CompletionRecord,
    DeadLetter,
    DiagnosticRecord,
    Envelope,
    Priority,
    Rejection,
    all_of,
    attempt_problem,
    completion_problem,
    diagnostic_problem,
    envelope_problem,
    journal_problem,
)


@dataclass(slots=True)
class _Sorted:
    """Collect the records of a batch by their kind."""

    attempts: list[AttemptRecord] = field(default_factory=list)
    completions: list[CompletionRecord] = field(default_factory=list)
    diagnostics: list[DiagnosticRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


def batch_from_proto(
    message: agent_pb2.EventBatch,
    *,
    device_id: str,
    device_name: str,
    received: int,
    passed_over: tuple[Rejection, ...] = (),
) -> Batch:
    """Read a batch, out of which some was passed over; an entry that can never be stored becomes a dead letter."""
    result = _Sorted()
    foreign = journal_problem(message.journal_id)
    entries = list(message.entries)
    for entry, attempt in zip(entries, right_attempts(entries, received), strict=True):
        if attempt is not None and not foreign:
            result.attempts.append(attempt)
        elif problem := foreign or _sort(entry, result, received):
            result.dead_letters.append(_dead_letter(entry, problem))
    return Batch(
        device_id=device_id,
        device_name=device_name,
        journal_id=message.journal_id,
        received=received,
        priority=Priority.DIAGNOSTIC if message.priority == agent_pb2.EVENT_PRIORITY_DIAGNOSTIC else Priority.SECURITY,
        attempts=tuple(result.attempts),
        completions=tuple(result.completions),
        diagnostics=tuple(result.diagnostics),
        dead_letters=tuple(result.dead_letters),
        passed_over=passed_over,
    )


def _dead_letter(entry: agent_pb2.JournalEntry, problem: str) -> DeadLetter:
    # What is no place is kept as none: it opens no gap below it.
    seq, unread = entry.seq if entry.seq <= LARGEST_NUMBER else 0, unreadable.bytes_of(entry)
    if unread is not None:
        return DeadLetter(seq, unreadable.REASON, unread)
    return DeadLetter(seq, problem, entry.event.SerializeToString())


def ack_to_proto(journal_id: str, through: int, rejected: Sequence[Rejection]) -> agent_pb2.StreamEventsResponse:
    """Write an acknowledgement."""
    return agent_pb2.StreamEventsResponse(
        ack=agent_pb2.EventsAck(
            journal_id=journal_id,
            committed_through=through,
            rejected=[agent_pb2.RejectedEvent(seq=one.seq, reason=one.reason) for one in rejected],
        )
    )


def _sort(entry: agent_pb2.JournalEntry, result: _Sorted, received: int) -> str:
    """Put the event among the records of its kind, or say why it can never be stored."""
    event = entry.event
    body = event.SerializeToString()
    occurred = time_of(event.occurred) if event.HasField("occurred") else None
    problem = envelope_problem(Envelope(entry.seq, event.event_id, occurred, len(body)), received)
    if problem or occurred is None:
        return problem
    match event.WhichOneof("body"):
        case "decided":
            return _sort_decided(entry, result, occurred, body)
        case "completed":
            return _sort_completed(entry, result, occurred, body)
        case "diagnostic":
            return _sort_diagnostic(entry, result, occurred, body)
        case _:
            return "the event must tell something that this server knows"


def _sort_decided(entry: agent_pb2.JournalEntry, result: _Sorted, occurred: int, body: bytes) -> str:
    decided = entry.event.decided
    record = attempt_of(entry, occurred, body)
    problem = attempt_problem(record, justification=decided.justification)
    if decided.platform not in PLATFORMS:
        problem = all_of(problem, "platform must be a value that this server knows")
    if not LOSSES.keys() >= {loser.lost_at for loser in decided.losers}:
        problem = all_of(problem, "lost_at must be a value that this server knows")
    if not problem:
        result.attempts.append(record)
        REMEMBERED.learn(decided, record)
    return problem


def _sort_completed(entry: agent_pb2.JournalEntry, result: _Sorted, occurred: int, body: bytes) -> str:
    event = entry.event
    record = CompletionRecord(entry.seq, event.event_id, event.attempt_id, occurred, event.completed.exit_code, body)
    problem = completion_problem(record)
    if not problem:
        result.completions.append(record)
    return problem


def _sort_diagnostic(entry: agent_pb2.JournalEntry, result: _Sorted, occurred: int, body: bytes) -> str:
    told = entry.event.diagnostic
    record = DiagnosticRecord(
        entry.seq,
        entry.event.event_id,
        occurred,
        told.code,
        told.message,
        told.count,
        told.first_seq,
        told.last_seq,
        body,
    )
    problem = diagnostic_problem(record)
    if not problem:
        result.diagnostics.append(record)
    return problem
