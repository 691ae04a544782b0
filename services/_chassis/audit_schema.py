"""The migration that makes a service's audit log a chain; each service runs it as a revision of its own.

The log is written anew with its records in their old order, numbered from 1 and linked. A replica of an older version cannot
write to it any more: its changes fail, and roll back, until it is replaced.

The columns are spelt out, as in any revision: what `audit_store` declares later is the business of later revisions.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from alembic import op

from auditchain.record import AuditRecord, genesis, link
from auditchain.times import to_datetime, to_microseconds
from services._chassis.audit_store import canonical_json, row_of
from services._chassis.tables import UtcDateTime

CHUNK = 500
_ORDER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OLD_TEXTS = ("actor", "source", "request_id", "action", "target_kind", "target", "reason")
_TEXTS = (
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
    "details",
)


def create_audit(service: str) -> None:
    """Create an empty log with its head and its checkpoints."""
    op.create_table(
        f"{service}_audit",
        sa.Column("sequence", _ORDER, primary_key=True, autoincrement=False),
        sa.Column("recorded", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _TEXTS),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_index(f"ix_{service}_audit_recorded", f"{service}_audit", ["recorded"])
    op.create_table(
        f"{service}_audit_checkpoint",
        sa.Column("id", _ORDER, primary_key=True, autoincrement=True),
        *_place(),
        sa.Column("signed", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    key = sa.Column("id", sa.Integer, primary_key=True, autoincrement=False)
    head = op.create_table(f"{service}_audit_head", key, *_place())
    empty = {"id": 1, "sequence": 0, "hash": genesis(service), "pruned_through": 0, "anchor_hash": b""}
    op.bulk_insert(head, [empty])


def drop_audit(service: str) -> None:
    """Drop the log with everything beside it."""
    for name in ("audit_checkpoint", "audit_head", "audit"):
        op.drop_table(f"{service}_{name}")


def chain_audit(service: str) -> None:
    """Put a chain in the place of the log as it was before there was one."""
    _set_aside(service)
    create_audit(service)
    bind, before = op.get_bind(), _old_table(f"{service}_audit_before")
    table, head = (sa.Table(f"{service}_{name}", sa.MetaData(), autoload_with=bind) for name in ("audit", "audit_head"))
    sequence, previous = 0, genesis(service)
    for rows in _chunks(before, "id"):
        made = []
        for row in rows:
            sequence += 1
            unlinked = _record_of(row, sequence)
            made.append(replace(unlinked, hash=link(previous, unlinked)))
            previous = made[-1].hash
        op.bulk_insert(table, [row_of(each) for each in made])
    op.execute(sa.update(head).values(sequence=sequence, hash=previous))
    op.drop_table(before.name)


def unchain_audit(service: str) -> None:
    """Put the log as it was in the place of the chain; hashes, checkpoints and decision ids are lost."""
    op.drop_table(f"{service}_audit_checkpoint")
    op.drop_table(f"{service}_audit_head")
    _set_aside(service)
    bind, old = op.get_bind(), _old_table(f"{service}_audit")
    old.create(bind)
    op.create_index(f"ix_{service}_audit_recorded", old.name, ["recorded"])
    chained = sa.Table(f"{service}_audit_before", sa.MetaData(), autoload_with=bind)
    for rows in _chunks(chained, "sequence"):
        op.bulk_insert(old, [_old_row(row) for row in rows])
    op.drop_table(chained.name)


def _set_aside(service: str) -> None:
    op.drop_index(f"ix_{service}_audit_recorded", f"{service}_audit")
    op.rename_table(f"{service}_audit", f"{service}_audit_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX {service}_audit_pkey RENAME TO {service}_audit_before_pkey")


def _place() -> list[sa.Column[Any]]:
    return [
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("pruned_through", sa.BigInteger, nullable=False),
        sa.Column("anchor_hash", sa.LargeBinary, nullable=False),
    ]


def _old_table(name: str) -> sa.Table:
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("recorded", UtcDateTime, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        *(sa.Column(text, sa.Text, nullable=False) for text in _OLD_TEXTS),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("details", sa.JSON, nullable=False),
    )


def _chunks(table: sa.Table, key: str) -> Iterator[list[sa.RowMapping]]:
    place, after = table.c[key], 0
    while True:
        asked = sa.select(table).where(place > after).order_by(place).limit(CHUNK)
        rows = list(op.get_bind().execute(asked).mappings())
        if not rows:
            return
        yield rows
        after = rows[-1][key]


def _record_of(row: sa.RowMapping, sequence: int) -> AuditRecord:
    return AuditRecord(
        sequence=sequence,
        recorded=to_microseconds(row["recorded"]),
        **{name: row[name] for name in _OLD_TEXTS},
        before=canonical_json(row["before"]),
        after=canonical_json(row["after"]),
        decision_id="",
        details=row["details"],
        revision=row["revision"],
    )


def _old_row(row: sa.RowMapping) -> dict[str, Any]:
    states = {name: json.loads(row[name]) if row[name] else None for name in ("before", "after")}
    texts = {name: row[name] for name in _OLD_TEXTS}
    times = {"recorded": to_datetime(row["recorded"]), "revision": row["revision"]}
    return {**times, **texts, **states, "details": json.loads(row["details"])}
