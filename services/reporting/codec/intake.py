"""Read and write what is asked of the intake: dead letters, gaps and diagnostics."""

from collections.abc import Iterator
from datetime import datetime

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2, intake_pb2
from services._chassis.errors import Problem
from services._chassis.times import time_to_proto
from services.reporting.codec import unreadable
from services.reporting.codec.incoming import batch_from_proto
from services.reporting.codec.words import time_of
from services.reporting.model.events import Batch, datetime_of
from services.reporting.model.intake import IntakeFilter, IntakeQuestion, Letter, LetterBody, MissingPlaces

LARGEST_SHOWN = 1024 * 1024
"""Bytes of an event that is shown beside its bytes: both have to fit into one message."""

LARGEST_BODY = 3 * 1024 * 1024
"""Bytes that are shown of an event."""


def time_from_proto(stamp: Timestamp) -> datetime | None:
    """Read a time; None for one that is none between the years 1 and 9999."""
    time = time_of(stamp)
    try:
        return None if time is None else datetime_of(time)
    except OverflowError:
        return None


def intake_question_from_proto(message: intake_pb2.IntakeFilter, tags: frozenset[str] | None) -> IntakeQuestion:
    """Read a filter, and what of it cannot be read."""
    asked = IntakeFilter(
        device_ids=tuple(sorted(set(message.device_ids))),
        received_from=time_from_proto(message.received_from) if message.HasField("received_from") else None,
        received_before=time_from_proto(message.received_before) if message.HasField("received_before") else None,
    )
    return IntakeQuestion(asked, tags, tuple(_unreadable(message)))


def _unreadable(message: intake_pb2.IntakeFilter) -> Iterator[Problem]:
    for name, stamp in (("received_from", message.received_from), ("received_before", message.received_before)):
        if message.HasField(name) and time_from_proto(stamp) is None:  # type: ignore[arg-type]
            yield Problem(f"filter.{name}", "must be a time between the years 1 and 9999")


def letter_to_proto(letter: Letter, device_name: str) -> intake_pb2.DeadLetter:
    """Write a dead letter without its event."""
    return intake_pb2.DeadLetter(
        id=letter.letter_id,
        device_id=letter.device_id,
        device_name=device_name,
        journal_id=letter.journal_id,
        seq=letter.seq,
        received=time_to_proto(letter.received),
        reason=letter.reason,
        size=letter.size,
    )


def body_to_proto(found: LetterBody, device_name: str) -> intake_pb2.GetDeadLetterResponse:
    """Write a dead letter with its event, as far as it can be read and is not too large."""
    return intake_pb2.GetDeadLetterResponse(
        dead_letter=letter_to_proto(found.letter, device_name),
        event=_event(found.body) if len(found.body) <= LARGEST_SHOWN else None,
        body=found.body[:LARGEST_BODY],
    )


def gap_to_proto(gap: MissingPlaces, device_name: str) -> intake_pb2.Gap:
    """Write a gap."""
    return intake_pb2.Gap(
        device_id=gap.device_id,
        device_name=device_name,
        journal_id=gap.journal_id,
        first_seq=gap.first_seq,
        last_seq=gap.last_seq,
        noticed=time_to_proto(gap.noticed),
    )


def again(found: LetterBody, device_name: str, received: int) -> tuple[Batch, str]:
    """Read a dead letter as if it came now, with the identifier of its event."""
    letter = found.letter
    entry = unreadable.entry_of(letter.seq, found.body)
    message = agent_pb2.EventBatch(journal_id=letter.journal_id, entries=[entry])
    batch = batch_from_proto(message, device_id=letter.device_id, device_name=device_name, received=received)
    return batch, entry.event.event_id


def _event(body: bytes) -> event_pb2.ElevationEvent | None:
    try:
        return event_pb2.ElevationEvent.FromString(body)
    except DecodeError:
        return None
