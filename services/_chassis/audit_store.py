"""The audit record as a table: written in the transaction of the change it tells of, by every service in its own database."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services._chassis.audit import AuditEntry
from services._chassis.caller import current_call
from services._chassis.db import Transaction
from services._chassis.tables import UtcDateTime


def audit_table(metadata: sa.MetaData, service: str) -> sa.Table:
    """Return the service's audit table; rows are only ever added."""
    return sa.Table(
        f"{service}_audit",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("recorded", UtcDateTime, nullable=False, index=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target_kind", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )


async def record(tx: Transaction, table: sa.Table, *entries: AuditEntry, now: datetime) -> None:
    """Write the entries with who acts, from where and in which call; a worker acts as `service:NAME` of its table."""
    if entries:
        revision, service = await tx.next_revision(), table.name.removesuffix("_audit")
        await tx.execute(sa.insert(table), [_row(entry, now, revision, service) for entry in entries])


def _row(entry: AuditEntry, now: datetime, revision: int, service: str) -> dict[str, Any]:
    call = current_call()
    return {
        "recorded": now,
        "revision": revision,
        "actor": call.caller.name if call else f"service:{service}",
        "source": call.caller.source if call else "",
        "request_id": call.request_id if call else "",
        "action": entry.action,
        "target_kind": entry.target_kind,
        "target": entry.target,
        "before": None if entry.before is None else dict(entry.before),
        "after": None if entry.after is None else dict(entry.after),
        "reason": entry.reason,
        "details": dict(entry.details),
    }
