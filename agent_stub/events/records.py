"""Make events of what happened."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from agent_stub.model import Moment, Result
from elevation.codec.events import encode_decided
from elevation.model import Attempt, Decision
from epm.elevation.v1 import event_pb2

LOSERS_LIMIT = 100
TEXT_LIMIT = 1024
"""Longest fact of a file, in characters, that the server stores."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided attempt, and how it went on."""

    attempt_id: str
    attempt: Attempt
    decision: Decision
    result: Result
    justification: str = ""
    policy_revision: int = 0
    document_revision: int = 0


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A statement about the health of the client."""

    code: str
    message: str
    count: int = 0
    first_seq: int = 0
    last_seq: int = 0


class EventFactory:
    """Gives events their id, their times and the run of the device they belong to."""

    def __init__(self, boot_id: str, now: Callable[[], Moment], new_id: Callable[[], str]) -> None:
        self._boot_id = boot_id
        self._now = now
        self._new_id = new_id

    def decided(self, record: Decided) -> event_pb2.ElevationEvent:
        """Report an attempt and its decision, within the limits of what the server stores: nobody hides by excess."""
        decision = replace(record.decision, losers=record.decision.losers[:LOSERS_LIMIT])
        body = encode_decided(printable(record.attempt), decision)
        bound_publisher(body.file)
        body.result = event_pb2.AttemptResult.Value(f"ATTEMPT_RESULT_{record.result.name}")
        body.justification = record.justification
        body.policy_revision = record.policy_revision
        body.document_revision = record.document_revision
        return self._event(record.attempt_id, decided=body)

    def completed(self, attempt_id: str, exit_code: int) -> event_pb2.ElevationEvent:
        """Report that an elevated process ended."""
        return self._event(attempt_id, completed=event_pb2.Completed(exit_code=exit_code))

    def diagnostic(self, statement: Diagnostic) -> event_pb2.ElevationEvent:
        """Report the client's own health."""
        body = event_pb2.Diagnostic(
            code=statement.code,
            message=statement.message,
            count=statement.count,
            first_seq=statement.first_seq,
            last_seq=statement.last_seq,
        )
        return self._event("", diagnostic=body)

    def _event(
        self,
        attempt_id: str,
        *,
        decided: event_pb2.Decided | None = None,
        completed: event_pb2.Completed | None = None,
        diagnostic: event_pb2.Diagnostic | None = None,
    ) -> event_pb2.ElevationEvent:
        moment = self._now()
        occurred, since_boot = Timestamp(), Duration()
        occurred.FromDatetime(moment.wall)
        since_boot.FromTimedelta(moment.since_boot)
        return event_pb2.ElevationEvent(
            event_id=self._new_id(),
            attempt_id=attempt_id,
            occurred=occurred,
            since_boot=since_boot,
            boot_id=self._boot_id,
            decided=decided,
            completed=completed,
            diagnostic=diagnostic,
        )


def bound_publisher(file: event_pb2.FileFacts) -> None:
    """Keep the publisher within what the server stores: whoever signs a file writes this name."""
    file.publisher = file.publisher.replace("\0", "")[:TEXT_LIMIT]


def printable(attempt: Attempt) -> Attempt:
    """Show what is no Unicode by its code: names on Linux are bytes, texts of an event are not."""
    return replace(
        attempt,
        file=replace(attempt.file, path=_unicode(attempt.file.path)),
        arguments=tuple(_unicode(argument) for argument in attempt.arguments),
    )


def _unicode(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
