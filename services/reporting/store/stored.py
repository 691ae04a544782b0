"""Read attempts in the order in which they were stored, a little at a time: no reader holds anything up."""

import asyncio

import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.paging import PageRequest
from services.reporting.model.events import microseconds
from services.reporting.model.live import Cursor, Passage
from services.reporting.model.reports import Question
from services.reporting.store.attempts import conditions, elevation_of, shown
from services.reporting.store.tables import ATTEMPT
from services.reporting.store.unbroken import unbroken

MOST_ATTEMPTS = 100
"""Attempts that are read in one go: with their evidence they may be large."""

MOST_POSITIONS = 50
"""Positions that are read in one go: of a filter that finds nothing, too, every read is short."""

MOST_READS = 2
"""Reads at a time: those who read along leave the connections to others."""

_A = ATTEMPT.c
_PLACE = (_A.stored, _A.journal_key, _A.seq)


class SqlStored:
    """Read along on SQLite or PostgreSQL."""

    def __init__(
        self, database: Database, *, most_attempts: int = MOST_ATTEMPTS, most_positions: int = MOST_POSITIONS
    ) -> None:
        self._database = database
        self._most_attempts = most_attempts
        self._most_positions = most_positions
        self._reading = asyncio.Semaphore(MOST_READS)

    @unbroken
    async def newest(self) -> int:
        """Return the position up to which everything is there."""
        return await self._database.current_revision()

    @unbroken
    async def before(self, question: Question) -> Cursor:
        """Return the cursor before the first attempt of the question's span of time; behind everything where none is."""
        start = question.filter.occurred_from
        if start is None:
            return Cursor.behind(await self.newest())
        first = sa.select(sa.func.min(_A.stored)).where(_A.occurred >= microseconds(start))
        async with self._reading, self._database.read() as tx:
            position = (await tx.execute(first)).scalar()
            return Cursor.behind(await tx.current_revision()) if position is None else Cursor(position)

    @unbroken
    async def passage(self, question: Question, cursor: Cursor) -> Passage:
        """Return the next attempts behind the cursor, as many as one message takes."""
        async with self._reading, self._database.read() as tx:
            # Read in one state of the data: what it shows of the revision is committed, and all before it.
            newest = await tx.current_revision()
            end = min(newest, cursor.position + self._most_positions)
            place = sa.tuple_(*map(sa.literal, cursor))
            asked = (
                shown()
                .add_columns(*_PLACE)
                .where(
                    *conditions(question), _A.stored >= cursor.position, _A.stored <= end, sa.tuple_(*_PLACE) > place
                )
                .order_by(*_PLACE)
                .limit(self._most_attempts + 1)
            )
            rows = (await tx.execute(asked)).mappings().all()
        fit = PageRequest(self._most_attempts).fitting(len(row["body"]) for row in rows).size
        if len(rows) > fit:
            last = rows[fit - 1]
            reached = Cursor(last["stored"], last["journal_key"], last["seq"])
        else:
            reached = max(Cursor.behind(end), cursor)
        return Passage(tuple(map(elevation_of, rows[:fit])), reached, more=len(rows) > fit or end < newest)
