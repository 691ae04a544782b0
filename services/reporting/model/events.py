"""The events that devices send, as they are stored.

- An event is what its device said; it is never changed. `body` keeps its exact bytes, the other fields are those by which
  reports find, count and join it.
- An event is known by its id, and by its place: device, journal and sequence number.
- Which decision an event tells of is written in the words of the kernel, by name; UNKNOWN stands for a number that this
  version has no word for, and such an event is rejected.
- Times are whole microseconds since 1970 in UTC: they order, compare and store alike on every database.
- `managed` is false exactly for the outcome NOT_MANAGED; an unmanaged attempt has the result NOT_MANAGED and names neither
  policy nor rule.

Records are named tuples: the database drivers take a tuple as it is. Attempts, which nearly all are, have a module of their own.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from operator import lt
from typing import NamedTuple

from services.reporting.model.attempts import AttemptRecord, Attempts

UNKNOWN = "?"
LONGEST_JUSTIFICATION = 256
LONGEST_ID = 64
LONGEST_TEXT = 1024
LONGEST_USER = 256
LARGEST_NUMBER = 2**63 - 1
LARGEST_EVENT = 256 * 1024
"""Bytes of an event; the contract's limit on a message is higher, and arguments alone can fill it."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
CLOCK_TOLERANCE = timedelta(hours=24)
"""How far a device's clock may run ahead; an event from later would stand above everything new for ever."""

_MICROSECOND = timedelta(microseconds=1)
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UUID7_LINES = re.compile(rf"(?:{_UUID7.pattern}\n)*{_UUID7.pattern}")
_SHA256 = re.compile(r"(?:[0-9a-f]{64})?")


class CompletionRecord(NamedTuple):
    """The end of an elevated process (COMPLETED); joins the attempt by its id, whichever arrives first."""

    seq: int
    event_id: str
    attempt_id: str
    occurred: int
    exit_code: int
    body: bytes


class DiagnosticRecord(NamedTuple):
    """A statement of the agent about its own health."""

    seq: int
    event_id: str
    occurred: int
    code: str
    message: str
    event_count: int
    first_seq: int
    last_seq: int
    body: bytes


class DeadLetter(NamedTuple):
    """An event that can never be stored: kept apart, whole, with the reason."""

    seq: int
    reason: str
    body: bytes


class Rejection(NamedTuple):
    """Tell the device that an entry of its journal became a dead letter, or was not kept."""

    seq: int
    reason: str


class Priority(Enum):
    """How soon events must be stored, where not all can be at once; the first goes first."""

    SECURITY = "SECURITY"
    DIAGNOSTIC = "DIAGNOSTIC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one message of a device brings, sorted by what becomes of it.

    `device_name` is the name at the time of arrival: a report shows what the device was called when it happened, and
    a device that was renamed or deleted since stays readable.
    """

    device_id: str
    device_name: str
    journal_id: str
    received: int
    priority: Priority = Priority.SECURITY
    attempts: Sequence[AttemptRecord] = ()
    completions: tuple[CompletionRecord, ...] = ()
    diagnostics: tuple[DiagnosticRecord, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    passed_over: tuple[Rejection, ...] = ()
    """What the reporting scope of the device does not let leave it: its place is filled, and nothing of it is kept."""

    @property
    def size(self) -> int:
        """Return how many entries the batch has."""
        events = len(self.attempts) + len(self.completions) + len(self.diagnostics)
        return events + len(self.dead_letters) + len(self.passed_over)

    @property
    def weight(self) -> int:
        """Return how many bytes of events the batch holds."""
        kinds = (self.attempts, self.completions, self.diagnostics, self.dead_letters)
        return sum(len(record.body) for records in kinds for record in records)

    def seqs(self) -> list[int]:
        """Return the places in the journal that the batch fills, sorted."""
        attempts = self.attempts
        places = list(attempts.columns.seq if isinstance(attempts, Attempts) else (record[0] for record in attempts))
        kinds = (self.completions, self.diagnostics, self.dead_letters, self.passed_over)
        places += [record[0] for records in kinds for record in records]
        # As nearly always: one kind, in order.
        if places and places[0] > 0 and places[-1] <= LARGEST_NUMBER and all(map(lt, places, places[1:])):
            return places
        return sorted({place for place in places if 0 < place <= LARGEST_NUMBER})


class Gap(NamedTuple):
    """Places of a journal that were passed over: those events never arrived."""

    first_seq: int
    last_seq: int


def gaps(seqs: list[int], high_water: int) -> tuple[Gap, ...]:
    """Return what is missing between the highest place seen so far and the sorted places of a batch, and among those."""
    if not seqs or (seqs[0] == high_water + 1 and seqs[-1] - high_water == len(seqs)):
        return ()
    found, expected = [], high_water + 1
    for seq in seqs:
        if seq > expected:
            found.append(Gap(expected, seq - 1))
        expected = max(expected, seq + 1)
    return tuple(found)


def runs(seqs: Sequence[int]) -> Iterator[list[int]]:
    """Give sorted places in runs without a hole."""
    run: list[int] = []
    for seq in seqs:
        if run and seq != run[-1] + 1:
            yield run
            run = []
        run.append(seq)
    if run:
        yield run


def still_missing(gap: Gap, seqs: list[int]) -> tuple[Gap, ...]:
    """Return what is left of a gap after these sorted places were filled late."""
    late = [seq for seq in seqs if gap.first_seq <= seq <= gap.last_seq]
    return gaps([*late, gap.last_seq + 1], gap.first_seq - 1)


def microseconds(time: datetime) -> int:
    """Return an aware time as microseconds since 1970."""
    return (time - EPOCH) // _MICROSECOND


def datetime_of(time: int) -> datetime:
    """Return microseconds since 1970 as an aware time in UTC."""
    return EPOCH + timedelta(microseconds=time)


_EARLIEST = microseconds(EARLIEST)
_TOLERANCE = CLOCK_TOLERANCE // _MICROSECOND


class Envelope(NamedTuple):
    """What every event must have, whatever it tells."""

    seq: int
    event_id: str
    occurred: int | None
    """None: absent, or not a time at all."""
    size: int


def envelope_problem(envelope: Envelope, received: int) -> str:
    """Say what keeps any event of this envelope from being stored; empty if nothing does."""
    return all_of(
        "" if 0 < envelope.seq <= LARGEST_NUMBER else "seq must be from 1 to 2^63-1",
        "" if _UUID7.fullmatch(envelope.event_id) else "event_id must be a UUIDv7 in small letters",
        _time_problem(envelope.occurred, received),
        "" if envelope.size <= LARGEST_EVENT else f"the event must not be larger than {LARGEST_EVENT} bytes",
    )


class Envelopes(NamedTuple):
    """The envelopes of some events, by columns."""

    seqs: Sequence[int]
    event_ids: Sequence[str]
    occurred: Sequence[int]
    sizes: Sequence[int]


def are_envelopes(envelopes: Envelopes, received: int) -> bool:
    """Tell whether `envelope_problem` has nothing to say of any of them."""
    ids = "\n".join(envelopes.event_ids)
    return (
        0 < min(envelopes.seqs) <= max(envelopes.seqs) <= LARGEST_NUMBER
        and _EARLIEST <= min(envelopes.occurred) <= max(envelopes.occurred) <= received + _TOLERANCE
        and max(envelopes.sizes) <= LARGEST_EVENT
        # As many lines as ids: none holds an end of line.
        and ids.count("\n") == len(envelopes.event_ids) - 1
        and _UUID7_LINES.fullmatch(ids) is not None
    )


def are_ids(values: Sequence[str]) -> bool:
    """Tell whether all values may be identifiers."""
    lengths = list(map(len, values))
    return 0 < min(lengths) <= max(lengths) <= LONGEST_ID and "".join(values).isprintable()


def attempt_problem(record: AttemptRecord, *, justification: str) -> str:
    """Say what keeps the attempt from being stored; empty if nothing does."""
    return all_of(
        _id_problem("attempt_id", record.attempt_id),
        _word_problem(record),
        _management_problem(record),
        "" if 0 < len(record.user_name) <= LONGEST_USER else f"user must have 1 to {LONGEST_USER} characters",
        ""
        if len(justification) <= LONGEST_JUSTIFICATION
        else f"justification must have at most {LONGEST_JUSTIFICATION} characters",
        "" if _SHA256.fullmatch(record.sha256) else "file.sha256 must be 64 hexadecimal digits, or empty",
        _text_problem(record),
    )


def completion_problem(record: CompletionRecord) -> str:
    """Say what keeps the completion from being stored; empty if nothing does."""
    return _id_problem("attempt_id", record.attempt_id)


def diagnostic_problem(record: DiagnosticRecord) -> str:
    """Say what keeps the diagnostic from being stored; empty if nothing does."""
    text_fits = len(record.message) <= LONGEST_TEXT and "\0" not in record.message
    numbers_fit = max(record.event_count, record.first_seq, record.last_seq) <= LARGEST_NUMBER
    return all_of(
        _id_problem("code", record.code),
        "" if text_fits else f"message must have at most {LONGEST_TEXT} characters and no NUL",
        "" if numbers_fit else "count, first_seq and last_seq must be at most 2^63-1",
    )


def journal_problem(journal_id: str) -> str:
    """Say what is wrong with the name of a journal; empty if nothing is."""
    return _id_problem("journal_id", journal_id)


def all_of(*problems: str) -> str:
    """Say all the problems in one text; empty where there are none."""
    return "; ".join(filter(None, problems)) if any(problems) else ""


def _time_problem(occurred: int | None, received: int) -> str:
    if occurred is None:
        return "occurred must be a time"
    if occurred < _EARLIEST:
        return "occurred must not be before the year 2000; the device's clock is wrong"
    if occurred > received + _TOLERANCE:
        return "occurred must not be more than a day ahead of the server; the device's clock is wrong"
    return ""


def _word_problem(record: AttemptRecord) -> str:
    words = (record.trigger, record.outcome, record.source, record.result, record.elevation_type)
    if UNKNOWN not in words:
        return ""
    names = ("trigger", "outcome", "source", "result", "elevation_type")
    unknown = [name for name, word in zip(names, words, strict=True) if word == UNKNOWN]
    return all_of(*(f"{name} must be a value that this server knows" for name in unknown))


def _management_problem(record: AttemptRecord) -> str:
    if record.managed and record.outcome != "NOT_MANAGED" != record.result:
        return ""
    unmanaged = not record.managed
    return all_of(
        ""
        if unmanaged == (record.outcome == "NOT_MANAGED")
        else "managed must be false for the outcome NOT_MANAGED and true for any other",
        ""
        if unmanaged == (record.result == "NOT_MANAGED")
        else "result must be NOT_MANAGED for an unmanaged attempt and only for one",
        "policy and rule must be empty for an unmanaged attempt"
        if unmanaged and (record.policy or record.rule)
        else "",
    )


def _text_problem(record: AttemptRecord) -> str:
    facts = (record.file_name, record.internal_name, record.version, record.company_name, record.publisher)
    texts = (record.policy, record.rule, *facts)
    whole = "".join((record.user_name, *texts))
    if len(whole) <= LONGEST_TEXT and "\0" not in whole:
        return ""
    too_long = f"policy, rule and the facts of the file must have at most {LONGEST_TEXT} characters each"
    return all_of(
        too_long if max(map(len, texts)) > LONGEST_TEXT else "",
        "texts must not hold NUL" if "\0" in whole else "",
    )


def _id_problem(name: str, value: str) -> str:
    if 0 < len(value) <= LONGEST_ID and value.isprintable():
        return ""
    return f"{name} must have 1 to {LONGEST_ID} printable characters"
