"""An audit log of a demonstration service, what is written to it, and what a verification of it says."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from auditchain.checkpoint import Checkpoint, read_keys
from auditchain.lines import Part
from auditchain.record import AuditRecord
from auditchain.verification import ChainVerifier, Verdict
from services._chassis.audit import AuditEntry
from services._chassis.audit_log import AuditLog
from services._chassis.audit_store import audit_table, empty_head, head_of, record
from services._chassis.clock import Clock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database, revision_table
from tests.fakes.clock import FakeClock

AUDIT = audit_table(sa.MetaData(), "demo")


class DemoService:
    """A service that does nothing but write to its audit log."""

    def __init__(self, database: Database, table: sa.Table, log: AuditLog, clock: Clock) -> None:
        self.database = database
        self.table = table
        self.log = log
        self.clock = clock

    async def write(self, *targets: str, changing: bool = True) -> None:
        """Write a record for each target, in one transaction."""
        entries = [
            AuditEntry(action="thing_made", target_kind="Thing", target=target, after={"name": target, "ü": 1.5})
            for target in targets
        ]
        async with self.database.transaction() as tx:
            await record(tx, self.table, *entries, now=self.clock.now(), changing=changing)

    async def records(self) -> list[AuditRecord]:
        """Return all records."""
        async with self.database.read() as tx:
            return await self.log.reader.batch(tx, after=None, size=10_000)

    async def export(self) -> list[Part]:
        """Return everything that an export gives."""
        return [part async for part in self.log.export(None)]

    async def verdict(self, *further: Checkpoint) -> Verdict:
        """Verify what an export gives, and checkpoints that were kept elsewhere."""
        return verdict_of(await self.export(), further)


def verdict_of(parts: Iterable[Part], further: Iterable[Checkpoint] = ()) -> Verdict:
    """Verify the parts of an export."""
    verifier, checkpoints, keys = ChainVerifier("demo"), list(further), ""
    for part in parts:
        if isinstance(part, AuditRecord):
            verifier.add(part)
        elif isinstance(part, Checkpoint):
            checkpoints.append(part)
        else:
            keys += part
    return verifier.verdict(checkpoints, read_keys(keys.encode()))


@asynccontextmanager
async def demo_service(
    url: str, folder: Path, *, clock: Clock | None = None, keep: timedelta | None = None, name: str = "demo"
) -> AsyncIterator[DemoService]:
    """Start the service on a database, which may be new, and end it."""
    clock, metadata = clock or FakeClock(), sa.MetaData()
    revision, table = revision_table(metadata, name), audit_table(metadata, name)
    database = await Database.connect(url, service=name)
    try:
        async with database.transaction() as tx:
            await tx.connection.run_sync(metadata.create_all)
            if not (await tx.execute(sa.select(revision.c.id))).all():
                await tx.execute(sa.insert(revision), {"id": 1, "value": 0})
                await tx.execute(sa.insert(head_of(table)), empty_head(name))
        settings = ServiceSettings(data_dir=folder, audit_retention=keep)
        yield DemoService(database, table, await AuditLog.open(settings, database, table, clock), clock)
    finally:
        await database.close()


def tamper(path: Path, *statements: str) -> None:
    """Change the SQLite file of a service from outside."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
