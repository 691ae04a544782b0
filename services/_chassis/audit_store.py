"""The audit record as a table: written in the transaction of the change it tells of, by every service in its own database."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services._chassis.audit import Act, AuditEntry
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


async def record(tx: Transaction, table: sa.Table, *entries: AuditEntry, now: datetime, changing: bool = True) -> None:
    """Write the entries with who acts, from where and in which call; a worker acts as `service:NAME` of its table.

    What changes nothing, such as a refused call, takes no revision: nobody is woken to look at what is as it was.
    """
    if entries:
        revision, service = await tx.next_revision() if changing else 0, table.name.removesuffix("_audit")
        await tx.execute(sa.insert(table), [_row(entry, now, revision, service) for entry in entries])


def _row(entry: AuditEntry, now: datetime, revision: int, service: str) -> dict[str, Any]:
    act = entry.act or _running(service)
    return {
        "recorded": entry.at or now,
        "revision": revision,
        "actor": act.actor,
        "source": act.source,
        "request_id": act.request_id,
        "action": entry.action,
        "target_kind": entry.target_kind,
        "target": entry.target,
        "before": None if entry.before is None else dict(entry.before),
        "after": None if entry.after is None else dict(entry.after),
        "reason": entry.reason,
        "details": dict(entry.details),
    }


def _running(service: str) -> Act:
    call = current_call()
    if call is None:
        return Act(actor=f"service:{service}")
    return Act(
        actor=call.caller.name,
        source=call.caller.source,
        request_id=call.request_id,
        decision_id=call.decision_id,
    )
