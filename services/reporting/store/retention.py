"""Delete what retention no longer keeps, a little at a time: ingest waits for one step at most.

- An event goes once both its time and its arrival are long enough ago: what a device could not send for weeks is still shown.
- On PostgreSQL a week of attempts that is old as a whole is dropped with its partition; what is left of a week goes in steps.
- Its place stays known: the journal keeps how far its events were purged. So an event that comes again after that is passed
  over, and not counted again; what a gap has kept open is let in.
- Counts are kept longer, by days. INVARIANT: the horizon moves before the first count goes, so that no report adds up days of
  which a part is gone. A count of an older day, of an event that came very late, goes with the next purge.
- Nothing goes while the wall clock has run ahead of the time that really passed: one wrong hour would cost everything.
- Names of users, files, devices and rules go once no count and no attempt refers to them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from services._chassis import audit_store
from services._chassis.audit import AuditEntry
from services._chassis.clock import Clock
from services._chassis.db import Database, Transaction
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services.reporting.model.events import microseconds
from services.reporting.model.rollups import day_of
from services.reporting.store import partitions
from services.reporting.store.closed import MAKERS
from services.reporting.store.forgetting import unused
from services.reporting.store.rollups import ROLLUPS
from services.reporting.store.tables import ATTEMPT, AUDIT, COMPLETION, DEAD_LETTER, DIAGNOSTIC, HORIZON, JOURNAL

log = get_logger("reporting.retention")
STEP = 2000
"""Rows of one transaction."""
BREATH = 0.05
"""Seconds between two steps, in which whoever waits for the database has their turn."""
_EVENTS = (("attempts", ATTEMPT), ("completions", COMPLETION), ("diagnostics", DIAGNOSTIC))
_COUNTS = [
    *((rollup.table, span) for rollup in ROLLUPS for span in rollup.spans),
    *((maker.table, span) for maker in MAKERS for span in maker.spans),
]
MOST_AHEAD = timedelta(days=1)
"""How far the wall clock may run ahead of the monotonic one, since the process began. A machine that slept runs ahead too."""
Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Say how long events are kept, and how long counts."""

    events: timedelta
    counts: timedelta


def ahead_of(clock: Clock) -> Callable[[], timedelta]:
    """Return what tells how far the wall clock has run ahead of the monotonic one since now."""
    wall, monotonic = clock.now(), clock.monotonic()
    return lambda: clock.now() - wall - timedelta(seconds=clock.monotonic() - monotonic)


class SqlRetention:
    """Purge on SQLite or PostgreSQL."""

    def __init__(
        self,
        database: Database,
        keep: Keep,
        now: Callable[[], datetime],
        *,
        ahead: Callable[[], timedelta] = timedelta,
        step: int = STEP,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._database = database
        self._keep = keep
        self._now = now
        self._ahead = ahead
        self._step = step
        self._pause = pause

    async def purge(self) -> None:
        """Delete everything that is old, a step a transaction, and leave a record of how much that was."""
        if (ahead := self._ahead()) > MOST_AHEAD:
            log.error(
                "clock_ran_ahead",
                seconds=int(ahead.total_seconds()),
                remedy="set the clock and restart; nothing is purged",
            )
            return
        before = microseconds(self._now() - self._keep.events)
        day = day_of(microseconds(self._now() - self._keep.counts))
        await self._move_horizon(day)
        dropped = await self._partitions(before) if self._database.on_postgresql else 0
        purged = {name: await self._all(partial(self._events, table=table, before=before)) for name, table in _EVENTS}
        purged["attempts"] += dropped
        letters = partial(self._oldest, table=DEAD_LETTER, old=DEAD_LETTER.c.received < before)
        purged["dead_letters"] = await self._all(letters)
        purged["counts"] = 0
        for table, span in _COUNTS:
            old = sa.and_(table.c.span == span, table.c.start < day)
            purged["counts"] += await self._all(partial(self._oldest, table=table, old=old))
        if purged["counts"]:
            purged["names"] = await self._names()
        if any(purged.values()):
            await self._record(purged)

    async def _all(self, step: Callable[[Transaction], Awaitable[int]]) -> int:
        total = 0
        while True:
            async with self._database.held() as tx:
                deleted = await step(tx)
            total += deleted
            if deleted < self._step:
                return total
            await self._pause(BREATH)

    async def _partitions(self, before: int) -> int:
        """Drop the partitions that are old as a whole, and make those of the next weeks; return how many attempts that was."""
        async with self._database.read() as tx:
            found = await partitions.old(tx, before)
            missing = await partitions.missing(tx, microseconds(self._now()))
        dropped = 0
        try:
            for one in found:
                async with self._database.held() as tx:
                    dropped += await one.drop(tx)
            if missing:
                async with self._database.held() as tx:
                    await partitions.make(tx, missing)
            async with self._database.transaction() as tx:
                await partitions.look_over(tx)
        except UnavailableError:
            log.warning("partitions_in_use", dropped=dropped)
        return dropped

    async def _names(self) -> int:
        """Forget names: they go out of use with counts alone."""
        async with self._database.read() as tx:
            found = await unused(tx)
        total = 0
        for few in (few for one in found for few in one.steps(self._step)):
            async with self._database.held() as tx:
                total += await few.delete(tx)
            await self._pause(BREATH)
        return total

    async def _move_horizon(self, day: int) -> None:
        async with self._database.transaction() as tx:
            await tx.execute(sa.update(HORIZON).where(HORIZON.c.counts_before < day).values(counts_before=day))

    async def _events(self, tx: Transaction, table: sa.Table, before: int) -> int:
        event = table.c
        old = (
            sa.select(event.event_id, event.journal_key, event.seq)
            .where(event.occurred < before, event.received < before)
            .order_by(event.occurred)
            .limit(self._step)
        )
        found = (await tx.execute(old)).all()
        reached: dict[int, int] = {}
        for row in found:
            reached[row.journal_key] = max(row.seq, reached.get(row.journal_key, 0))
        # In the order of the keys, as the sink locks them.
        for key in sorted(reached):
            raised = sa.update(JOURNAL).where(JOURNAL.c.journal_key == key, JOURNAL.c.purged_through < reached[key])
            await tx.execute(raised.values(purged_through=reached[key]))
        if found:
            await tx.execute(sa.delete(table).where(event.event_id.in_([row.event_id for row in found])))
        return len(found)

    async def _oldest(self, tx: Transaction, table: sa.Table, old: sa.ColumnElement[bool]) -> int:
        keys = list(table.primary_key)
        found: sa.Select[Any] = sa.select(*keys).where(old).limit(self._step)
        return (await tx.execute(sa.delete(table).where(sa.tuple_(*keys).in_(found)))).rowcount

    async def _record(self, purged: dict[str, int]) -> None:
        kept = {"events_days": str(self._keep.events.days), "counts_days": str(self._keep.counts.days)}
        details = {**{name: str(number) for name, number in purged.items()}, **kept}
        entry = AuditEntry(action="events_purged", target_kind="events", target="reporting", details=details)
        async with self._database.transaction() as tx:
            await audit_store.record(tx, AUDIT, entry, now=self._now(), changing=False)
        log.info("events_purged", **purged)
