"""The audit log of one service at work: opened at start, sealed again and again, read by administrators."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Self

import sqlalchemy as sa

from auditchain.checkpoint import Checkpoint, read_keys
from auditchain.lines import Part
from services._chassis.audit import AuditEntry
from services._chassis.audit_checkpoints import CheckpointFile, CheckpointWriter
from services._chassis.audit_inspection import inspect
from services._chassis.audit_reading import AuditReader
from services._chassis.audit_retention import AuditRetention
from services._chassis.audit_store import checkpoints_of, head_of, record, service_of
from services._chassis.clock import Clock
from services._chassis.config import ServiceSettings
from services._chassis.datadir import keep_audit_key
from services._chassis.db import Database, Transaction
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.workers import Worker

log = get_logger("audit")
SEAL_EVERY = timedelta(milliseconds=500)
"""A record waits for its checkpoint this long, and as long as it takes to sign."""

PRUNE_EVERY = timedelta(hours=1)
RECORDS = 200
CHECKPOINTS = 500
Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Extent:
    """Say how far the log reaches at the moment that an export shows."""

    last_record: int
    last_checkpoint: int
    pruned_through: int


class AuditLog:
    """Keep the log of one service."""

    def __init__(
        self,
        database: Database,
        table: sa.Table,
        *,
        checkpoints: CheckpointWriter,
        retention: AuditRetention | None,
        public_keys: str,
        now: Callable[[], datetime],
    ) -> None:
        self.service = service_of(table)
        self.reader = AuditReader(database, table)
        self.public_keys = public_keys
        self._database = database
        self._table = table
        self._checkpoints = checkpoints
        self._retention = retention
        self._now = now

    @classmethod
    async def open(cls, settings: ServiceSettings, database: Database, table: sa.Table, clock: Clock) -> Self:
        """Make what the log needs, and say loudly if it is not as it was left. Raises StateError for unfit files."""
        service = service_of(table)
        key, public_keys = keep_audit_key(settings.audit_key(service), settings.audit_public_keys(service))
        file = CheckpointFile(settings.audit_checkpoints, service)
        file.open()
        keys = read_keys(public_keys.encode())
        checkpoints = CheckpointWriter(database, table, key=key, keys=keys, file=file, now=clock.now)
        async with database.transaction() as tx:
            await inspect(tx, AuditReader(database, table), table, checkpoints)
            await checkpoints.catch_up(tx)
        keep = settings.audit_retention
        retention = AuditRetention(database, table, checkpoints, keep=keep, now=clock.now) if keep else None
        return cls(
            database, table, checkpoints=checkpoints, retention=retention, public_keys=public_keys, now=clock.now
        )

    def workers(self, pause: Pause = asyncio.sleep) -> list[Worker]:
        """Return the workers that seal and prune the log."""
        workers = [Worker("seal_audit", lambda: self._seal_for_ever(pause))]
        if self._retention is not None:
            retention = self._retention
            workers.append(Worker("prune_audit", lambda: _prune_for_ever(retention, pause)))
        return workers

    async def seal(self) -> None:
        """Sign the newest record, unless that is done."""
        await self._checkpoints.seal()

    async def close(self) -> None:
        """Sign what is left; where the database does not answer, the next start does it."""
        try:
            await self.seal()
        except UnavailableError as error:
            log.warning("audit_not_sealed", service=self.service, error=str(error))

    async def note(self, entry: AuditEntry) -> None:
        """Write a record of something that changed nothing."""
        async with self._database.transaction() as tx:
            await record(tx, self._table, entry, now=self._now(), changing=False)

    async def export(self, after: int | None) -> AsyncIterator[Part]:
        """Give the public keys, the records after a sequence number (None: all there are), and every checkpoint.

        It shows the log as it is now, and ends. Raises UnavailableError if retention comes in between.
        """
        await self.seal()
        written = self._checkpoints.file.size()
        extent = await self._extent()
        yield self.public_keys
        async for each in self._records(after, extent):
            yield each
        async for checkpoint in self._signed(extent, written):
            yield checkpoint
        if (await self._extent()).pruned_through != extent.pruned_through:
            raise UnavailableError("retention deleted records in the meantime; export again", reason="AUDIT_PRUNED")

    async def _records(self, after: int | None, extent: _Extent) -> AsyncIterator[Part]:
        while True:
            async with self._database.read() as tx:
                found = await self.reader.batch(tx, after=after, through=extent.last_record, size=RECORDS)
            for each in found:
                yield each
            if len(found) < RECORDS:
                return
            after = found[-1].sequence

    async def _signed(self, extent: _Extent, written: int) -> AsyncIterator[Checkpoint]:
        """Give the checkpoints of the table, then those that only the file has."""
        after = 0
        while True:
            async with self._database.read() as tx:
                rows = await self.reader.checkpoints(tx, after=after, through=extent.last_checkpoint, size=CHECKPOINTS)
            for after, checkpoint in rows:  # noqa: B007 - the last one is where the next batch begins
                yield checkpoint
            if len(rows) < CHECKPOINTS:
                break
        lines = self._checkpoints.file.checkpoints(written)
        while chunk := await asyncio.to_thread(lambda: list(islice(lines, CHECKPOINTS))):
            kept = await self._kept({each.signature for each in chunk})
            for each in chunk:
                if each.signature not in kept and each.sequence > extent.pruned_through:
                    yield each

    async def _kept(self, signatures: set[bytes]) -> set[bytes]:
        table = checkpoints_of(self._table)
        async with self._database.read() as tx:
            found = await tx.execute(sa.select(table.c.signature).where(table.c.signature.in_(signatures)))
            return {row.signature for row in found}

    async def _extent(self) -> _Extent:
        records, checkpoints, head = self._table, checkpoints_of(self._table), head_of(self._table)
        async with self._database.read() as tx:
            return _Extent(
                await _number(tx, sa.select(sa.func.max(records.c.sequence))),
                await _number(tx, sa.select(sa.func.max(checkpoints.c.id))),
                await _number(tx, sa.select(sa.func.max(head.c.pruned_through))),
            )

    async def _seal_for_ever(self, pause: Pause) -> None:
        while True:
            await self.seal()
            await pause(SEAL_EVERY.total_seconds())


async def _prune_for_ever(retention: AuditRetention, pause: Pause) -> None:
    while True:
        await retention.prune()
        await pause(PRUNE_EVERY.total_seconds())


async def _number(tx: Transaction, statement: sa.Select[tuple[int]]) -> int:
    return int((await tx.execute(statement)).scalar_one() or 0)
