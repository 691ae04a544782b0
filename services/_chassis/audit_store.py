"""The audit log as tables: written in the transaction of the change it tells of, by every service in its own database.

Records hang together by their hashes (`auditchain`), so they are written one after another: whoever writes one holds the one
row of the head until the commit. INVARIANT: the revision's row is locked before the head's, never after; what takes no
revision locks the head alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from auditchain.record import AuditRecord, genesis, link
from auditchain.times import to_microseconds
from services._chassis.audit import Act, AuditEntry
from services._chassis.caller import current_call
from services._chassis.db import Transaction

ORDER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""On SQLite the number of the row itself, which nothing but a number can be."""

TEXTS = (
    "actor",
    "source",
    "action",
    "target_kind",
    "target",
    "before",
    "after",
    "reason",
    "request_id",
    "decision_id",
)
_PLACE = ("sequence", "hash", "pruned_through", "anchor_hash")


def audit_table(metadata: sa.MetaData, service: str) -> sa.Table:
    """Return the service's audit log; beside it stand the tables of its head and of its checkpoints.

    Rows are only ever added, and deleted by retention alone. `before`, `after` and `details` are canonical JSON as text: what
    was hashed, byte by byte. `recorded` counts microseconds since 1970.
    """
    sa.Table(
        f"{service}_audit_head",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *_place(),
    )
    sa.Table(
        f"{service}_audit_checkpoint",
        metadata,
        sa.Column("id", ORDER, primary_key=True, autoincrement=True),
        *_place(),
        sa.Column("signed", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    return sa.Table(
        f"{service}_audit",
        metadata,
        sa.Column("sequence", ORDER, primary_key=True, autoincrement=False),
        sa.Column("recorded", sa.BigInteger, nullable=False, index=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in TEXTS),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )


def head_of(table: sa.Table) -> sa.Table:
    """Return the table whose one row says how far the log has come, and how far retention."""
    return table.metadata.tables[f"{table.name}_head"]


def checkpoints_of(table: sa.Table) -> sa.Table:
    """Return the table of the log's checkpoints."""
    return table.metadata.tables[f"{table.name}_checkpoint"]


def service_of(table: sa.Table) -> str:
    """Return the service whose log it is."""
    return table.name.removesuffix("_audit")


def empty_head(service: str) -> dict[str, Any]:
    """Return the row of the head of a log without records."""
    return {"id": 1, "sequence": 0, "hash": genesis(service), "pruned_through": 0, "anchor_hash": b""}


async def record(tx: Transaction, table: sa.Table, *entries: AuditEntry, now: datetime, changing: bool = True) -> None:
    """Write the entries with who acts, from where and in which call; a worker acts as `service:NAME` of its table.

    What changes nothing, such as a refused call, takes no revision: nobody is woken to look at what is as it was.
    """
    if not entries:
        return
    revision = await tx.next_revision() if changing else 0
    head = await locked_head(tx, table)
    sequence, previous, rows = int(head["sequence"]), bytes(head["hash"]), []
    for entry in entries:
        sequence += 1
        unlinked = _record_of(entry, sequence, now=now, revision=revision, service=service_of(table))
        made = replace(unlinked, hash=link(previous, unlinked))
        previous = made.hash
        rows.append(row_of(made))
    await tx.execute(_adding(table), rows)
    await move_head(tx, table, sequence=sequence, hash=previous)


async def locked_head(tx: Transaction, table: sa.Table) -> sa.RowMapping:
    """Return the head, and let no other transaction write to the log until this one ends."""
    return (await tx.execute(_locking_head(table))).mappings().one()


async def move_head(tx: Transaction, table: sa.Table, **values: Any) -> None:
    """Note how far the log, or retention, has come."""
    await tx.execute(_moving_head(table), values)


# Composed once for each table: nearly every change writes a record.
@cache
def _adding(table: sa.Table) -> sa.Insert:
    return sa.insert(table)


@cache
def _locking_head(table: sa.Table) -> sa.Select[Any]:
    head = head_of(table)
    return sa.select(*(head.c[name] for name in _PLACE)).where(head.c.id == 1).with_for_update()


@cache
def _moving_head(table: sa.Table) -> sa.Update:
    head = head_of(table)
    return sa.update(head).where(head.c.id == 1)


def row_of(made: AuditRecord) -> dict[str, Any]:
    """Return the row of a record."""
    texts = {name: getattr(made, name) for name in TEXTS}
    numbers = {"sequence": made.sequence, "recorded": made.recorded, "revision": made.revision}
    return {**texts, **numbers, "details": canonical_json(made.details), "hash": made.hash}


def canonical_json(value: Mapping[str, object] | None) -> str:
    """Return JSON with sorted keys, without blanks, in Unicode; empty for None."""
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _record_of(entry: AuditEntry, sequence: int, *, now: datetime, revision: int, service: str) -> AuditRecord:
    act = entry.act or _running(service)
    return AuditRecord(
        sequence=sequence,
        recorded=to_microseconds(entry.at or now),
        actor=act.actor,
        source=act.source,
        action=entry.action,
        target_kind=entry.target_kind,
        target=entry.target,
        before=canonical_json(entry.before),
        after=canonical_json(entry.after),
        reason=entry.reason or act.reason,
        request_id=act.request_id,
        decision_id=act.decision_id,
        details=dict(entry.details),
        revision=revision,
    )


def _running(service: str) -> Act:
    call = current_call()
    if call is None:
        return Act(actor=f"service:{service}")
    return Act(
        actor=call.caller.name,
        source=call.caller.source,
        request_id=call.request_id,
        decision_id=call.decision_id,
        reason=call.reason,
    )


def _place() -> Sequence[sa.Column[Any]]:
    return [
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("pruned_through", sa.BigInteger, nullable=False),
        sa.Column("anchor_hash", sa.LargeBinary, nullable=False),
    ]
