"""The outbox in SQL: a notice is written in the transaction of the change that it tells of, and stays until it is told.

- A row without a channel waits to be routed. Routing makes a row for each channel that hears of it, in one transaction.
- Who sends takes rows on a lease: `due` moves to its end, so that rows of a process that died are due again by themselves, and
  no other replica waits for them. INVARIANT: only the lease that holds a row may end it.
- What was never tried is due whatever its time says, and so is what would be due farther away than anything is put off: the
  clock was set back. A reminder alone waits for longer.
- Tries are counted when a row is taken, not when it fails: a message that kills its sender runs out of tries, too.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from services._chassis.audit import AuditEntry
from services._chassis.audit_store import record
from services._chassis.db import Database, Transaction
from services.policy.codec.notices import from_kept, to_kept
from services.policy.model.notices import WAITING, Notice, NoticeEvent, Parcel, Route
from services.policy.store.tables import AUDIT, OUTBOX

KEPT = timedelta(days=30)
"""How long a message is kept that cannot be told."""

FARTHEST = timedelta(hours=2)
"""Farther away than any message is put off, or leased."""

_O = OUTBOX.c
_NOBODY_YET = ""


async def tell(tx: Transaction, notice: Notice) -> None:
    """Have approvers be told of a change that the transaction makes: they are if it is committed."""
    await tx.execute(sa.insert(OUTBOX), _row(notice, _NOBODY_YET))


class SqlOutbox:
    """Route, lend and end what is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def route(self, find: Callable[[Notice], Route], now: datetime, *, most: int) -> int:
        """Make the messages of notices that are due, oldest first; return how many notices that were.

        A reminder that waits goes when its request waits no longer. What is too old is forgotten.
        """
        due = sa.select(_O.content).where(_is_due(_NOBODY_YET, now))
        due = due.order_by(_O.due, _O.notice).limit(most).with_for_update(skip_locked=True)
        async with self._database.transaction() as tx:
            notices = [from_kept(content) for content in (await tx.execute(due)).scalars()]
            for notice in notices:
                await _make_messages(tx, notice, find(notice))
            ended = [notice.request.request_id for notice in notices if notice.event not in WAITING]
            late = sa.and_(_O.request_id.in_(ended), _O.event == NoticeEvent.REMINDER.value)
            await tx.execute(sa.delete(OUTBOX).where(late, _O.given_up.is_(None)))
            await tx.execute(sa.delete(OUTBOX).where(_O.due < now - KEPT))
        return len(notices)

    async def take(self, channel: str, lease: str, *, now: datetime, until: datetime, most: int) -> Sequence[Parcel]:
        """Take messages of a channel that are due, for as long as the lease lasts."""
        due = sa.select(_O.notice).where(_is_due(channel, now))
        due = due.order_by(_O.due, _O.notice).limit(most).with_for_update(skip_locked=True)
        async with self._database.transaction() as tx:
            found = (await tx.execute(due)).scalars().all()
            taken = sa.update(OUTBOX).where(_O.channel == channel, _O.notice.in_(found))
            taken = taken.values(lease=lease, due=until, tries=_O.tries + 1)
            rows = (await tx.execute(taken.returning(_O.content, _O.tries))).all()
        parcels = [Parcel(from_kept(row.content), channel, lease, row.tries) for row in rows]
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
        dead = sa.update(OUTBOX).where(_held(parcel)).values(lease="", error=error, given_up=now)
        async with self._database.transaction() as tx:
            if (await tx.execute(dead)).rowcount:
                await record(tx, AUDIT, _entry(parcel, error), now=now, changing=False)

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


async def _make_messages(tx: Transaction, notice: Notice, route: Route) -> None:
    await tx.execute(sa.delete(OUTBOX).where(_O.notice == notice.id, _O.channel == _NOBODY_YET))
    rows = [_row(notice, channel) for channel in route.channels]
    if route.reminder is not None:
        rows.append(_row(route.reminder, _NOBODY_YET))
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


def _entry(parcel: Parcel, error: str) -> AuditEntry:
    return AuditEntry(
        action="notice_given_up",
        target_kind="ElevationRequest",
        target=parcel.notice.request.request_id,
        details={
            "notice": parcel.notice.id,
            "event": parcel.notice.event.value,
            "channel": parcel.channel,
            "tries": str(parcel.tries),
            "error": error,
        },
    )
