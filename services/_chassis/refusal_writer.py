"""The one writer of a service's refused calls: in batches, each in a transaction of its own, never in anybody's way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Self

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from services._chassis.audit import AuditEntry
from services._chassis.audit_store import record
from services._chassis.db import Database
from services._chassis.errors import ServiceError
from services._chassis.logging import get_logger
from services._chassis.refusals import RefusalLog
from services._chassis.workers import Worker

log = get_logger("refusals")
LARGEST_BATCH = 200
LOOK_AGAIN = 10.0
"""Seconds after which it is looked whether a minute is over; what is ready is written at once."""

Write = Callable[[Sequence[AuditEntry]], Awaitable[None]]


def writing_to(database: Database, table: sa.Table, now: Callable[[], datetime]) -> Write:
    """Return what writes records of refused calls to the service's audit table."""

    async def write(entries: Sequence[AuditEntry]) -> None:
        async with database.transaction() as tx:
            await record(tx, table, *entries, now=now(), changing=False)

    return write


class RefusalWriter:
    """Write what a log of refused calls hands out; `worker` does the work, `close` writes what is left.

    INVARIANT: a batch that could not be written is written again, before anything else; one that was, never.
    """

    def __init__(self, refusals: RefusalLog, write: Write, now: Callable[[], datetime]) -> None:
        self.refusals = refusals
        self._write = write
        self._now = now
        self._batch: list[AuditEntry] = []
        self._writing: asyncio.Task[None] | None = None

    @classmethod
    def on(cls, database: Database, table: sa.Table, now: Callable[[], datetime]) -> Self:
        """Return a writer, with a log of its own, that writes to the service's audit table."""
        return cls(RefusalLog(), writing_to(database, table, now), now)

    def worker(self) -> Worker:
        """Return the worker that writes."""
        return Worker("write_refusals", self.run)

    async def run(self) -> None:
        """Write for ever, as soon as there is something."""
        while True:
            await self.write_due()
            try:
                async with asyncio.timeout(LOOK_AGAIN):
                    await self.refusals.arrived.wait()
            except TimeoutError:
                continue

    async def write_due(self) -> None:
        """Write what is ready, and what was counted in minutes that are over."""
        while await self._write_batch(lambda: self.refusals.take(LARGEST_BATCH, self._now())):
            pass

    async def close(self) -> None:
        """Write everything that is left; where the database does not take it, the log says how many are lost, and all ends."""
        try:
            while await self._write_batch(lambda: self.refusals.take_all(LARGEST_BATCH)):
                pass
        except (ServiceError, SQLAlchemyError) as error:
            left = len(self._batch) + self.refusals.waiting
            log.error("refusals_not_written", records=left, error=type(error).__name__)  # noqa: TRY400 - no traceback of a database that is gone

    async def _write_batch(self, take: Callable[[], list[AuditEntry]]) -> bool:
        """Write one batch, that of the last failure first; tell whether there was one."""
        self._batch = self._batch or take()
        if not self._batch:
            return False
        # A worker that is cancelled lets the write end by itself; whoever comes next waits for it, and writes nothing twice.
        self._writing = self._writing or asyncio.create_task(self._write_down())
        try:
            await asyncio.shield(self._writing)
        finally:
            if self._writing.done():
                self._writing = None
        return True

    async def _write_down(self) -> None:
        await self._write(self._batch)
        self._batch = []
