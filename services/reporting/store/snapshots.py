"""Read all attempts of a question as they were when the walk began, in many short transactions.

What was stored since then is told by the number of its transaction. A transaction that stayed open as long as somebody takes
would keep SQLite's log from being emptied and PostgreSQL's dead rows from being removed.

A read asks for bodies up to a size alone, so that all of its rows may come at once. Of larger ones a few are read after that, and
the read ends before the next.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services.reporting.model.reports import Question
from services.reporting.store.attempts import conditions
from services.reporting.store.listed import listed, listed_numbers
from services.reporting.store.raw import raw_rows
from services.reporting.store.tables import ATTEMPT, COMPLETION, KNOWN_DEVICE
from services.reporting.store.unbroken import unbroken

MOST_ATTEMPTS = 4000
"""What one read returns at most."""

LARGE = 4096
"""Bytes of a body that is read by itself."""

MOST_LARGE = 100
"""Of such attempts what one read returns at most."""

MOST_READS = 2
"""Reads at a time: exports leave the connections to others."""

_A = ATTEMPT.c
_C = COMPLETION.c
_D = KNOWN_DEVICE.c
_PLACE = (_A.occurred, _A.event_id)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there was when a walk began: up to which transaction, and how many attempts."""

    stored: int
    total: int


@dataclass(frozen=True, slots=True)
class Attempts:
    """Some attempts, a column after the other: so they cost least of all. Times are microseconds since 1970."""

    event_id: Sequence[str] = ()
    attempt_id: Sequence[str] = ()
    device_id: Sequence[str] = ()
    device_name: Sequence[str] = ()
    occurred: Sequence[int] = ()
    received: Sequence[int] = ()
    body: Sequence[bytes] = ()
    exit_code: Sequence[int | None] = ()

    def part(self, start: int, end: int) -> "Attempts":
        """Return those from one place up to another."""
        return Attempts(
            self.event_id[start:end],
            self.attempt_id[start:end],
            self.device_id[start:end],
            self.device_name[start:end],
            self.occurred[start:end],
            self.received[start:end],
            self.body[start:end],
            self.exit_code[start:end],
        )


class SqlSnapshots:
    """Read on SQLite or PostgreSQL."""

    def __init__(self, database: Database, *, most_attempts: int = MOST_ATTEMPTS) -> None:
        self._database = database
        self._most_attempts = most_attempts
        self._reading = asyncio.Semaphore(MOST_READS)

    @unbroken
    async def begin(self, question: Question) -> Snapshot:
        """Return what there is now."""
        counted = sa.select(sa.func.count()).select_from(ATTEMPT).where(*conditions(question))
        async with self._reading, self._database.read() as tx:
            return Snapshot(await tx.current_revision(), int((await tx.execute(counted)).scalar_one()))

    @unbroken
    async def page(
        self, question: Question, snapshot: Snapshot, after: Attempts | None, *, newest_first: bool
    ) -> Attempts | None:
        """Return the next attempts of the snapshot, behind those; None at its end."""
        directions = [column.desc() if newest_first else column for column in _PLACE]
        small = sa.case((sa.func.length(_A.body) < LARGE, _A.body))
        columns = (_A.event_id, _A.attempt_id, _A.device_key, _A.occurred, _A.received)
        # Where the last read ended at large ones, more would be looked at in vain.
        most = self._most_attempts if after is None else min(self._most_attempts, max(MOST_LARGE, 2 * len(after.body)))
        asked = sa.select(*columns, small.label("body")).order_by(*directions).limit(most)
        asked = asked.where(*conditions(question), _A.stored <= snapshot.stored)
        if after is not None:
            place, last = sa.tuple_(*_PLACE), sa.tuple_(sa.literal(after.occurred[-1]), sa.literal(after.event_id[-1]))
            asked = asked.where(place < last if newest_first else place > last)
        async with self._reading, self._database.read() as tx:
            rows = await raw_rows(tx, asked)
            return await _whole(tx, rows, snapshot) if rows else None


async def _whole(tx: Transaction, rows: Sequence[tuple[Any, ...]], snapshot: Snapshot) -> Attempts:
    """Return the first attempts with all that is shown of them."""
    event_id, attempt_id, key, occurred, received, body = map(list, zip(*rows, strict=True))
    large = [place for place, one in enumerate(body) if one is None]
    end = large[MOST_LARGE] if len(large) > MOST_LARGE else len(body)
    if large:
        bodies = await _bodies(tx, [event_id[place] for place in large[:MOST_LARGE]])
        for place in large[:MOST_LARGE]:
            body[place] = bodies[event_id[place]]
    names = await _names(tx, set(key[:end]))
    told = [names[one] for one in key[:end]]
    device_id = [one[0] for one in told]
    exit_codes = await _exit_codes(tx, attempt_id[:end], snapshot)
    return Attempts(
        event_id[:end],
        attempt_id[:end],
        device_id,
        [one[1] for one in told],
        occurred[:end],
        received[:end],
        body[:end],
        list(map(exit_codes.get, zip(attempt_id, device_id, strict=False))) if exit_codes else [*repeat(None, end)],
    )


async def _bodies(tx: Transaction, event_ids: Sequence[str]) -> Mapping[str, bytes]:
    return dict(await raw_rows(tx, sa.select(_A.event_id, _A.body).where(_A.event_id.in_(event_ids))))


async def _names(tx: Transaction, keys: set[int]) -> Mapping[int, tuple[str, str]]:
    asked = sa.select(_D.device_key, _D.device_id, _D.device_name).where(_D.device_key.in_(listed_numbers(keys)))
    return {key: (device_id, name) for key, device_id, name in await raw_rows(tx, asked)}


async def _exit_codes(tx: Transaction, attempt_ids: Sequence[str], snapshot: Snapshot) -> Mapping[tuple[str, str], int]:
    """Return how attempts ended, by device too, so that no device speaks about another's attempt."""
    asked = (
        sa.select(_C.attempt_id, _C.device_id, _C.exit_code)
        .where(_C.attempt_id.in_(listed(attempt_ids)), _C.stored <= snapshot.stored)
        # Of several the first that came counts, as everywhere: it is the last one here.
        .order_by(_C.received.desc(), _C.event_id.desc())
    )
    return {(attempt_id, device_id): code for attempt_id, device_id, code in await raw_rows(tx, asked)}
