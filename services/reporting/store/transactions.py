"""Store groups of batches: each event once, each group in one durable transaction.

- Events that are there already are passed over (ON CONFLICT DO NOTHING). Only where fewer rows went in than were sent is
  it looked up which those are: an event that is there is a duplicate and fine; one that is not lost its place, or its
  id, to another event, and becomes a dead letter. Nothing is dropped in silence.
- What went in is counted in the same transaction, and nothing else: counts are what a count of the events would give.
- What retention purged leaves no row to run into: where a batch begins below the highest place, it is looked up how far the
  journal was purged, and what was there until then is passed over. Dead letters are kept as they come.
- The highest place of each journal is kept beside it. What a batch passes over is recorded as a gap and logged, and taken
  out again if it comes late. The number is cached; another replica may have moved it. So a gap counts only after the
  number was read again, under a lock, and whoever finds it moved begins again with what the other has stored.
- Where a batch begins at or below the highest place, or places come twice, it is looked up which attempts have them: on
  PostgreSQL nothing else keeps two attempts from having one place.
- A value that the database refuses must not hold up other devices for ever: the group is stored batch by batch, the
  batch entry by entry, and the entry that is refused alone becomes a dead letter.
- A transaction with events takes the service's next revision before anything else and keeps it locked until its commit:
  its events are numbered in the order of the commits, and replicas write one after another, so that none waits in a circle.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import is_not, itemgetter

from services._chassis.logging import get_logger
from services.reporting.model.events import Batch, DeadLetter, Gap, Rejection, gaps, runs, still_missing
from services.reporting.store.driver import Driver, LostError, RefusedError
from services.reporting.store.known import Cached, Known
from services.reporting.store.places import Places, marks, overlapping
from services.reporting.store.rollups import COUNTED, Additions, Column, Counts
from services.reporting.store.rows import (
    ATTEMPTS,
    COLUMNS,
    DEAD_LETTERS,
    EVENT_TARGETS,
    GAPS,
    JOURNALS,
    Columns,
    JournalName,
    Rows,
    Target,
    attempt_columns,
    dead_letter_row,
    gap_row,
    has_events,
    name_of,
    only_record,
    rows_of,
    singles,
    without,
)

MOST_PARAMETERS = 500
MOST_JOURNALS_KNOWN = 100_000
_SELECT_JOURNAL = "SELECT journal_key, high_water FROM reporting_journal WHERE device_id = ? AND journal_id = ?"
_SELECT_PURGED = "SELECT purged_through FROM reporting_journal WHERE device_id = ? AND journal_id = ?"
_LOCK_JOURNAL = "UPDATE reporting_journal SET high_water = high_water WHERE device_id = ? AND journal_id = ?"
_RAISE = "UPDATE reporting_journal SET high_water = ? WHERE journal_key = ? AND high_water = ?"
# Gaps do not overlap: of those that begin before a place, the last one alone can reach over it.
_SELECT_GAPS = (
    "SELECT first_seq, last_seq FROM reporting_gap WHERE journal_key = ? AND first_seq <= ? AND last_seq >= ? AND first_seq >="
    " COALESCE((SELECT MAX(first_seq) FROM reporting_gap WHERE journal_key = ? AND first_seq <= ?), 0)"
)
_NEXT_REVISION = "UPDATE reporting_revision SET value = value + 1 WHERE id = 1 RETURNING value"
_counted: Callable[[Columns], Sequence[Column]] = itemgetter(*map(COLUMNS.index, COUNTED))
_DELETE_GAP = "DELETE FROM reporting_gap WHERE journal_key = ? AND first_seq = ?"

log = get_logger("reporting.sink")


class StaleError(LostError):
    """Say that what is remembered of a journal is no longer true; it is forgotten with the transaction."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a group becomes, as far as that is known before its transaction; true as long as no number was forgotten since."""

    generation: int
    columns: Columns
    additions: Additions


class Transactions:
    """Store events on a raw driver, in the thread that calls; `stored` is the number of what was stored last."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.stored = 0
        self._journals: dict[JournalName, tuple[int, int]] = {}
        self._known = Known(driver)
        self._places = Places(driver)
        self._counts = Counts(driver, self._known)

    def prepare(self, batches: Sequence[Batch]) -> Prepared | None:
        """Prepare a group while another one is stored, in another thread; None where that takes a look at the database."""
        generation = self._known.generation
        if not any(batch.attempts for batch in batches):
            return None
        try:
            keys = {name: self._journals[name][0] for name in map(name_of, batches)}
            columns = attempt_columns(batches, keys, Cached(self._known))
        except LookupError:
            return None
        return Prepared(generation, columns, self._additions(columns))

    def store(self, batches: Sequence[Batch], prepared: Prepared | None = None) -> list[tuple[Rejection, ...]]:
        """Commit the batches as one and return what was rejected of each. Raises LostError where not everything is durable."""
        try:
            return self._up_to_date(batches, prepared)
        except RefusedError as error:
            if len(batches) > 1:
                return [rejections for batch in batches for rejections in self.store([batch])]
            return [self._store_singly(batches[0], str(error))]

    def _store_singly(self, batch: Batch, refusal: str) -> tuple[Rejection, ...]:
        if batch.size > 1:
            return tuple(one for single in singles(batch) for one in self.store([single])[0])
        record = only_record(batch)
        if record is None:
            raise LostError(f"the database refuses a dead letter: {refusal}")
        letter = DeadLetter(record.seq, f"the database refuses a value of the event: {refusal}", record.body)
        bare = Batch(
            device_id=batch.device_id,
            device_name=batch.device_name,
            journal_id=batch.journal_id,
            received=batch.received,
            dead_letters=(letter,),
        )
        return self.store([bare])[0]

    def _up_to_date(self, batches: Sequence[Batch], prepared: Prepared | None) -> list[tuple[Rejection, ...]]:
        try:
            return self._transaction(batches, prepared)
        except StaleError:
            return self._transaction(batches, None)

    def _transaction(self, batches: Sequence[Batch], prepared: Prepared | None) -> list[tuple[Rejection, ...]]:
        if len(self._journals) > MOST_JOURNALS_KNOWN:
            self._journals.clear()
        committed = False
        try:
            self._driver.begin()
            stored = self._next_revision() if any(map(has_events, batches)) else self.stored
            rejections = self._write(batches, stored, prepared)
            self._driver.commit()
            committed = True
            self.stored = stored
        finally:
            if not committed:
                self._driver.rollback()
                self._journals.clear()
                self._known.forget()
        return rejections

    def _next_revision(self) -> int:
        revision = _number(self._driver.fetch(_NEXT_REVISION, ())[0][0])
        self._known.look()
        return revision

    def _write(self, batches: Sequence[Batch], stored: int, prepared: Prepared | None) -> list[tuple[Rejection, ...]]:
        # In the order of arrival: new journals are numbered by it, and attempts are read along by that number.
        named = dict.fromkeys(name_of(batch) for batch in batches if batch.seqs())
        keys = {name: self._journal(name)[0] for name in named}
        kept = self._without_purged(batches)
        if prepared is not None and (prepared.generation != self._known.generation or any(map(is_not, kept, batches))):
            prepared = None
        batches = kept
        columns = prepared.columns if prepared else attempt_columns(batches, keys, self._known)
        rows = rows_of(batches, keys, stored, columns)
        rejections = [
            [*(Rejection(letter.seq, letter.reason) for letter in batch.dead_letters), *batch.passed_over]
            for batch in batches
        ]
        for target in EVENT_TARGETS:
            events = rows.events[target]
            free = self._places.free(events, overlapping(batches, self._journals)) if target is ATTEMPTS else events
            inserted = self._driver.insert(target, free) if free else 0
            if target is ATTEMPTS and inserted == len(events) > 0:
                self._counts.add(prepared.additions if prepared else self._additions(columns))
            elif target is ATTEMPTS and inserted:
                self._counts.add(self._additions_in(stored))
            if inserted < len(events):
                for position, letter in self._displaced(target, rows, batches):
                    rows.dead_letters.append(dead_letter_row(batches[position], letter))
                    rejections[position].append(Rejection(letter.seq, letter.reason))
        if rows.dead_letters:
            self._driver.insert(DEAD_LETTERS, rows.dead_letters)
        self._advance(batches)
        return [tuple(found) for found in rejections]

    def _additions(self, columns: Columns) -> Additions:
        return self._counts.additions(_counted(columns))

    def _additions_in(self, transaction: int) -> Additions:
        return self._counts.additions(list(zip(*self._counts.stored_in(transaction), strict=True)))

    def _without_purged(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return the batches without what was stored and purged: it would go in and be counted again."""
        again = {
            name_of(batch)
            for batch in batches
            if (seqs := batch.seqs()) and seqs[0] <= self._journals[name_of(batch)][1]
        }
        purged = {name: self._purged_through(name) for name in sorted(again, key=lambda name: self._journals[name])}
        return [self._kept(batch, purged[name_of(batch)]) if purged.get(name_of(batch)) else batch for batch in batches]

    def _purged_through(self, name: JournalName) -> int:
        # Locked, so that no purge comes between this look and the commit.
        self._driver.run(_LOCK_JOURNAL, [name])
        return _number(self._driver.fetch(_SELECT_PURGED, name)[0][0])

    def _kept(self, batch: Batch, purged_through: int) -> Batch:
        """Return the batch without the places up to this one, but for those that were missing until now."""
        key, known = self._journals[name_of(batch)][0], [seq for seq in batch.seqs() if seq <= purged_through]
        late = {
            seq
            for run in runs(known)
            for gap in self._gaps_over(key, run)
            for seq in run
            if gap.first_seq <= seq <= gap.last_seq
        }
        return without(batch, lambda seq: seq <= purged_through and seq not in late)

    def _displaced(self, target: Target, rows: Rows, batches: Sequence[Batch]) -> Iterator[tuple[int, DeadLetter]]:
        """Yield the events that are not there although they were inserted, each with the position of its batch."""
        events = rows.events[target]
        owners = dict(self._owners(target, [row[2] for row in events]))
        for position, row in zip(rows.origins[target], events, strict=True):
            owner = owners.get(row[2])
            if owner == batches[position].device_id:
                continue
            taken = "id" if owner is not None else "place in the journal"
            yield (
                position,
                DeadLetter(_number(row[1]), f"another event has this {taken}", _bytes(target.value(row, "body"))),
            )

    def _owners(self, target: Target, event_ids: Sequence[object]) -> Iterator[tuple[object, object]]:
        for start in range(0, len(event_ids), MOST_PARAMETERS):
            asked = tuple(event_ids[start : start + MOST_PARAMETERS])
            query = f"SELECT event_id, device_id FROM {target.name} {target.owned} WHERE event_id IN ({marks(asked)})"  # noqa: S608 - our own names
            yield from ((row[0], row[1]) for row in self._driver.fetch(query, asked))

    def _advance(self, batches: Sequence[Batch]) -> None:
        raised: dict[int, int] = {}
        begun = dict(self._journals[name_of(batch)] for batch in batches if batch.seqs())
        for batch in batches:
            if seqs := batch.seqs():
                name = name_of(batch)
                key, high_water = self._journals[name]
                if seqs[0] <= high_water:
                    self._fill_gaps(key, [seq for seq in seqs if seq <= high_water], batch.received)
                if found := self._new_gaps(name, seqs, begun[key]):
                    self._driver.insert(GAPS, [gap_row(key, gap, batch.received) for gap in found])
                    told = {"first_seq": found[0].first_seq, "last_seq": found[-1].last_seq, "gaps": len(found)}
                    log.warning("journal_gap_noticed", device_id=batch.device_id, **told)
                if seqs[-1] > self._journals[name][1]:
                    self._journals[name] = (key, seqs[-1])
                    raised[key] = seqs[-1]
        # In the order of the keys, so that two replicas never wait for each other's.
        ordered = [(seq, key, begun[key]) for key, seq in sorted(raised.items())]
        if ordered and self._driver.run(_RAISE, ordered) < len(ordered):
            raise StaleError("another replica stored events of the same journal meanwhile")

    def _new_gaps(self, name: JournalName, seqs: list[int], begun: int) -> tuple[Gap, ...]:
        found = gaps(seqs, self._journals[name][1])
        if found:
            self._driver.run(_LOCK_JOURNAL, [name])
            if _number(self._driver.fetch(_SELECT_JOURNAL, name)[0][1]) != begun:
                raise StaleError("another replica stored events of the same journal meanwhile")
        return found

    def _fill_gaps(self, key: int, seqs: list[int], noticed: int) -> None:
        """Take out of the recorded gaps what has come late after all."""
        for run in runs(seqs):
            for gap in self._gaps_over(key, run):
                self._driver.run(_DELETE_GAP, [(key, gap.first_seq)])
                if left := still_missing(gap, run):
                    self._driver.insert(GAPS, [gap_row(key, part, noticed) for part in left])

    def _gaps_over(self, key: int, run: Sequence[int]) -> list[Gap]:
        """Return the recorded gaps that hold places of a run: no more than it has places, however many a device made."""
        places = (key, run[-1], run[0], key, run[0])
        return [Gap(_number(row[0]), _number(row[1])) for row in self._driver.fetch(_SELECT_GAPS, places)]

    def _journal(self, name: JournalName) -> tuple[int, int]:
        known = self._journals.get(name)
        if known is None:
            self._driver.insert(JOURNALS, [(*name, 0)])
            row = self._driver.fetch(_SELECT_JOURNAL, name)[0]
            known = self._journals[name] = (_number(row[0]), _number(row[1]))
        return known


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
