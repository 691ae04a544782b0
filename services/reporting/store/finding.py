"""Find the attempts of a page by what a question narrows most: counts tell on which days there is how much of it.

- Days are looked at in the order of the list, a few at first and then more and more. Of each the counts say how many attempts
  there are at most; days without any are passed over, and no more are read than fill the page.
- Where a day has few, they are found by the index of what was counted: a user's, a device's or a file's. Where it has many, the
  page is full after a short walk along the times.
- Attempts that are asked for by name are few: they are read by their index, and no counts are looked at.
- INVARIANT: what is found does not depend on which way is taken. Days whose counts are gone are walked along.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services._chassis.ordering import Order
from services._chassis.paging import PageRequest
from services.reporting.model.reports import Question
from services.reporting.model.rollups import DAY, day_of
from services.reporting.store import tables
from services.reporting.store.attempts import named
from services.reporting.store.dimensions import DEVICE, FILE, RULE, USER, Dimension
from services.reporting.store.narrowing import Window, members, window_of
from services.reporting.store.rollups import ROLLUPS, Rollup
from services.reporting.store.tables import ATTEMPT, HORIZON

_A = ATTEMPT.c
_BY_TABLE = {rollup.table: rollup for rollup in ROLLUPS}
_WHOLE = _BY_TABLE[tables.COUNT]
_BY_FILE = _BY_TABLE[tables.COUNT_BY_FILE]
_BY_USER = _BY_TABLE[tables.COUNT_BY_USER]
_BY_DEVICE = _BY_TABLE[tables.COUNT_BY_DEVICE]
_SHORT = tuple(rollup for rollup in ROLLUPS if rollup is not _WHOLE and not rollup.unmanaged_only)
FIRST_DAYS, MORE_DAYS = 4, 4
"""Days that are looked at first, and how many times as many each time after that."""


@dataclass(frozen=True, slots=True)
class Few:
    """Say what is few."""

    keys: int = 300
    """Numbers that are named one by one; more are left to the database."""
    attempts: int = 4000
    """Attempts that are sooner read and sorted than found along the times."""


FEW = Few()
Keys = Mapping[Dimension, Sequence[int] | sa.Select[Any]]


@dataclass(frozen=True, slots=True)
class _Guide:
    """Counts that say how many attempts a day has at most, by the dimensions that they know."""

    rollup: Rollup
    exact: bool

    def bounds(self, keys: Keys, days: Sequence[int]) -> sa.Select[Any]:
        """Select how many there are on each of the days."""
        counts = self.rollup.table.c
        narrow = [counts[one.key].in_(keys[one]) for one in self.rollup.dimensions if one in keys]
        first = keys.get(self.rollup.dimensions[0])
        within = counts.start.between(min(days), max(days)) if isinstance(first, sa.Select) else counts.start.in_(days)
        return (
            sa.select(counts.start, sa.func.sum(counts.attempts).label("attempts"))
            .where(counts.span == 1, within, *narrow)
            .group_by(counts.start)
        )


def _cells(keys: Keys, days: Sequence[int]) -> sa.ColumnElement[bool]:
    """Return what finds the attempts of these days by the cells of files, rules and decisions that were counted."""
    cells = _BY_FILE.table.c
    parts = [cells[one.key] for one in _BY_FILE.dimensions]
    narrow = [cells[one.key].in_(keys[one]) for one in _BY_FILE.dimensions if one in keys]
    there = sa.select(cells.start, *parts).where(cells.span == 1, cells.start.in_(days), *narrow)
    return sa.tuple_(_A.day, *(_A[one.key] for one in _BY_FILE.dimensions)).in_(there)


class Finder:
    """Find the attempts of one page."""

    def __init__(self, tx: Transaction, question: Question, page: PageRequest, order: Order, *, few: Few = FEW) -> None:
        self._tx = tx
        self._window = window_of(question)
        self._narrowed = members(question)
        self._named = named(question)
        self._page = page
        self._descending = order.descending
        self._few = few
        self._found: list[str] = []

    async def find(self) -> Sequence[str]:
        """Return the ids of the attempts, in order, and one more where there are more than fit."""
        if self._named:
            narrow = [_A[dimension.key].in_(wanted) for dimension, wanted in self._narrowed.items()]
            await self._sort([*self._named, *narrow])
            return self._found
        if not self._narrowed:
            await self._walk(self._window, [])
            return self._found
        keys = {dimension: await self._keys(wanted) for dimension, wanted in self._narrowed.items()}
        narrow = [_A[dimension.key].in_(wanted) for dimension, wanted in keys.items()]
        counted = (await self._tx.execute(sa.select(HORIZON.c.counts_before))).scalar_one()
        end = self._window.end
        uncounted = Window(self._window.start, counted * DAY if end is None else min(end, counted * DAY))
        if not self._descending:
            await self._walk(uncounted, narrow)
        for days in batches(await self._days(counted), descending=self._descending):
            if self._wanted <= 0:
                return self._found
            await self._look_at(days, keys, narrow)
        if self._descending and self._wanted > 0:
            await self._walk(uncounted, narrow)
        return self._found

    @property
    def _wanted(self) -> int:
        return self._page.size + 1 - len(self._found)

    async def _keys(self, wanted: sa.Select[Any]) -> Sequence[int] | sa.Select[Any]:
        few = (await self._tx.execute(wanted.limit(self._few.keys + 1))).scalars().all()
        return wanted if len(few) > self._few.keys else few

    async def _days(self, counted: int) -> range:
        """Return the days on which there are events that the page may show."""
        within = await days_with_events(self._tx, self._window)
        if not within:
            return within
        first, last = max(counted, within.start), within.stop - 1
        if self._page.after:
            reached = day_of(int(self._page.after[0]))
            first, last = (first, min(last, reached)) if self._descending else (max(first, reached), last)
        return range(first, last + 1)

    async def _look_at(self, days: Sequence[int], keys: Keys, narrow: Sequence[sa.ColumnElement[bool]]) -> None:
        guide, bounds = await self._guided(days, keys)
        few: list[int] = []
        at_most = 0
        for day in (day for day in days if bounds.get(day)):
            if self._wanted <= 0:
                return
            if guide.exact and at_most + bounds[day] > self._few.attempts:
                await self._read(few, guide, keys, narrow)
                few, at_most = [], 0
                if self._wanted > 0:
                    await self._walk(self._within(day), narrow)
                continue
            few.append(day)
            at_most += bounds[day]
            if at_most >= (self._wanted if guide.exact else self._few.attempts):
                await self._read(few, guide, keys, narrow)
                few, at_most = [], 0
        await self._read(few, guide, keys, narrow)

    async def _guided(self, days: Sequence[int], keys: Keys) -> tuple[_Guide, Mapping[int, int]]:
        """Return the counts that promise the least, and what they promise of each day."""
        best: tuple[_Guide, Mapping[int, int]] | None = None
        for guide in _guides(keys):
            rows = await self._tx.execute(guide.bounds(keys, days))
            bounds = {int(row.start): int(row.attempts) for row in rows}
            if best is None or sum(bounds.values()) < sum(best[1].values()):
                best = guide, bounds
            if sum(bounds.values()) <= self._few.attempts:
                break
        if best is None:
            raise ValueError("every dimension must be counted by")
        return best

    async def _read(
        self, days: Sequence[int], guide: _Guide, keys: Keys, narrow: Sequence[sa.ColumnElement[bool]]
    ) -> None:
        """Read the attempts of these days by an index, and sort them."""
        if not days or self._wanted <= 0:
            return
        await self._sort([*await self._place(days, guide, keys), *narrow])

    async def _sort(self, place: Sequence[sa.ColumnElement[bool]]) -> None:
        """Read all attempts of a place, and sort them."""
        place = [*place, *self._window.of(_A.occurred), *self._behind()]
        there = sa.select(_A.occurred, _A.event_id).where(*place).cte("there")
        # Read as a whole: else the order would lure the database into a walk along the times.
        there = there.prefix_with("MATERIALIZED")
        await self._add(sa.select(there.c.event_id).order_by(*self._turned(there.c)))

    async def _place(self, days: Sequence[int], guide: _Guide, keys: Keys) -> list[sa.ColumnElement[bool]]:
        """Return what finds the attempts of these days by the index that has the fewest of them to read."""
        if guide.rollup not in {_BY_USER, _BY_DEVICE, _WHOLE}:
            return [_cells(keys, days)]
        in_cells = {one: keys[one] for one in _BY_FILE.dimensions if one in keys}
        if not in_cells or (FILE in keys and guide.rollup is _BY_DEVICE):
            # The index of devices knows their files too.
            return [_A.day.in_(days)]
        others = [await self._promised(days, {one: keys[one]}) for one in (USER, DEVICE) if one in keys]
        return [_cells(keys, days) if await self._promised(days, in_cells) < min(others) else _A.day.in_(days)]

    async def _promised(self, days: Sequence[int], keys: Keys) -> int:
        """Return how many attempts there are on these days, of what short counts know."""
        rollup = next(one for one in _SHORT if keys.keys() <= set(one.dimensions))
        bounds = await self._tx.execute(_Guide(rollup, exact=True).bounds(keys, days))
        return sum(int(row.attempts) for row in bounds)

    async def _walk(self, window: Window, narrow: Sequence[sa.ColumnElement[bool]]) -> None:
        """Walk along the times until the page is full."""
        place = [*window.of(_A.occurred), *narrow, *self._behind()]
        await self._add(sa.select(_A.event_id).where(*place).order_by(*self._turned(_A)))

    async def _add(self, statement: sa.Select[Any]) -> None:
        self._found += (await self._tx.execute(statement.limit(self._wanted))).scalars().all()

    def _within(self, day: int) -> Window:
        start, end = day * DAY, (day + 1) * DAY
        return Window(
            start if self._window.start is None else max(start, self._window.start),
            end if self._window.end is None else min(end, self._window.end),
        )

    def _behind(self) -> list[sa.ColumnElement[bool]]:
        if not self._page.after:
            return []
        here, last = sa.tuple_(_A.occurred, _A.event_id), sa.tuple_(*map(sa.literal, self._page.after))
        return [here < last if self._descending else here > last]

    def _turned(self, columns: Any) -> list[sa.ColumnElement[Any]]:
        by = (columns.occurred, columns.event_id)
        return [column.desc() for column in by] if self._descending else list(by)


def _guides(keys: Keys) -> Iterator[_Guide]:
    """Yield the counts that know everything that is asked; where no short ones do, those that know a part of it first."""
    for rollup in _SHORT:
        if keys.keys() <= set(rollup.dimensions):
            yield _Guide(rollup, exact=True)
            return
    for rollup, known in ((_BY_USER, {USER}), (_BY_FILE, {FILE, RULE}), (_BY_DEVICE, {DEVICE})):
        if keys.keys() & known:
            yield _Guide(rollup, exact=False)
    if isinstance(keys.get(USER), list):
        yield _Guide(_WHOLE, exact=True)


async def days_with_events(tx: Transaction, window: Window) -> range:
    """Return the days from the oldest event of a window to its newest one."""
    times = sa.select(_A.occurred).where(*window.of(_A.occurred)).limit(1)
    oldest = (await tx.execute(times.order_by(_A.occurred))).scalar()
    newest = (await tx.execute(times.order_by(_A.occurred.desc()))).scalar()
    return range(0) if oldest is None or newest is None else range(day_of(oldest), day_of(newest) + 1)


def batches(days: range, *, descending: bool, size: int = FIRST_DAYS) -> Iterator[Sequence[int]]:
    """Yield the days in order, a few at first and then more and more."""
    left = list(reversed(days)) if descending else list(days)
    while left:
        yield left[:size]
        left = left[size:]
        size *= MORE_DAYS
