"""The outbox in SQL: a notice is written in the transaction of the change that it tells of, and stays until it is told.

- A row without a channel waits to be routed. Routing makes a row for each channel that hears of it, in one transaction.
- Who sends takes rows on a lease: `due` moves to its end, so that rows of a process that died are due again by themselves, and
  no other replica waits for them. INVARIANT: only the lease that holds a row may end it.
- What was never tried is due whatever its time says, and so is what would be due farther away than anything is put off: the
  clock was set back. A reminder alone waits for longer.
- Tries are counted when a row is taken, not when it fails: a message that kills its sender runs out of tries, too.
- What this version cannot read, since a newer one wrote it, is given up with the reason. It may be sent again later.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from services._chassis.audit import AuditEntry
from services._chassis.audit_store import record
from services._chassis.db import Database, Transaction
from services._chassis.logging import get_logger
from services.policy.codec.notices import UnreadableNoticeError, from_kept, to_kept
from services.policy.model.notices import WAITING, Notice, NoticeEvent, Parcel, Route
from services.policy.store.tables import AUDIT, OUTBOX

KEPT = timedelta(days=30)
"""How long a message is kept that cannot be told."""

FARTHEST = timedelta(hours=2)
"""Farther away than any message is put off, or leased."""

_O = OUTBOX.c
_TOLD = sa.insert(OUTBOX)
_MESSAGE = (_O.notice, _O.channel, _O.event, _O.request_id, _O.content, _O.tries)
_NOBODY_YET = ""

log = get_logger("policy.notices")


async def tell(tx: Transaction, notice: Notice) -> None:
    """Have approvers be told of a change that the transaction makes: they are if it is committed."""
    await tx.execute(_TOLD, _row(notice, _NOBODY_YET))


class SqlOutbox:
    """Route, lend and end what is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def route(self, find: Callable[[Notice], Route], now: datetime, *, most: int) -> int:
        """Make the messages of notices that are due, oldest first; return how many notices that were.

        A reminder that waits goes when its request waits no longer. What is too old is forgotten.
        """
        due = sa.select(*_MESSAGE).where(_is_due(_NOBODY_YET, now))
        due = due.order_by(_O.due, _O.notice).limit(most).with_for_update(skip_locked=True)
        async with self._database.transaction() as tx:
            rows = (await tx.execute(due)).mappings().all()
            notices = [notice for _, notice in await _readable(tx, rows, now)]
            await _make_messages(tx, [(notice, find(notice)) for notice in notices])
            ended = [notice.request.request_id for notice in notices if notice.event not in WAITING]
            late = sa.and_(_O.request_id.in_(ended), _O.event == NoticeEvent.REMINDER.value)
            await tx.execute(sa.delete(OUTBOX).where(late, _O.given_up.is_(None)))
            await tx.execute(sa.delete(OUTBOX).where(_O.due < now - KEPT))
        return len(rows)

    async def take(self, channel: str, lease: str, *, now: datetime, until: datetime, most: int) -> Sequence[Parcel]:
        """Take messages of a channel that are due, for as long as the lease lasts."""
        due = sa.select(_O.notice).where(_is_due(channel, now))
        due = due.order_by(_O.due, _O.notice).limit(most).with_for_update(skip_locked=True)
        async with self._database.transaction() as tx:
            found = (await tx.execute(due)).scalars().all()
            taken = sa.update(OUTBOX).where(_O.channel == channel, _O.notice.in_(found))
            taken = taken.values(lease=lease, due=until, tries=_O.tries + 1)
            rows = (await tx.execute(taken.returning(*_MESSAGE))).mappings().all()
            readable = await _readable(tx, rows, now)
        parcels = [Parcel(notice, channel, lease, row["tries"]) for row, notice in readable]
        return sorted(parcels, key=lambda parcel: parcel.notice.id)

    async def sent(self, parcel: Parcel) -> None:
        """Forget a message that its receiver has."""
        async with self._database.transaction() as tx:
            await tx.execute(sa.delete(OUTBOX).where(_held(parcel)))

    async def put_back(self, parcel: Parcel, error: str, due: datetime) -> None:
        """Have a message sent again later."""
        async with self._database.transaction() as tx:
            await tx.execute(sa.update(OUTBOX).where(_held(parcel)).values(lease="", due=due, error=error))

    async def give_up(self, parcel: Parcel, error: str, now: datetime) -> None:
        """Keep a message that cannot be told, and write into the audit log that it was not."""
        dead = sa.update(OUTBOX).where(_held(parcel)).values(**_dead(error, now))
        notice = parcel.notice
        names = {"request_id": notice.request.request_id, "notice": notice.id, "event": notice.event.value}
        row = {**names, "channel": parcel.channel, "tries": parcel.tries}
        async with self._database.transaction() as tx:
            if (await tx.execute(dead)).rowcount:
                await record(tx, AUDIT, _entry(row, error), now=now, changing=False)

    async def send_again(self, before: datetime, now: datetime) -> int:
        """Have what was given up before a time be sent again, as if it had never been tried."""
        revived = sa.update(OUTBOX).where(_O.given_up < before).values(given_up=None, tries=0, error="", due=now)
        async with self._database.transaction() as tx:
            return (await tx.execute(revived)).rowcount

    async def next_due(self, channel: str, now: datetime) -> datetime | None:
        """Return when the next message of a channel is due, or the next notice that has none; None: there is none."""
        first = sa.select(_O.due).where(_O.channel == channel, _O.given_up.is_(None)).order_by(_O.due).limit(1)
        async with self._database.read() as tx:
            if (await tx.execute(sa.select(_O.notice).where(_is_due(channel, now)).limit(1))).first():
                return now
            found: datetime | None = (await tx.execute(first)).scalar()
        return found


async def _readable(
    tx: Transaction, rows: Sequence[sa.RowMapping], now: datetime
) -> Sequence[tuple[sa.RowMapping, Notice]]:
    """Read notices; those that this version cannot read are given up, so that nobody waits behind them."""
    found = []
    for row in rows:
        try:
            found.append((row, from_kept(row["content"])))
        except UnreadableNoticeError as unreadable:
            await _bury(tx, row, str(unreadable), now)
    return found


async def _bury(tx: Transaction, row: sa.RowMapping, error: str, now: datetime) -> None:
    this = sa.update(OUTBOX).where(_O.notice == row["notice"], _O.channel == row["channel"])
    await tx.execute(this.values(**_dead(error, now)))
    await record(tx, AUDIT, _entry(row, error), now=now, changing=False)
    log.error("notice_given_up", notice=row["notice"], channel=row["channel"], error=error)


async def _make_messages(tx: Transaction, routed: Sequence[tuple[Notice, Route]]) -> None:
    ids = [notice.id for notice, _ in routed]
    await tx.execute(sa.delete(OUTBOX).where(_O.notice.in_(ids), _O.channel == _NOBODY_YET))
    rows = [_row(notice, channel) for notice, route in routed for channel in route.channels]
    rows += [_row(route.reminder, _NOBODY_YET) for _, route in routed if route.reminder is not None]
    if rows:
        await tx.execute(sa.insert(OUTBOX), rows)


def _row(notice: Notice, channel: str) -> dict[str, Any]:
    return {
        "notice": notice.id,
        "channel": channel,
        "event": notice.event.value,
        "request_id": notice.request.request_id,
        "content": to_kept(notice),
        "due": notice.recorded,
        "lease": "",
        "tries": 0,
        "error": "",
        "given_up": None,
    }


def _is_due(channel: str, now: datetime) -> sa.ColumnElement[bool]:
    if channel == _NOBODY_YET:
        stepped = _O.event != NoticeEvent.REMINDER.value
    else:
        stepped = sa.or_(_O.tries == 0, _O.due > now + FARTHEST)
    return sa.and_(_O.channel == channel, _O.given_up.is_(None), sa.or_(_O.due <= now, stepped))


def _held(parcel: Parcel) -> sa.ColumnElement[bool]:
    mine = sa.and_(_O.notice == parcel.notice.id, _O.channel == parcel.channel)
    return sa.and_(mine, _O.lease == parcel.lease, _O.given_up.is_(None))


def _dead(error: str, now: datetime) -> dict[str, Any]:
    return {"lease": "", "error": error, "given_up": now}


def _entry(row: Mapping[Any, Any], error: str) -> AuditEntry:
    return AuditEntry(
        action="notice_given_up",
        target_kind="ElevationRequest",
        target=row["request_id"],
        details={
            "notice": row["notice"],
            "event": row["event"],
            "channel": row["channel"],
            "tries": str(row["tries"]),
            "error": error,
        },
    )
