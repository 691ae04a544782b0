"""Which processes hold policy streams: what one that is gone has left open, another closes.

A stream is named after the process that holds it. On SQLite there is one process to a database: whatever is open when it starts is a
predecessor's. On PostgreSQL each process says now and then that it lives.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services.policy.store.tables import DELIVERY, PROCESS

LEASE = timedelta(seconds=30)
"""A process that has not said for so long that it lives is gone."""

LEASE_OF_UNNAMED = timedelta(minutes=3)
"""The same of a stream that does not name its process, which is one of an older version: it says so once a minute."""

_D = DELIVERY.c


def stream_name(process: str, stream: str) -> str:
    """Name a stream after the process that holds it."""
    return f"{process}.{stream}"


class SqlHolders:
    """Speak for one process."""

    def __init__(self, database: Database, process: str) -> None:
        self._database = database
        self._process = process

    async def begin(self, now: datetime) -> None:
        """Say that this process lives; close what its predecessors left open, where there can be no others."""
        async with self._database.transaction() as tx:
            if self._database.on_postgresql:
                await tx.execute(sa.insert(PROCESS), {"process": self._process, "seen": now})
            else:
                await tx.execute(sa.update(DELIVERY).where(_D.stream != "").values(stream=""))

    async def beat(self, now: datetime) -> tuple[bool, Collection[str]]:
        """Say that this process lives still, and close what others left that are gone.

        Return whether it had been taken for gone itself, so that its streams may be closed, and the devices whose streams
        were closed now.
        """
        if not self._database.on_postgresql:
            return False, ()
        async with self._database.transaction() as tx:
            mine = PROCESS.c.process == self._process
            known = (await tx.execute(sa.update(PROCESS).where(mine).values(seen=now))).rowcount
            if not known:
                await tx.execute(sa.insert(PROCESS), {"process": self._process, "seen": now})
            await tx.execute(sa.delete(PROCESS).where(PROCESS.c.seen < now - LEASE))
            closed = await _close(tx, _left(now))
        return not known, closed

    async def end(self, now: datetime) -> None:
        """Close all streams of this process at once, because it ends."""
        async with self._database.transaction() as tx:
            await _close(tx, _D.stream.startswith(stream_name(self._process, "")), seen=now)
            await tx.execute(sa.delete(PROCESS).where(PROCESS.c.process == self._process))


def _left(now: datetime) -> sa.ColumnElement[bool]:
    """Find the streams of processes that are gone; one that was seen a moment ago may be of a process that has only just begun."""
    process = sa.func.split_part(_D.stream, ".", 1)
    gone = sa.and_(process.not_in(sa.select(PROCESS.c.process)), _D.seen < now - LEASE)
    named = sa.or_(_D.stream.contains("."), _D.seen < now - LEASE_OF_UNNAMED)
    return sa.and_(_D.stream != "", gone, named)


async def _close(tx: Transaction, which: sa.ColumnElement[bool], **values: Any) -> Collection[str]:
    """Close streams; they are locked in one order for everybody, as elsewhere."""
    found = sa.select(_D.device_id).where(which).order_by(_D.device_id).with_for_update()
    device_ids = list((await tx.execute(found)).scalars())
    for start in range(0, len(device_ids), 500):
        part = device_ids[start : start + 500]
        await tx.execute(sa.update(DELIVERY).where(_D.device_id.in_(part), which).values(stream="", **values))
    return device_ids
