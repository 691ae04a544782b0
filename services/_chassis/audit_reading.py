"""Read the audit log, whatever somebody did to it: what cannot be read is said in the record, and fits no hash any more."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from auditchain.checkpoint import Checkpoint
from auditchain.record import AuditRecord
from auditchain.times import EARLIEST, LATEST
from services._chassis.audit_store import TEXTS, canonical_json, checkpoints_of
from services._chassis.db import Database, Transaction
from services._chassis.paging import LARGEST_NUMBER, Page, PageRequest, cut

UNREADABLE: Final = "(unreadable) "
"""How the keys of the details begin that tell of columns which hold what no service wrote."""

_STRINGS: Final = (*TEXTS, "details")
_NUMBERS: Final = ("sequence", "recorded", "revision")
_TYPES: Final = ",".join(["text"] * len(_STRINGS) + ["integer"] * len(_NUMBERS) + ["blob"])


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Say which records are asked for; empty and None: all. Times are microseconds; `until` is not in it any more."""

    actor: str = ""
    action: str = ""
    target: str = ""
    since: int | None = None
    until: int | None = None


class AuditReader:
    """Read records and checkpoints of one service."""

    def __init__(self, database: Database, table: sa.Table) -> None:
        self._database = database
        self._table = table
        self._newest = self._signed().order_by(checkpoints_of(table).c.id.desc()).limit(1)

    async def page(self, asked: AuditFilter, page: PageRequest) -> Page[AuditRecord]:
        """Return records, newest first."""
        sequence = self._table.c.sequence
        statement = self._select().where(*_conditions(self._table, asked)).order_by(sequence.desc())
        if page.after:
            statement = statement.where(sequence < page.after[0])
        async with self._database.read() as tx:
            found = await self._records(tx, statement.limit(page.size + 1))
        fitting = page.fitting(map(weight, found))
        return cut(found, fitting, key=lambda record: (record.sequence,))

    async def batch(
        self, tx: Transaction, *, after: int | None, through: int = LARGEST_NUMBER, size: int
    ) -> list[AuditRecord]:
        """Return the next records in the order of the log; `after` None begins with whatever is first."""
        sequence = self._table.c.sequence
        statement = self._select().where(sequence <= through).order_by(sequence).limit(size)
        return await self._records(tx, statement if after is None else statement.where(sequence > after))

    async def checkpoints(
        self, tx: Transaction, *, after: int, through: int = LARGEST_NUMBER, size: int
    ) -> list[tuple[int, Checkpoint]]:
        """Return the next checkpoints in the order in which they were signed, each with the number of its row."""
        table = checkpoints_of(self._table)
        chosen = table.c.id > after, table.c.id <= through
        rows = await tx.execute(self._signed().where(*chosen).order_by(table.c.id).limit(size))
        return [(row["id"], checkpoint_of(row)) for row in rows.mappings()]

    async def newest_checkpoint(self, tx: Transaction) -> Checkpoint | None:
        """Return the checkpoint that was signed last."""
        row = (await tx.execute(self._newest)).mappings().one_or_none()
        return None if row is None else checkpoint_of(row)

    async def _records(self, tx: Transaction, statement: sa.Select[Any]) -> list[AuditRecord]:
        return [_Reading(row).record() for row in (await tx.execute(statement)).mappings()]

    def _signed(self) -> sa.Select[Any]:
        columns = checkpoints_of(self._table).columns
        if self._database.on_postgresql:
            return sa.select(*columns)
        others = [column for column in columns if column.name != "key_id"]
        return sa.select(*others, sa.cast(columns["key_id"], sa.LargeBinary).label("key_id"))

    def _select(self) -> sa.Select[Any]:
        columns = self._table.c
        numbers = [columns[name] for name in (*_NUMBERS, "hash")]
        if self._database.on_postgresql:
            return sa.select(*(columns[name] for name in _STRINGS), *numbers, sa.literal(_TYPES).label("types"))
        # SQLite keeps whatever it is given, in any column: as bytes a text can be read even if it is none.
        texts = [sa.cast(columns[name], sa.LargeBinary).label(name) for name in _STRINGS]
        types = [sa.func.typeof(columns[name], type_=sa.Text) for name in (*_STRINGS, *_NUMBERS, "hash")]
        selected: list[sa.ColumnElement[Any]] = [*texts, *numbers, _joined(types).label("types")]
        return sa.select(*selected)


def checkpoint_of(row: sa.RowMapping) -> Checkpoint:
    """Return the checkpoint of a row; one that no service wrote is signed by nobody."""
    genuine = all(isinstance(row[name], bytes) for name in ("hash", "anchor_hash", "signature"))
    genuine &= all(type(row[name]) is int for name in ("sequence", "pruned_through", "signed"))
    genuine &= min(_number(row["sequence"]), _number(row["pruned_through"])) >= 0
    genuine &= EARLIEST <= _number(row["signed"]) <= LATEST
    return Checkpoint(
        sequence=max(_number(row["sequence"]), 0),
        pruned_through=max(_number(row["pruned_through"]), 0),
        hash=_bytes(row["hash"]),
        signed=min(max(_number(row["signed"]), EARLIEST), LATEST),
        anchor_hash=_bytes(row["anchor_hash"]),
        key_id=_bytes(row["key_id"]).decode(errors="replace"),
        signature=_bytes(row["signature"]) if genuine else b"",
    )


class _Reading:
    """Read one row, and collect what is strange about it."""

    def __init__(self, row: sa.RowMapping) -> None:
        self._row = row
        self._strange: dict[str, str] = {} if row["types"] == _TYPES else {"types": str(row["types"])}

    def record(self) -> AuditRecord:
        """Return the record, with everything strange among its details."""
        texts = {name: self._text(name) for name in TEXTS}
        numbers = {name: self._number(name) for name in _NUMBERS}
        details = self._details()
        strange = {f"{UNREADABLE}{name}": value for name, value in self._strange.items()}
        return AuditRecord(**texts, **numbers, details={**details, **strange}, hash=_bytes(self._row["hash"]))  # type: ignore[arg-type]  # by name

    def _text(self, name: str) -> str:
        value = self._row[name]
        if isinstance(value, str):
            return value
        text = _bytes(value).decode(errors="replace")
        if text.encode() != value:
            self._strange[name] = text
        return text

    def _number(self, name: str) -> int:
        value = self._row[name]
        least, most = (EARLIEST, LATEST) if name == "recorded" else (0, LARGEST_NUMBER)
        if type(value) is int and least <= value <= most:
            return value
        self._strange[name] = str(value)
        return 0

    def _details(self) -> dict[str, str]:
        text = self._text("details")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        texts = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
        if texts and canonical_json(found) == text:
            return {str(key): str(value) for key, value in found.items()}
        self._strange["details"] = text
        return {}


def _joined(texts: Sequence[sa.ColumnElement[str]]) -> sa.ColumnElement[str]:
    joined = texts[0]
    for each in texts[1:]:
        joined = joined + sa.literal(",") + each
    return joined


def _conditions(table: sa.Table, asked: AuditFilter) -> list[sa.ColumnElement[bool]]:
    alike = {"actor": asked.actor, "action": asked.action, "target": asked.target}
    conditions: list[sa.ColumnElement[bool]] = [table.c[name] == value for name, value in alike.items() if value]
    if asked.since is not None:
        conditions.append(table.c.recorded >= asked.since)
    if asked.until is not None:
        conditions.append(table.c.recorded < asked.until)
    return conditions


def weight(record: AuditRecord) -> int:
    """Count the bytes of a record, about."""
    texts = [getattr(record, name) for name in TEXTS]
    return sum(len(text.encode()) for text in (*texts, *record.details.keys(), *record.details.values())) + 200


def _number(value: object) -> int:
    return value if type(value) is int else 0


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
