"""Count attempts in the transaction that stores them, so that reports need not read them again.

- Counts are rows of numbers alone: those of the members that attempts are counted by, and of spans of days.
- Only the writing transaction knows which of its events were new. Where all were, they are counted as they are; otherwise
  those that bear its number are read again.
- Who was on which device is noted beside the counts, once: most groups bring no pair that is new.
- What comes late, of a day that is closed, is added to what was made when it was closed, too.
- Who may see a count depends on the tags that devices have today: so the full counts keep the device. The others do
  without it, by longer spans, for whoever may see everything.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat

import sqlalchemy as sa

from services.reporting.model.rollups import SPANS, start_of
from services.reporting.store import tables
from services.reporting.store.closed import CountsByDeviceFile, add_late, adding
from services.reporting.store.dimensions import DECISION, DEVICE, DIMENSIONS, FILE, RULE, USER, Dimension
from services.reporting.store.driver import Driver
from services.reporting.store.known import Known
from services.reporting.store.rows import ATTEMPTS, Row, Target

Column = Sequence[int]
Cell = tuple[int, ...]
COUNTED = ("day", *(dimension.key for dimension in DIMENSIONS))
"""The columns of an attempt that counts are made of."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """Counts by some dimensions, in the order of their table's key, for spans of some lengths."""

    table: sa.Table
    dimensions: tuple[Dimension, ...]
    spans: tuple[int, ...]
    unmanaged_only: bool = False


ROLLUPS = (
    Rollup(tables.COUNT_BY_DECISION, (DECISION,), SPANS),
    Rollup(tables.COUNT_BY_RULE, (RULE, DECISION), SPANS),
    Rollup(tables.COUNT_BY_FILE, (FILE, RULE, DECISION), SPANS),
    Rollup(tables.COUNT_BY_USER, (USER, DECISION), SPANS),
    Rollup(tables.COUNT_BY_DEVICE, (DEVICE, DECISION), SPANS),
    Rollup(tables.COUNT_UNMANAGED, (USER, FILE, DEVICE), SPANS, unmanaged_only=True),
    Rollup(tables.COUNT, (USER, FILE, DECISION, RULE, DEVICE), SPANS[:1]),
)
"""The smallest first: a report takes the first that has all that it needs."""
CLOSED = Rollup(tables.COUNT_BY_DEVICE_FILE, CountsByDeviceFile.dimensions, CountsByDeviceFile.spans)
"""Of closed spans alone."""


Additions = Sequence[tuple[Target, list[Row]]]
"""What is to be added to the counts and to the pairs beside them, by table."""
_PAIRS = Target(tables.USER_DEVICE.name, (USER.key, DEVICE.key), numbers=True)
_ADDING = {rollup.table: adding(rollup.table) for rollup in ROLLUPS}
_WHOLE = _ADDING[tables.COUNT]
_SELECT_STORED = f"SELECT {', '.join(COUNTED)} FROM {ATTEMPTS.name} WHERE stored = ?"  # noqa: S608 - our own names
_MANAGED = DECISION.columns.index("managed")


class Counts:
    """Keep the counts on the connection of the sink."""

    def __init__(self, driver: Driver, known: Known) -> None:
        self._driver = driver
        self._known = known

    def additions(self, columns: Sequence[Column]) -> Additions:
        """Return what attempts add to the counts, given by the columns that are counted. It looks at no database."""
        days, *keys = columns
        by: dict[Dimension, Column] = dict(zip(DIMENSIONS, keys, strict=True))
        unmanaged = self._unmanaged()
        wanted = [key in unmanaged for key in by[DECISION]]
        pairs = self._known.unpaired(zip(by[USER], by[DEVICE], strict=True))
        additions = [(_PAIRS, sorted(pairs))] if pairs else []
        for rollup in ROLLUPS:
            counted = [days, *(by[dimension] for dimension in rollup.dimensions)]
            if rollup.unmanaged_only:
                counted = [list(compress(column, wanted)) for column in counted] if any(wanted) else []
            if counted:
                additions.append((_ADDING[rollup.table], _counts(rollup.spans, counted)))
        return additions

    def add(self, additions: Additions) -> None:
        """Add to the counts what this transaction inserted; call it after a look at what is closed, under the same lock."""
        for target, rows in additions:
            self._driver.insert(target, rows)
            if target is _PAIRS:
                self._known.pair(rows)
            elif target is _WHOLE:
                add_late(self._driver, rows, self._known.closed_before)

    def stored_in(self, transaction: int) -> list[Row]:
        """Return the attempts that the transaction of this number inserted, by the columns that are counted."""
        return self._driver.fetch(_SELECT_STORED, (transaction,))

    def _unmanaged(self) -> frozenset[int]:
        return frozenset(key for member, key in list(self._known.cached(DECISION).items()) if not member[_MANAGED])


def _counts(spans: Sequence[int], columns: Sequence[Column]) -> list[Row]:
    """Return the rows of counts for each length of span; the columns are the days of attempts, and what they are counted by."""
    shortest, *longer = spans
    days = Counter(zip(repeat(shortest), *columns, strict=False))
    # In the order of the table's key: a page of it is looked up once for all its rows.
    rows: list[Row] = [(*cell, days[cell]) for cell in sorted(days)]
    for span in longer:
        rows += _longer(span, days)
    return rows


def _longer(span: int, days: Mapping[Cell, int]) -> Iterator[Row]:
    """Yield the counts of spans of one length, which are the sums of those of their days."""
    starts = {day: start_of(day, span) for day in {cell[1] for cell in days}}
    if len(starts) == 1:
        # Attempts of one day, as nearly always.
        ((_, start),) = starts.items()
        yield from ((span, start, *cell[2:], attempts) for cell, attempts in days.items())
        return
    sums: Counter[Cell] = Counter()
    for cell, attempts in days.items():
        sums[(span, starts[cell[1]], *cell[2:])] += attempts
    yield from ((*cell, attempts) for cell, attempts in sums.items())
