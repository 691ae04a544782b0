"""What is made of counts when a span is closed, and kept true when attempts of its days come late.

- What is made can be told from the counts of days too, in more time. So readers take it of closed spans alone.
- INVARIANT: of a closed span it is always what would be made of the counts of its days now. Until a span is closed nobody keeps
  it true but the closing; once it is, the transaction that counts late attempts does.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from operator import itemgetter
from typing import Protocol

import sqlalchemy as sa

from services.reporting.model.rollups import SPANS, Run, closed_over
from services.reporting.store.dimensions import DECISION, DEVICE, FILE, RULE
from services.reporting.store.driver import Driver
from services.reporting.store.rows import Row, Target
from services.reporting.store.setmaking import COLUMNS, LateToSets, ObstacleSets
from services.reporting.store.tables import COUNT, COUNT_BY_DEVICE_FILE

Step = Callable[[Driver], object]
"""A piece of work for one short transaction."""
Late = Mapping[Run, Sequence[Row]]
"""What came late: for each span, a run of its own, counts of its days by all `COLUMNS`."""


class Maker(Protocol):
    """Make something of the counts of a span."""

    @property
    def table(self) -> sa.Table:
        """Return where it is kept; the table's key begins with the `span` and the `start`."""
        ...

    @property
    def spans(self) -> tuple[int, ...]:
        """Return the lengths of the spans for which it is made."""
        ...

    def gather(self, driver: Driver, run: Run, closed: int, step: int) -> Iterator[Step]:
        """Read what is counted of a span, in a transaction that sees one state of the data, and yield the steps that write it.

        A step writes so many rows; nothing of the span stands in the table before the first. Days before `closed` are closed, and so
        are the spans that end there.
        """
        ...

    def add(self, driver: Driver, late: Late) -> None:
        """Add to spans what came late, in the transaction that counts it."""
        ...


class CountsByDeviceFile:
    """Count by device and file, the device first, so that few devices are found without a look at the others."""

    table = COUNT_BY_DEVICE_FILE
    spans = SPANS[1:]
    dimensions = (DEVICE, FILE, RULE, DECISION)

    def gather(self, driver: Driver, run: Run, closed: int, step: int) -> Iterator[Step]:
        """Add up in a table of the connection's own, and move it in the order of its key."""
        keys = ", ".join(dimension.key for dimension in self.dimensions)
        columns = ", ".join(f"{dimension.key} INTEGER" for dimension in self.dimensions)
        add_up = (
            f"INSERT INTO closing_stage SELECT row_number() OVER (ORDER BY {keys}), {keys}, sum(attempts)"  # noqa: S608 - our own names
            f" FROM ({self._counted(run, closed, keys)}) AS counted GROUP BY {keys}"
        )
        driver.fetch("DROP TABLE IF EXISTS closing_stage", ())
        driver.fetch(
            f"CREATE TEMPORARY TABLE closing_stage (place INTEGER PRIMARY KEY, {columns}, attempts BIGINT)", ()
        )
        driver.fetch(add_up, ())
        rows = int(str(driver.fetch("SELECT COUNT(*) FROM closing_stage", ())[0][0]))
        move = (
            f"INSERT INTO {self.table.name} (span, start, {keys}, attempts) SELECT {run.span}, {run.first}, {keys}, attempts"  # noqa: S608 - our own names
            " FROM closing_stage WHERE place > ? AND place <= ? ORDER BY place"
        )
        for reached in range(0, rows, step):
            yield partial(_move, statement=move, bounds=(reached, reached + step))

    def _counted(self, run: Run, closed: int, keys: str) -> str:
        """Return what selects the counts: of the shorter spans that are closed, and of the days that belong to none of them."""
        shorter = max((span for span in self.spans if span < run.span), default=None)
        reached = run.first
        parts = []
        if shorter is not None and run.first + shorter <= closed:
            reached = closed - closed % shorter
            starts = ", ".join(map(str, range(run.first, reached, shorter)))
            of_shorter = f"FROM {self.table.name} WHERE span = {shorter} AND start IN ({starts})"
            parts.append(f"SELECT {keys}, attempts {of_shorter}")
        days = f"FROM {COUNT.name} WHERE span = 1 AND start >= {reached} AND start < {run.before}"
        return " UNION ALL ".join([*parts, f"SELECT {keys}, attempts {days}"])

    def add(self, driver: Driver, late: Late) -> None:
        """Add up and add."""
        cell_of = itemgetter(*(COLUMNS.index(dimension.key) for dimension in self.dimensions))
        rows: list[Row] = []
        for run, counts in late.items():
            found: Counter[tuple[int, ...]] = Counter()
            for row in counts:
                found[cell_of(row)] += int(str(row[-1]))
            rows += [(run.span, run.first, *cell, attempts) for cell, attempts in sorted(found.items())]
        driver.insert(_BY_DEVICE_FILE, rows)


def _move(driver: Driver, *, statement: str, bounds: Row) -> None:
    driver.run(statement, [bounds])


def adding(table: sa.Table) -> Target:
    """Return what adds to the counts of a table."""
    keys = ", ".join(column.name for column in table.primary_key)
    total = f"{table.name}.attempts + excluded.attempts"
    columns = tuple(column.name for column in table.c)
    conflict = f"ON CONFLICT ({keys}) DO UPDATE SET attempts = {total}"
    return Target(table.name, columns, conflict=conflict, numbers=True)


_BY_DEVICE_FILE = adding(COUNT_BY_DEVICE_FILE)
MAKERS: Sequence[Maker] = (CountsByDeviceFile(), ObstacleSets(), LateToSets())
"""Whatever is made when a span is closed, and forgotten with other counts."""


def add_late(driver: Driver, counts: Sequence[Row], closed: int) -> None:
    """Add those of some counts that are of closed days to what was made of the spans that hold these days.

    They are by all `COLUMNS`, in the order of the days.
    """
    late: dict[Run, list[Row]] = {}
    for row in takewhile(lambda row: int(str(row[1])) < closed, counts):
        for run in closed_over(int(str(row[1])), closed, SPANS):
            late.setdefault(run, []).append(row)
    for maker in MAKERS if late else ():
        # All spans at once: a device that was away for months brings something of many.
        if mine := {run: some for run, some in late.items() if run.span in maker.spans}:
            maker.add(driver, mine)
