"""Delete what retention no longer keeps of the audit log, from its beginning on, and leave a signed anchor in its place."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import takewhile

import sqlalchemy as sa

from auditchain.record import AuditRecord, genesis, link
from auditchain.times import to_microseconds
from services._chassis.audit import AuditEntry
from services._chassis.audit_checkpoints import CheckpointWriter
from services._chassis.audit_reading import AuditReader
from services._chassis.audit_store import checkpoints_of, locked_head, move_head, record, service_of
from services._chassis.db import Database, Transaction
from services._chassis.logging import get_logger

log = get_logger("audit")
BATCH = 500


class AuditRetention:
    """Delete records that are older than `keep`, as long as they are what was written.

    INVARIANT: nothing is deleted that does not verify: retention washes no traces away.
    """

    def __init__(
        self,
        database: Database,
        table: sa.Table,
        checkpoints: CheckpointWriter,
        *,
        keep: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._table = table
        self._reader = AuditReader(database, table)
        self._checkpoints = checkpoints
        self._keep = keep
        self._now = now

    async def prune(self) -> None:
        """Delete everything that is old, a batch a transaction."""
        while await self._prune_batch():
            pass

    async def _prune_batch(self) -> bool:
        cutoff = to_microseconds(self._now() - self._keep)
        async with self._database.transaction() as tx:
            head = await locked_head(tx, self._table)
            found = await self._reader.batch(tx, after=head["pruned_through"], through=head["sequence"], size=BATCH)
            old = list(takewhile(lambda each: each.recorded < cutoff, found))
            if not old:
                return False
            if not await self._genuine(tx, head, old):
                log.error("audit_retention_stopped", service=service_of(self._table), sequence=old[0].sequence)
                return False
            await self._delete(tx, old)
            made = await self._checkpoints.sign(tx, (old[-1].sequence, old[-1].hash))
        await self._checkpoints.write_out(made)
        log.info("audit_records_pruned", service=service_of(self._table), through=old[-1].sequence)
        return True

    async def _genuine(self, tx: Transaction, head: sa.RowMapping, records: Sequence[AuditRecord]) -> bool:
        """Tell whether the records hang together, onto what was deleted before, and agree with the checkpoints."""
        if (head["pruned_through"], head["anchor_hash"]) != await self._checkpoints.vouched(tx):
            return False
        sequence, previous = int(head["pruned_through"]), bytes(head["anchor_hash"]) or genesis(service_of(self._table))
        for each in records:
            if each.sequence != sequence + 1 or link(previous, each) != each.hash:
                return False
            sequence, previous = each.sequence, each.hash
        hashes = {each.sequence: each.hash for each in records}
        table = checkpoints_of(self._table)
        signed = sa.select(table.c.sequence, table.c.hash).where(
            table.c.sequence.between(records[0].sequence, sequence)
        )
        return all(hashes.get(row.sequence) == row.hash for row in await tx.execute(signed))

    async def _delete(self, tx: Transaction, records: Sequence[AuditRecord]) -> None:
        through = records[-1].sequence
        checkpoints = checkpoints_of(self._table)
        await tx.execute(sa.delete(self._table).where(self._table.c.sequence <= through))
        await tx.execute(sa.delete(checkpoints).where(checkpoints.c.sequence < through))
        await move_head(tx, self._table, pruned_through=through, anchor_hash=records[-1].hash)
        details = {"first": str(records[0].sequence), "last": str(through), "older_than_days": str(self._keep.days)}
        entry = AuditEntry(
            action="audit_records_pruned", target_kind="audit", target=service_of(self._table), details=details
        )
        await record(tx, self._table, entry, now=self._now(), changing=False)
