"""Keep attempts on PostgreSQL in partitions of a week each, by the time in their ids: made ahead, dropped when all in them is old.

- The time in an id is when its device made it, as `occurred` is; where they differ the attempt lies elsewhere, no more. A week
  that was not made in time, or is far off, is kept in a partition for the rest, and purged in steps like everything on SQLite.
- A week that is made takes along what lies among the rest of it, such as the events of a device whose clock ran far ahead.
- INVARIANT: only what retention would purge anyway is dropped: of a week that is over, when no attempt in it occurred or arrived
  too late. What is stored in it between the look and the lock keeps it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.store.tables import ATTEMPT, JOURNAL

PREFIX = "part_of_reporting_attempt_"
_REST = f"{PREFIX}rest"
WEEK = 7 * 86_400_000_000
"""Microseconds."""
AHEAD = 2
"""Weeks that are made ahead."""
MOST_STRAYS = 20_000
"""Attempts that a week may take along: ingest waits meanwhile. One of which more are there is not made."""
_PATIENCE = sa.text("SET LOCAL lock_timeout = '2s'")
"""A report that takes long is not waited for: ingest would wait too. The next purge tries again."""


@dataclass(frozen=True, slots=True)
class Old:
    """A partition in which everything is old: what it holds of each journal, when the transaction of this number was the newest."""

    week: int
    reached: Mapping[int, int]
    attempts: int
    as_of: int

    async def drop(self, tx: Transaction) -> int:
        """Drop it, unless something was stored in it since; return how many attempts that was. Nobody else may write."""
        await tx.execute(_PATIENCE)
        part = sa.table(_name(self.week), sa.column("stored"))
        if (await tx.execute(sa.select(part.c.stored).where(part.c.stored > self.as_of).limit(1))).first():
            return 0
        # In the order of the keys, as the sink locks them.
        for key, seq in sorted(self.reached.items()):
            raised = sa.update(JOURNAL).where(JOURNAL.c.journal_key == key, JOURNAL.c.purged_through < seq)
            await tx.execute(raised.values(purged_through=seq))
        await tx.execute(sa.text(f"DROP TABLE {_name(self.week)}"))
        return self.attempts


async def look_over(tx: Transaction) -> None:
    """Take stock of all partitions together, by a sample: PostgreSQL does so by itself for each of them alone."""
    await tx.execute(sa.text(f"ANALYZE {ATTEMPT.name}"))


async def missing(tx: Transaction, now: int, most_strays: int = MOST_STRAYS) -> Sequence[int]:
    """Return the weeks, from this one on, that have no partition, and not too much among the rest."""
    there = await _weeks(tx)
    rest = sa.table(_REST, sa.column("event_id"))
    found = []
    for week in range(now // WEEK, now // WEEK + AHEAD + 1):
        strays = sa.select(rest.c.event_id).where(rest.c.event_id >= _bound(week), rest.c.event_id < _bound(week + 1))
        if week not in there and (await tx.execute(strays.offset(most_strays).limit(1))).first() is None:
            found.append(week)
    return found


async def make(tx: Transaction, weeks: Sequence[int]) -> None:
    """Make the partitions of these weeks, with what lies among the rest of them. Nobody else may write."""
    await tx.execute(_PATIENCE)
    columns = ", ".join(ATTEMPT.c.keys())
    for week in weeks:
        part, first, before = _name(week), _bound(week), _bound(week + 1)
        strays = f"DELETE FROM {_REST} WHERE event_id >= '{first}' AND event_id < '{before}' RETURNING {columns}"  # noqa: S608 - our own names
        await tx.execute(sa.text(f"CREATE TABLE {part} (LIKE {ATTEMPT.name})"))
        moved = f"WITH strays AS ({strays}) INSERT INTO {part} ({columns}) SELECT {columns} FROM strays"  # noqa: S608 - our own names
        await tx.execute(sa.text(moved))
        bounds = f"FROM ('{first}') TO ('{before}')"
        await tx.execute(sa.text(f"ALTER TABLE {ATTEMPT.name} ATTACH PARTITION {part} FOR VALUES {bounds}"))


async def old(tx: Transaction, before: int) -> Sequence[Old]:
    """Return the partitions in which every attempt occurred and arrived before this time."""
    as_of = await tx.current_revision()
    found = []
    for week in sorted(week for week in await _weeks(tx) if (week + 1) * WEEK <= before):
        part = sa.table(_name(week), *map(sa.column, ("journal_key", "seq", "occurred", "received")))
        kept = sa.select(part.c.seq).where(sa.or_(part.c.occurred >= before, part.c.received >= before)).limit(1)
        if (await tx.execute(kept)).first() is None:
            measures = (sa.func.max(part.c.seq).label("reached"), sa.func.count().label("attempts"))
            each = sa.select(part.c.journal_key, *measures).group_by(part.c.journal_key)
            rows = (await tx.execute(each)).all()
            reached = {row.journal_key: row.reached for row in rows}
            found.append(Old(week, reached, sum(row.attempts for row in rows), as_of))
    return found


async def _weeks(tx: Transaction) -> set[int]:
    names = sa.text(
        "SELECT part.relname FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid"
        " WHERE inhparent = 'reporting_attempt'::regclass"
    )
    found = (name.removeprefix(PREFIX) for name in (await tx.execute(names)).scalars())
    return {int(name) for name in found if name.isdecimal()}


def _name(week: int) -> str:
    return f"{PREFIX}{week}"


def _bound(week: int) -> str:
    """Return the first text of an id of this week: ids begin with the milliseconds since 1970."""
    milliseconds = week * WEEK // 1000
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}"
