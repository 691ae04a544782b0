"""The rows of a group of batches, and the statements that the sink runs: in one place for both databases."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from operator import itemgetter
from typing import Protocol

import sqlalchemy as sa

from services.reporting.model.attempts import FACTS, WORDS, AttemptRecord, Part, together
from services.reporting.model.events import (
    Batch,
    CompletionRecord,
    DeadLetter,
    DiagnosticRecord,
    Gap,
)
from services.reporting.model.rollups import day_of
from services.reporting.store import tables
from services.reporting.store.dimensions import DECISION, DEVICE, FILE, RULE, USER, Dimension

Row = tuple[object, ...]
LONGEST_JOURNAL_SHOWN = 128


@dataclass(frozen=True, slots=True)
class Target:
    """A table that the sink inserts into, and its columns in the order of the rows."""

    name: str
    columns: tuple[str, ...]
    conflict: str = "ON CONFLICT DO NOTHING"
    """What becomes of a row that is there already."""
    numbers: bool = False
    """Whether all columns hold whole numbers."""
    owned: str = ""
    """What tells, beside an event's id, the device of an event; empty where that is a column of the table."""

    def insert(self, placeholder: str, rows: int = 1) -> str:
        """Return the statement that inserts one row, or so many at once."""
        values = ", ".join([f"({', '.join([placeholder] * len(self.columns))})"] * rows)
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES {values} {self.conflict}"  # noqa: S608 - our own names

    def value(self, row: Row, column: str) -> object:
        """Return a row's value of a column."""
        return row[self.columns.index(column)]


def _target(table: sa.Table, *columns: str) -> Target:
    unknown = set(columns) - set(table.c.keys())
    if unknown:
        raise ValueError(f"{table.name} has no columns {', '.join(sorted(unknown))}")
    return Target(table.name, columns)


_ARRIVAL = ("device_id", "device_name", "received")
_TOLD = ("event_id", "attempt_id", "occurred")
_RECORDED = (USER, FILE, DECISION, RULE)
_KEYS = tuple(dimension.key for dimension in (DEVICE, *_RECORDED))
ATTEMPTS = replace(
    _target(tables.ATTEMPT, "journal_key", "seq", *_TOLD, "received", "stored", "day", *_KEYS, "body"),
    owned=f"JOIN {DEVICE.table.name} USING ({DEVICE.key})",
)
COMPLETIONS = _target(tables.COMPLETION, "journal_key", *CompletionRecord._fields, *_ARRIVAL, "stored")
DIAGNOSTICS = _target(tables.DIAGNOSTIC, "journal_key", *DiagnosticRecord._fields, *_ARRIVAL, "stored")
GAPS = _target(tables.GAP, "journal_key", "first_seq", "last_seq", "noticed")
DEAD_LETTERS = _target(tables.DEAD_LETTER, "device_id", "journal_id", "seq", "digest", "received", "reason", "body")
JOURNALS = _target(tables.JOURNAL, "device_id", "journal_id", "high_water")
EVENT_TARGETS = (ATTEMPTS, COMPLETIONS, DIAGNOSTICS)
_BEFORE_STORED = ATTEMPTS.columns.index("stored")
COLUMNS = tuple(name for name in ATTEMPTS.columns if name != "stored")
"""The columns of attempts that are known before their transaction begins."""

JournalName = tuple[str, str]
Columns = Sequence[Sequence[object]]


@dataclass(slots=True)
class Rows:
    """The rows of a group; every event knows which batch it came with, by position."""

    events: dict[Target, list[Row]] = field(default_factory=lambda: {target: [] for target in EVENT_TARGETS})
    origins: dict[Target, list[int]] = field(default_factory=lambda: {target: [] for target in EVENT_TARGETS})
    dead_letters: list[Row] = field(default_factory=list)


def name_of(batch: Batch) -> JournalName:
    """Return what a journal is known by. A name that is none is cut to what every database takes, and stays none."""
    return batch.device_id, batch.journal_id.replace("\0", "\x01")[:LONGEST_JOURNAL_SHOWN]


def has_events(batch: Batch) -> bool:
    """Tell whether the batch brings anything but dead letters."""
    return bool(batch.attempts or batch.completions or batch.diagnostics)


class Keys(Protocol):
    """Know the members of dimensions by number."""

    def keys_of(self, dimension: Dimension, members: Sequence[Row]) -> list[int]:
        """Return the numbers of the members; those that are new get one."""
        ...


def rows_of(batches: Sequence[Batch], keys: Mapping[JournalName, int], stored: int, columns: Columns) -> Rows:
    """Return the rows of the batches, whose journals have these keys, and whose attempts these columns.

    `stored` is the number of their transaction.
    """
    rows = Rows()
    for position, batch in enumerate(batches):
        head, tail = (keys.get(name_of(batch), 0),), (batch.device_id, batch.device_name, batch.received, stored)
        rows.origins[ATTEMPTS] += [position] * len(batch.attempts)
        for target, records in ((COMPLETIONS, batch.completions), (DIAGNOSTICS, batch.diagnostics)):
            if records:
                rows.events[target] += [head + record + tail for record in records]
                rows.origins[target] += [position] * len(records)
        rows.dead_letters += [dead_letter_row(batch, letter) for letter in batch.dead_letters]
    before, behind = columns[:_BEFORE_STORED], columns[_BEFORE_STORED:]
    rows.events[ATTEMPTS] = list(zip(*before, repeat(stored, len(before[0])), *behind, strict=True))
    return rows


def attempt_columns(batches: Sequence[Batch], keys: Mapping[JournalName, int], known: Keys) -> Columns:
    """Return the columns of the attempts of the batches, whose journals have these keys."""
    # By columns, over all batches at once: under many streams a batch has a few events.
    batches = [batch for batch in batches if batch.attempts]
    attempts = together([batch.attempts for batch in batches])
    told, common = attempts.columns, attempts.common
    devices = known.keys_of(DEVICE, [(batch.device_id, batch.device_name) for batch in batches])

    def each(values: Iterable[object]) -> list[object]:
        repeated = (repeat(value, len(batch.attempts)) for value, batch in zip(values, batches, strict=True))
        return list(chain.from_iterable(repeated))

    def numbers(
        dimension: Dimension, fields: Sequence[str], members: Sequence[Part], which: Sequence[int]
    ) -> list[int]:
        # Those of these attempts alone: a group may be stored part by part because one that it tells of is refused.
        used, member = list(set(which)), itemgetter(*map(fields.index, dimension.columns))
        keys = dict(zip(used, known.keys_of(dimension, [member(members[number]) for number in used]), strict=True))
        return [keys[number] for number in which]

    return [
        each(keys[name_of(batch)] for batch in batches),
        told.seq,
        *(told.event_id, told.attempt_id, told.occurred),
        each(batch.received for batch in batches),
        list(map(day_of, told.occurred)),
        each(devices),
        known.keys_of(USER, list(zip(told.user_name, strict=True))),
        numbers(FILE, FACTS, common.facts, told.facts),
        numbers(DECISION, WORDS, common.words, told.words),
        numbers(RULE, WORDS, common.words, told.words),
        told.body,
    ]


def dead_letter_row(batch: Batch, letter: DeadLetter) -> Row:
    """Return a dead letter's row; the same entry, sent again, has the same place and digest."""
    device_id, journal_id = name_of(batch)
    digest = hashlib.sha256(letter.body).hexdigest()
    return (device_id, journal_id, letter.seq, digest, batch.received, letter.reason, letter.body)


def gap_row(key: int, gap: Gap, noticed: int) -> Row:
    """Return a gap's row."""
    return (key, gap.first_seq, gap.last_seq, noticed)


def singles(batch: Batch) -> list[Batch]:
    """Return the batch as batches of one entry each."""
    bare = replace(batch, attempts=(), completions=(), diagnostics=(), dead_letters=(), passed_over=())
    return [
        *(replace(bare, attempts=(record,)) for record in batch.attempts),
        *(replace(bare, completions=(record,)) for record in batch.completions),
        *(replace(bare, diagnostics=(record,)) for record in batch.diagnostics),
        *(replace(bare, dead_letters=(letter,)) for letter in batch.dead_letters),
        *(replace(bare, passed_over=(rejection,)) for rejection in batch.passed_over),
    ]


def without(batch: Batch, gone: Callable[[int], bool]) -> Batch:
    """Return the batch without the events at places that are gone."""
    return replace(
        batch,
        attempts=tuple(record for record in batch.attempts if not gone(record.seq)),
        completions=tuple(record for record in batch.completions if not gone(record.seq)),
        diagnostics=tuple(record for record in batch.diagnostics if not gone(record.seq)),
    )


def only_record(batch: Batch) -> AttemptRecord | CompletionRecord | DiagnosticRecord | None:
    """Return the event of a batch of one; None where its entry is a dead letter already."""
    records: tuple[AttemptRecord | CompletionRecord | DiagnosticRecord, ...] = (
        *batch.attempts,
        *batch.completions,
        *batch.diagnostics,
    )
    return records[0] if records else None
