"""Look at the audit log at start: whether it is still what checkpoints say, and whether it can be continued.

A log that is not whole does not keep its service from serving: policy goes on protecting devices while people find out what
happened. It is said as an error, and `epm audit verify` says it until the log is forgotten.
"""

import sqlalchemy as sa

from auditchain.checkpoint import Checkpoint
from auditchain.record import genesis
from services._chassis.audit_checkpoints import CheckpointWriter
from services._chassis.audit_reading import AuditReader
from services._chassis.audit_store import empty_head, head_of, service_of
from services._chassis.db import Transaction
from services._chassis.logging import get_logger

log = get_logger("audit")


async def inspect(tx: Transaction, reader: AuditReader, table: sa.Table, checkpoints: CheckpointWriter) -> None:
    """Log `audit_chain_broken` for what is wrong with the head and both ends of the log, and mend a head that is wrong.

    What no checkpoint vouches for yet is logged as `audit_records_unsealed`: the next one signs it, whoever wrote it.
    """
    problems = [*await _mend_head(tx, table, checkpoints), *await _mend_beginning(tx, table, checkpoints)]
    newest = (checkpoints.file.newest(), await reader.newest_checkpoint(tx))
    problems += [await _differs(tx, table, checkpoint) for checkpoint in newest if checkpoint is not None]
    for problem in dict.fromkeys(filter(None, problems)):
        log.error("audit_chain_broken", service=service_of(table), problem=problem)
    await _tell_of_unsealed(tx, table, checkpoints.sealed_through(*newest))


async def _tell_of_unsealed(tx: Transaction, table: sa.Table, sealed: int) -> None:
    sequence = table.c.sequence
    first, last = sa.func.min(sequence).label("first"), sa.func.max(sequence).label("last")
    asked = sa.select(sa.func.count().label("count"), first, last).where(sequence > sealed)
    found = (await tx.execute(asked)).mappings().one()
    if found["count"]:
        log.warning("audit_records_unsealed", service=service_of(table), **found)


async def _mend_head(tx: Transaction, table: sa.Table, checkpoints: CheckpointWriter) -> list[str]:
    """Put the head where the next record can follow, if it is not there; say what was wrong."""
    head = head_of(table)
    row = (await tx.execute(sa.select(head).where(head.c.id == 1).with_for_update())).mappings().one_or_none()
    newest = await _newest(tx, table)  # after the head, which nobody moves now
    sequence, digest = newest or (0, genesis(service_of(table)))
    if row is not None and _usable(row) and row["sequence"] >= sequence:
        if row["sequence"] == max(sequence, row["pruned_through"]):
            return [] if newest is None or row["hash"] == digest else [f"record {sequence} has another hash"]
        return [f"records {sequence + 1} to {row['sequence']} are missing"]
    pruned_through, anchor_hash = await checkpoints.vouched(tx)
    pruned = {"pruned_through": pruned_through, "anchor_hash": anchor_hash}
    values = {**empty_head(service_of(table)), **pruned, "sequence": sequence, "hash": digest}
    await tx.execute(sa.delete(head))
    await tx.execute(sa.insert(head), values)
    return [f"the head is not where the log ends, at record {sequence}"]


async def _mend_beginning(tx: Transaction, table: sa.Table, checkpoints: CheckpointWriter) -> list[str]:
    """Let the head say that retention deleted what is signed and no more; say what was wrong."""
    head = head_of(table)
    row = (await tx.execute(sa.select(head.c.pruned_through, head.c.anchor_hash).where(head.c.id == 1))).one()
    pruned_through, anchor_hash = await checkpoints.vouched(tx)
    if (row.pruned_through, row.anchor_hash) == (pruned_through, anchor_hash):
        return []
    await tx.execute(sa.update(head).values(pruned_through=pruned_through, anchor_hash=anchor_hash))
    return [f"no checkpoint says that retention deleted the records through {row.pruned_through}"]


async def _differs(tx: Transaction, table: sa.Table, checkpoint: Checkpoint) -> str:
    """Say how the log differs from a checkpoint; empty if it does not."""
    head = head_of(table)
    pruned = (await tx.execute(sa.select(head.c.pruned_through).where(head.c.id == 1))).scalar_one()
    if checkpoint.sequence <= pruned:
        return ""
    found = await tx.execute(sa.select(table.c.hash).where(table.c.sequence == checkpoint.sequence))
    digest = found.scalar_one_or_none()
    if digest is None:
        return f"record {checkpoint.sequence}, which a checkpoint names, is missing"
    return "" if digest == checkpoint.hash else f"record {checkpoint.sequence} is not the one that a checkpoint names"


async def _newest(tx: Transaction, table: sa.Table) -> tuple[int, bytes] | None:
    statement = sa.select(table.c.sequence, table.c.hash).order_by(table.c.sequence.desc()).limit(1)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else (max(row.sequence, 0), _digest(row.hash))


def _digest(value: object) -> bytes:
    """Return what the next record can follow, whatever stands there."""
    return value if isinstance(value, bytes) else b""


def _usable(row: sa.RowMapping) -> bool:
    numbers = all(type(row[name]) is int and row[name] >= 0 for name in ("sequence", "pruned_through"))
    return numbers and isinstance(row["hash"], bytes) and isinstance(row["anchor_hash"], bytes)
