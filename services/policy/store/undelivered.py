"""Messages of the outbox that their receivers do not have, for administrators, in SQL."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services._chassis.audit import AuditEntry
from services._chassis.audit_store import record
from services._chassis.db import Database
from services._chassis.paging import Page, PageRequest, cut
from services.policy.codec.notices import UnreadableNoticeError, from_kept
from services.policy.model.notices import Notice, Undelivered
from services.policy.store.tables import AUDIT, OUTBOX

CHUNK = 200
"""Messages that are read at once while a page is filled."""

MOST_LOOKED = 5000
"""Messages that are looked through for one page: who may see few of them goes on by the token."""

_O = OUTBOX.c
_ROUTED = _O.channel != ""
_ORDER = (_O.notice.desc(), _O.channel.desc())
Matches = Callable[[Undelivered], bool]


class SqlUndelivered:
    """List them, and have those that were given up be sent again."""

    def __init__(self, database: Database, *, chunk: int = CHUNK, most_looked: int = MOST_LOOKED) -> None:
        self._database = database
        self._chunk = chunk
        self._most_looked = most_looked

    async def page(self, request: PageRequest, matches: Matches, *, given_up: bool) -> Page[Undelivered]:
        """Read on until the page is full, or enough was looked through: how many may be seen is not known before."""
        asked = sa.select(OUTBOX).where(_ROUTED, _O.given_up.is_not(None) if given_up else sa.true())
        found: list[Undelivered] = []
        after, looked = request.after, 0
        async with self._database.read() as tx:
            while True:
                step = asked.order_by(*_ORDER).limit(self._chunk)
                rows = (await tx.execute(step.where(_behind(after)) if after else step)).mappings().all()
                found += filter(matches, _messages(rows))
                if len(rows) < self._chunk or len(found) > request.size:
                    return cut(found, request, key=_key)
                after, looked = (rows[-1]["notice"], rows[-1]["channel"]), looked + len(rows)
                if looked >= self._most_looked:
                    return Page(tuple(found), request.next_token(after))

    async def retry(self, ids: Collection[str], matches: Matches, now: datetime) -> int:
        """Have them sent again as if they had never been tried."""
        named = [_O.notice == notice for notice, _, _ in (each.partition("/") for each in ids if "\0" not in each)]
        dead = sa.select(OUTBOX).where(_ROUTED, _O.given_up.is_not(None), sa.or_(sa.false(), *named)).with_for_update()
        async with self._database.transaction() as tx:
            rows = (await tx.execute(dead)).mappings().all()
            messages = [each for each in _messages(rows) if each.id in ids and matches(each)]
            for each in messages:
                this = sa.update(OUTBOX).where(_O.notice == each.notice.id, _O.channel == each.channel)
                await tx.execute(this.values(given_up=None, tries=0, error="", due=now))
            if messages:
                await record(tx, AUDIT, *map(_entry, messages), now=now, changing=False)
        return len(messages)


def _messages(rows: Iterable[sa.RowMapping]) -> Iterator[Undelivered]:
    """Read messages but those that this version cannot read: nobody knows who may see them."""
    for row in rows:
        with suppress(UnreadableNoticeError):
            yield _message(row, from_kept(row["content"]))


def _message(row: sa.RowMapping, notice: Notice) -> Undelivered:
    return Undelivered(
        notice=notice,
        channel=row["channel"],
        tries=row["tries"],
        error=row["error"],
        due=row["due"],
        given_up=row["given_up"],
    )


def _key(message: Undelivered) -> tuple[str | int, ...]:
    return message.notice.id, message.channel


def _behind(after: tuple[str | int, ...]) -> sa.ColumnElement[bool]:
    notice, channel = after
    same: sa.ColumnElement[Any] = sa.and_(_O.notice == notice, _O.channel < channel)
    return sa.or_(_O.notice < notice, same)


def _entry(message: Undelivered) -> AuditEntry:
    return AuditEntry(
        action="notice_sent_again",
        target_kind="ElevationRequest",
        target=message.notice.request.request_id,
        details={
            "notice": message.notice.id,
            "event": message.notice.event.value,
            "channel": message.channel,
            "error": message.error,
        },
    )
