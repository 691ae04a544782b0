"""Make the sets from which obstacles are told, when a span is closed, and add to them what comes late.

- What comes late is noted as it is, a row for each file, user and device: the sink must not read and write whole sets. Readers add
  these rows; from time to time they are folded into the sets.
- Adding something twice changes nothing. So it does no harm that what was left of a closing, or what is in the sets already,
  stands among what came late, as long as it is true.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import cast

from services.reporting.model.obstacles import NOTHING, Sets, of_pairs, packed, united, unpacked
from services.reporting.model.rollups import SPANS, Run, covering
from services.reporting.store.driver import Driver
from services.reporting.store.rows import Row, Target
from services.reporting.store.tables import COUNT, COUNT_UNMANAGED, OBSTACLE_LATE, OBSTACLE_SETS

Both = tuple[Sets, Sets]
"""The sets of users and those of devices."""
COLUMNS = tuple(column.name for column in COUNT.c)
"""The columns of the counts of days, the first things that are counted by everything."""
FEW = 500
"""Rows that came late to a span and are left to its readers."""
MOST_FOLDED = 20_000

_KEYS = "file_key, user_key, device_key"
_cell_of = itemgetter(*map(COLUMNS.index, _KEYS.split(", ")))
_DECISION = COLUMNS.index("decision_key")
_LATE = Target(OBSTACLE_LATE.name, tuple(OBSTACLE_LATE.c.keys()), numbers=True)
_MANAGED = "SELECT decision_key FROM reporting_known_decision WHERE managed"
_OF_DAYS = f"SELECT {_KEYS} FROM {COUNT_UNMANAGED.name} WHERE span = 1 AND start >= ? AND start < ?"  # noqa: S608 - our own names
_OF_LATE = f"SELECT {_KEYS} FROM {_LATE.name} WHERE span = ? AND start >= ? AND start < ?"  # noqa: S608 - our own names
_OF_SPANS = f"SELECT users, devices FROM {OBSTACLE_SETS.name} WHERE span = ? AND start >= ? AND start < ?"  # noqa: S608 - our own names
_INSERT = f"INSERT INTO {OBSTACLE_SETS.name} (users, devices, digest, span, start) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - our own names
_TOUCH = f"{_INSERT} ON CONFLICT (span, start) DO UPDATE SET span = excluded.span"
_SOME = f"SELECT {_KEYS} FROM {_LATE.name} WHERE span = ? AND start = ? LIMIT {MOST_FOLDED}"  # noqa: S608 - our own names
_TAKE = f"DELETE FROM {_LATE.name} WHERE span = ? AND start = ? AND ({_KEYS}) IN ({_SOME}) RETURNING {_KEYS}"  # noqa: S608 - our own names
_OVERDUE = (
    f"SELECT span, start FROM {_LATE.name}"  # noqa: S608 - our own names
    " WHERE start + span <= (SELECT closed_before FROM reporting_horizon WHERE id = 1)"
    " GROUP BY span, start HAVING COUNT(*) > ?"
)
_UPDATE = f"UPDATE {OBSTACLE_SETS.name} SET users = ?, devices = ?, digest = ? WHERE span = ? AND start = ?"  # noqa: S608 - our own names


class ObstacleSets:
    """Make sets of users and devices by file, of unmanaged attempts."""

    table = OBSTACLE_SETS
    spans = SPANS

    def gather(self, driver: Driver, run: Run, closed: int, step: int) -> Iterator[Callable[[Driver], object]]:  # noqa: ARG002 - one row
        """Unite the sets of the closed spans in it with the counts of the days that are none of these."""
        reached = max(run.first, min(run.before, closed))
        parts = [_counted(driver.fetch(_OF_DAYS, (reached, run.before)))]
        shorter = tuple(span for span in SPANS if span < run.span)
        for one in covering(run.first, reached, shorter) if shorter else ():
            within = (one.span, one.first, one.before)
            parts += [_kept(row) for row in driver.fetch(_OF_SPANS, within)]
            parts.append(_counted(driver.fetch(_OF_LATE, within)))
        row = (*_packed(parts), run.span, run.first)
        yield lambda driver: driver.run(_INSERT, [row])

    def add(self, driver: Driver, late: Mapping[Run, Sequence[Row]]) -> None:
        """Note what is unmanaged."""
        managed = {row[0] for row in driver.fetch(_MANAGED, ())}
        rows: list[Row] = []
        for run, counts in late.items():
            cells = {_cell_of(row) for row in counts if row[_DECISION] not in managed}
            rows += [(run.span, run.first, *cell) for cell in sorted(cells)]
        if rows:
            driver.insert(_LATE, rows)


class LateToSets:
    """Keep what came late to the sets as long as these: it is cleared and purged with what is made, and is made of nothing."""

    table = OBSTACLE_LATE
    spans = SPANS

    def gather(self, *_of_a_span: object) -> Iterator[Callable[[Driver], object]]:
        """Make nothing."""
        return iter(())

    def add(self, *_what_came_late: object) -> None:
        """Leave it to the sets, which know what is unmanaged."""


def overdue(driver: Driver, few: int = FEW) -> Sequence[tuple[int, int]]:
    """Return the closed spans, by length and start, to which more came late than is left to readers."""
    return cast("list[tuple[int, int]]", driver.fetch(_OVERDUE, (few,)))


def fold(driver: Driver, span: int, start: int) -> None:
    """Fold what came late into the sets of a closed span; they are as they were for whoever reads meanwhile."""
    # Nobody else folds the same span before this transaction ends: whoever tries waits for the first statement.
    driver.run(_TOUCH, [(*_packed([_counted(())]), span, start)])
    late = _counted(driver.fetch(_TAKE, (span, start, span, start)))
    values = _packed([*(_kept(row) for row in driver.fetch(_OF_SPANS, (span, start, start + 1))), late])
    driver.run(_UPDATE, [(*values, span, start)])


def _counted(rows: Iterable[Row]) -> Both:
    found = cast("list[tuple[int, int, int]]", list(rows))
    if not found:
        return NOTHING, NOTHING
    return of_pairs((file, user) for file, user, _ in found), of_pairs((file, device) for file, _, device in found)


def _kept(row: Row) -> Both:
    users, devices = cast("tuple[bytes, bytes]", row)
    return unpacked(users), unpacked(devices)


def _packed(parts: Sequence[Both]) -> tuple[bytes, bytes, str]:
    users, devices = (packed(united(sets)) for sets in zip(*parts, strict=True))
    return users, devices, hashlib.sha256(users + devices).hexdigest()
