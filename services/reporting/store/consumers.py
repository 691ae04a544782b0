"""Remember how far the consumers of exports are.

- A consumer's place moves forward by what it acknowledges. Whoever sets it elsewhere gives it a new generation, so that a
  stream of the one before, wherever it is served, moves it no more.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services._chassis import audit_store
from services._chassis.audit import AuditEntry
from services._chassis.db import Database, Transaction
from services._chassis.errors import LimitError, NotFoundError
from services._chassis.paging import Page, PageRequest, cut
from services.reporting.model.events import datetime_of
from services.reporting.model.live import ConsumerState, Cursor, Remembered, overtaken
from services.reporting.store.attempts import visible
from services.reporting.store.tables import ATTEMPT, AUDIT, CONSUMER
from services.reporting.store.unbroken import unbroken

MOST_CONSUMERS = 100
"""Consumers of one principal."""

_C = CONSUMER.c
_A = ATTEMPT.c
_PLACE = (_C.position, _C.journal_key, _C.seq)


class SqlConsumers:
    """Remember on SQLite or PostgreSQL."""

    def __init__(self, database: Database, *, most: int = MOST_CONSUMERS) -> None:
        self._database = database
        self._most = most

    @unbroken
    async def known(self, principal: str, name: str) -> Remembered | None:
        """Return up to where a consumer keeps everything safe; None for one that is new."""
        async with self._database.read() as tx:
            return await _remembered(tx, principal, name)

    @unbroken
    async def begin(self, principal: str, name: str, cursor: Cursor) -> int:
        """Remember a consumer that is new, and return its generation. Raises LimitError where the principal has too many."""
        async with self._database.transaction() as tx:
            generation = await tx.next_revision()
            if (known := await _remembered(tx, principal, name)) is not None:
                return known.generation
            counted = sa.select(sa.func.count()).select_from(CONSUMER).where(_C.principal == principal)
            if int((await tx.execute(counted)).scalar_one()) >= self._most:
                told = f"you have {self._most} consumers already; delete one that is not needed any more"
                raise LimitError(told, reason="TOO_MANY_CONSUMERS")
            row = {"principal": principal, "name": name, **_columns(cursor), "generation": generation}
            await tx.execute(sa.insert(CONSUMER), row)
        return generation

    @unbroken
    async def commit(self, principal: str, name: str, place: Remembered) -> None:
        """Remember a cursor durably; one that is behind what is remembered changes nothing.

        Raises ConflictError where the consumer was set elsewhere meanwhile, or deleted.
        """
        behind = sa.tuple_(*_PLACE) < sa.tuple_(*map(sa.literal, place.cursor))
        moved = sa.update(CONSUMER).where(*_is(principal, name), _C.generation == place.generation, behind)
        async with self._database.transaction() as tx:
            if (await tx.execute(moved.values(**_columns(place.cursor)))).rowcount:
                return
            known = await _remembered(tx, principal, name)
        if known is None or known.generation != place.generation:
            raise overtaken()

    @unbroken
    async def listed(self, principal: str, page: PageRequest, tags: frozenset[str] | None) -> Page[ConsumerState]:
        """Return a principal's consumers by name, and how far each is behind of what may be seen."""
        asked = sa.select(_C.name, *_PLACE).where(_C.principal == principal)
        if page.after:
            asked = asked.where(_C.name > page.after[0])
        async with self._database.read() as tx:
            rows = (await tx.execute(asked.order_by(_C.name).limit(page.size + 1))).all()
            return cut(await _states(tx, rows, visible(tags)), page, key=lambda state: (state.name,))

    @unbroken
    async def state(self, principal: str, name: str, tags: frozenset[str] | None) -> ConsumerState | None:
        """Return how far a consumer is behind of what may be seen; None for one that is not known."""
        async with self._database.read() as tx:
            rows = (await tx.execute(sa.select(_C.name, *_PLACE).where(*_is(principal, name)))).all()
            return next(iter(await _states(tx, rows, visible(tags))), None)

    @unbroken
    async def rewind(self, principal: str, name: str, cursor: Cursor, now: datetime) -> None:
        """Set a consumer to a place. Raises NotFoundError."""
        async with self._database.transaction() as tx:
            moved = sa.update(CONSUMER).where(*_is(principal, name))
            values = {**_columns(cursor), "generation": await tx.next_revision()}
            _found((await tx.execute(moved.values(**values))).rowcount)
            entry = _entry("consumer_rewound", principal, name, position=str(cursor.position))
            await audit_store.record(tx, AUDIT, entry, now=now)

    @unbroken
    async def delete(self, principal: str, name: str, now: datetime) -> None:
        """Forget a consumer. Raises NotFoundError."""
        async with self._database.transaction() as tx:
            await tx.next_revision()
            _found((await tx.execute(sa.delete(CONSUMER).where(*_is(principal, name)))).rowcount)
            await audit_store.record(tx, AUDIT, _entry("consumer_deleted", principal, name), now=now)


async def _remembered(tx: Transaction, principal: str, name: str) -> Remembered | None:
    asked = sa.select(*_PLACE, _C.generation).where(*_is(principal, name))
    row = (await tx.execute(asked)).one_or_none()
    return None if row is None else Remembered(Cursor(*row[:3]), row.generation)


async def _states(
    tx: Transaction, rows: Sequence[sa.Row[Any]], seen: Sequence[sa.ColumnElement[bool]]
) -> list[ConsumerState]:
    cursors = {row.name: Cursor(row.position, row.journal_key, row.seq) for row in rows}
    later = await _stored_after(tx, {cursor.position for cursor in cursors.values()}, seen)
    states = []
    for name, cursor in cursors.items():
        rest = (_A.stored == cursor.position, sa.tuple_(_A.journal_key, _A.seq) > sa.tuple_(*cursor[1:]), *seen)
        here = int((await tx.execute(sa.select(sa.func.count()).select_from(ATTEMPT).where(*rest))).scalar_one())
        first = rest if here else (_A.stored > cursor.position, *seen)
        asked = sa.select(_A.received).where(*first).order_by(_A.stored).limit(1)
        oldest = (await tx.execute(asked)).scalar()
        behind = here + later[cursor.position]
        states.append(ConsumerState(name, behind, None if oldest is None else datetime_of(oldest)))
    return states


async def _stored_after(
    tx: Transaction, positions: Iterable[int], seen: Sequence[sa.ColumnElement[bool]]
) -> dict[int, int]:
    """Return how many attempts have higher positions than each of these: what is far behind is counted once for all."""
    found: dict[int, int] = {}
    total, above = 0, None
    for position in sorted(positions, reverse=True):
        span = [_A.stored > position, *([] if above is None else [_A.stored <= above]), *seen]
        counted = sa.select(sa.func.count()).select_from(ATTEMPT).where(*span)
        total += int((await tx.execute(counted)).scalar_one())
        found[position], above = total, position
    return found


def _entry(action: str, principal: str, name: str, **details: str) -> AuditEntry:
    return AuditEntry(action=action, target_kind="consumer", target=name, details={"principal": principal, **details})


def _found(rows: int) -> None:
    if not rows:
        raise NotFoundError("you have no consumer of this name; list the consumers for those there are")


def _is(principal: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (_C.principal == principal, _C.name == name)


def _columns(cursor: Cursor) -> dict[str, int]:
    return {"position": cursor.position, "journal_key": cursor.journal_key, "seq": cursor.seq}
