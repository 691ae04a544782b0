"""Read events in the order in which they were stored, a little at a time: no reader holds anything up."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services._chassis.paging import PageRequest
from services.reporting.model import live
from services.reporting.model.events import microseconds
from services.reporting.model.live import Completion, Cursor, Passage, Statement
from services.reporting.model.reports import Question
from services.reporting.store import kinds as of_kind
from services.reporting.store.attempts import elevation_of
from services.reporting.store.tables import ATTEMPT, COMPLETION, DIAGNOSTIC
from services.reporting.store.unbroken import unbroken

MOST_EVENTS = 100
"""Events that are read in one go: with their evidence they may be large."""

MOST_POSITIONS = 50
"""Positions that are read in one go: of a filter that finds nothing, too, every read is short."""

MOST_READS = 2
"""Reads at a time: those who read along leave the connections to others."""

LIGHT = 8 * 1024
"""Bytes that an event without evidence takes at most."""

UNEVEN = timedelta(minutes=1)
"""How far apart two events may be received that are stored in the other order."""

_TABLES: Final[Mapping[str, sa.Table]] = MappingProxyType(
    {live.ATTEMPT: ATTEMPT, live.COMPLETION: COMPLETION, live.DIAGNOSTIC: DIAGNOSTIC}
)


class _Found(NamedTuple):
    """An event, its place in the order, its kind, and how many bytes it takes."""

    place: Cursor
    kind: str
    row: sa.RowMapping
    weight: int


class SqlStored:
    """Read along on SQLite or PostgreSQL."""

    def __init__(
        self, database: Database, *, most_events: int = MOST_EVENTS, most_positions: int = MOST_POSITIONS
    ) -> None:
        self._database = database
        self._most_events = most_events
        self._most_positions = most_positions
        self._reading = asyncio.Semaphore(MOST_READS)

    @unbroken
    async def newest(self) -> int:
        """Return the position up to which everything is there."""
        return await self._database.current_revision()

    @unbroken
    async def before(self, question: Question, kinds: frozenset[str] = live.ATTEMPTS_ALONE) -> Cursor:
        """Return the cursor before the first event of the question's span of time; behind everything where none is."""
        start = question.filter.occurred_from
        if start is None:
            return Cursor.behind(await self.newest())
        async with self._reading, self._database.read() as tx:
            found = [
                (
                    await tx.execute(
                        sa.select(sa.func.min(table.c.stored)).where(table.c.occurred >= microseconds(start))
                    )
                ).scalar()
                for table in (_TABLES[kind] for kind in sorted(kinds))
            ]
            return await _first_of(tx, found)

    @unbroken
    async def since(self, received: datetime) -> Cursor:
        """Return the cursor before the first event that was stored at or after a time; behind everything where none is."""
        async with self._reading, self._database.read() as tx:
            return await _first_of(tx, [await _position(tx, table, received) for table in _TABLES.values()])

    @unbroken
    async def passage(self, question: Question, cursor: Cursor, kinds: frozenset[str] = live.ATTEMPTS_ALONE) -> Passage:
        """Return the next events of these kinds behind the cursor, as many as one message takes."""
        async with self._reading, self._database.read() as tx:
            # Read in one state of the data: what it shows of the revision is committed, and all before it.
            newest = await tx.current_revision()
            end = min(newest, cursor.position + self._most_positions)
            found = [one for kind in sorted(kinds) for one in await self._next(tx, kind, question, (cursor, end))]
        found.sort(key=lambda one: one.place)
        fit = PageRequest(self._most_events).fitting(one.weight for one in found).size
        while fit < len(found) and found[fit].place == found[fit - 1].place:
            fit += 1
        reached = found[fit - 1].place if len(found) > fit else max(Cursor.behind(end), cursor)
        return _passage(found[:fit], reached, more=len(found) > fit or end < newest)

    async def _next(self, tx: Transaction, kind: str, question: Question, span: tuple[Cursor, int]) -> list[_Found]:
        cursor, end = span
        events = _TABLES[kind].c
        place = (events.stored, events.journal_key, events.seq)
        behind = sa.tuple_(*place) > sa.tuple_(*map(sa.literal, cursor))
        asked = (
            of_kind.SELECTS[kind](question)
            .add_columns(*place)
            .where(events.stored >= cursor.position, events.stored <= end, behind)
            .order_by(*place)
            .limit(self._most_events + 1)
        )
        rows = (await tx.execute(asked)).mappings().all()
        return [
            _Found(
                Cursor(row["stored"], row["journal_key"], row["seq"]),
                kind,
                row,
                len(row["body"]) if kind == live.ATTEMPT else LIGHT,
            )
            for row in rows
        ]


def _passage(found: Sequence[_Found], reached: Cursor, *, more: bool) -> Passage:
    def rows(kind: str) -> list[sa.RowMapping]:
        return [one.row for one in found if one.kind == kind]

    completions: tuple[Completion, ...] = tuple(map(of_kind.completion_of, rows(live.COMPLETION)))
    statements: tuple[Statement, ...] = tuple(map(of_kind.statement_of, rows(live.DIAGNOSTIC)))
    return Passage(tuple(map(elevation_of, rows(live.ATTEMPT))), reached, more, completions, statements)


async def _first_of(tx: Transaction, positions: Sequence[Any]) -> Cursor:
    found = [position for position in positions if position is not None]
    return Cursor(min(found)) if found else Cursor.behind(await tx.current_revision())


async def _position(tx: Transaction, table: sa.Table, received: datetime) -> int | None:
    """Return the position of the first event of a kind that was stored at or after a time.

    Positions follow the time of arrival, but for what waited for its commit; what was there before it was numbered has the
    position 0, in any order.
    """
    events, time = table.c, microseconds(received)
    unnumbered = sa.select(events.stored).where(events.stored == 0, events.received >= time).limit(1)
    if table is ATTEMPT and (await tx.execute(unnumbered)).first() is not None:
        return 0
    low, high, roughly = 1, await tx.current_revision() + 1, microseconds(received - UNEVEN)
    while low < high:
        middle = (low + high) // 2
        asked = sa.select(events.received).where(events.stored >= middle).order_by(events.stored).limit(1)
        arrived = (await tx.execute(asked)).scalar()
        low, high = (middle + 1, high) if arrived is not None and arrived < roughly else (low, middle)
    first = sa.select(events.stored).where(events.stored >= low, events.received >= time)
    return (await tx.execute(first.order_by(events.stored).limit(1))).scalar()
