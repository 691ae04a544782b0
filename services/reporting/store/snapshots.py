"""Read all attempts of a question as they were when the walk began, in many short transactions.

What was stored since then is told by the number of its transaction. A transaction that stayed open as long as somebody takes
would keep SQLite's log from being emptied and PostgreSQL's dead rows from being removed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import sqlalchemy as sa

from services._chassis.db import Database
from services.reporting.model.reports import Question
from services.reporting.store.attempts import conditions, shown
from services.reporting.store.raw import raw_rows
from services.reporting.store.tables import ATTEMPT
from services.reporting.store.unbroken import unbroken

MOST_ATTEMPTS = 5000
MOST_BYTES = 8 * 1024 * 1024
"""What one read returns at most: attempts may be large."""

FETCHED = 100
"""Attempts that are fetched at a time, and that a read may return beyond its bytes."""

MOST_READS = 2
"""Reads at a time: exports leave the connections to others."""

_A = ATTEMPT.c


AttemptRow = tuple[str, str, str, str, int, int, bytes, int | None]
"""One attempt as the driver returns it, by `SHOWN`: a plain tuple, which costs least of all; times are microseconds since 1970."""

SHOWN = ("event_id", "attempt_id", "device_id", "device_name", "occurred", "received", "body", "exit_code")
"""The columns of a row."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there was when a walk began: up to which transaction, and how many attempts."""

    stored: int
    total: int


class SqlSnapshots:
    """Read on SQLite or PostgreSQL."""

    def __init__(self, database: Database, *, most_attempts: int = MOST_ATTEMPTS, most_bytes: int = MOST_BYTES) -> None:
        self._database = database
        self._most_attempts = most_attempts
        self._most_bytes = most_bytes
        self._reading = asyncio.Semaphore(MOST_READS)

    @unbroken
    async def begin(self, question: Question) -> Snapshot:
        """Return what there is now."""
        counted = sa.select(sa.func.count()).select_from(ATTEMPT).where(*conditions(question))
        async with self._reading, self._database.read() as tx:
            return Snapshot(await tx.current_revision(), int((await tx.execute(counted)).scalar_one()))

    @unbroken
    async def page(
        self, question: Question, snapshot: Snapshot, after: AttemptRow | None, *, newest_first: bool
    ) -> list[AttemptRow]:
        """Return the next attempts of the snapshot; none at its end."""
        place = sa.tuple_(_A.occurred, _A.event_id)
        directions = [column.desc() if newest_first else column for column in (_A.occurred, _A.event_id)]
        asked = shown(snapshot.stored).where(*conditions(question), _A.stored <= snapshot.stored).order_by(*directions)
        if after is not None:
            last = sa.tuple_(sa.literal(after[_OCCURRED]), sa.literal(after[_EVENT_ID]))
            asked = asked.where(place < last if newest_first else place > last)
        found: list[AttemptRow] = []
        size = 0
        async with self._reading, self._database.read() as tx, raw_rows(tx, asked.limit(self._most_attempts)) as rows:
            while size < self._most_bytes and (part := await rows(FETCHED)):
                found += cast("Sequence[AttemptRow]", part)
                size += sum(len(row[_BODY]) for row in part)
        return found


_EVENT_ID, _OCCURRED, _BODY = (SHOWN.index(name) for name in ("event_id", "occurred", "body"))
