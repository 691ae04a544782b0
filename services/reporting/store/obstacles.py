"""Tell in SQL which applications keep users from working without administrator rights."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services._chassis.paging import Page, PageRequest, cut
from services.reporting.model.events import datetime_of
from services.reporting.model.readiness import Application, Obstacle
from services.reporting.model.reports import Question
from services.reporting.model.rollups import DAY
from services.reporting.store.attempts import conditions
from services.reporting.store.counted import facts
from services.reporting.store.dimensions import DEVICE, FILE
from services.reporting.store.finding import batches, days_with_events
from services.reporting.store.narrowing import Window, window_of
from services.reporting.store.tables import ATTEMPT
from services.reporting.store.weights import weight_of

_FILE = Application._fields
FEW = 300
"""Attempts of a file on one day that are sooner read than one of them is found along the times."""
FIRST_DAYS = 2
"""Days that are looked at first for the newest attempts of files."""


async def obstacles_page(tx: Transaction, question: Question, page: PageRequest, *, few: int = FEW) -> Page[Obstacle]:
    """Return a page of applications; who uses them on how many devices is worked out for these alone."""
    begun = int(page.after[0]) if page.after else None
    asked = unmanaged(question)
    rows = (await tx.execute(await _applications(tx, asked, page, begun))).mappings().all()
    as_of = await tx.current_revision() if begun is None else begun
    page = page.fitting(weight_of(_application(row)) for row in rows)
    keyed = cut(rows, page, key=lambda row: (as_of, row["users_freed"], row["users"], *_application(row)))
    applications = [_application(row) for row in keyed.items]
    if not applications:
        return Page(())
    keys = {row[FILE.key] for row in keyed.items}
    devices = await _devices(tx, asked, keys, begun)
    newest = await _newest(tx, asked, keys, few)
    found = [
        Obstacle(
            application=application,
            count=row["count"],
            users=row["users"],
            devices=devices[row[FILE.key]],
            users_freed=row["users_freed"],
            attempt_id=newest.get(row[FILE.key], ""),
        )
        for row, application in zip(keyed.items, applications, strict=True)
    ]
    return Page(tuple(found), keyed.next_token)


def unmanaged(question: Question) -> Question:
    """Return the question about unmanaged attempts alone."""
    return replace(question, filter=replace(question.filter, managed=False))


def _application(row: sa.RowMapping) -> Application:
    return Application(*(row[name] for name in _FILE))


async def _applications(tx: Transaction, question: Question, page: PageRequest, as_of: int | None) -> sa.Select[Any]:
    """Select a page of applications with their users, those whom each alone keeps from being ready among them."""
    pairs = sa.select(await facts(tx, question, ("user_key", FILE.key), as_of)).cte("pairs")
    file = pairs.c[FILE.key]
    alone = sa.select(sa.func.min(file).label(FILE.key)).group_by(pairs.c.user_key).having(sa.func.count() == 1)
    held = alone.subquery()
    freed = sa.select(held.c[FILE.key], sa.func.count().label("users_freed")).group_by(held.c[FILE.key]).subquery()
    total = sa.cast(sa.func.sum(pairs.c.attempts), sa.BigInteger).label("count")
    each = sa.select(file, sa.func.count().label("users"), total).group_by(file).subquery()
    known = FILE.table.c
    key, users, users_freed = each.c[FILE.key], each.c.users, sa.func.coalesce(freed.c.users_freed, 0)
    names = [known[name] for name in _FILE]
    return (
        sa.select(key, *names, users, users_freed.label("users_freed"), each.c["count"])
        .select_from(each.join(FILE.table, known[FILE.key] == key).outerjoin(freed, freed.c[FILE.key] == key))
        .where(*_behind(page, users_freed, users, names))
        .order_by(users_freed.desc(), users.desc(), *names)
        .limit(page.size + 1)
    )


def _behind(
    page: PageRequest,
    users_freed: sa.ColumnElement[int],
    users: sa.ColumnElement[int],
    names: Sequence[sa.ColumnElement[str]],
) -> Iterator[sa.ColumnElement[bool]]:
    """Narrow to what stands behind the last application of a page."""
    if page.after:
        _, last_freed, last_users, *last_names = map(sa.literal, page.after)
        by_name = sa.tuple_(*names) > sa.tuple_(*last_names)
        by_users = sa.or_(users < last_users, sa.and_(users == last_users, by_name))
        yield sa.or_(users_freed < last_freed, sa.and_(users_freed == last_freed, by_users))


async def _devices(tx: Transaction, question: Question, keys: Collection[int], as_of: int | None) -> Mapping[int, int]:
    """Count the devices on which there were attempts, for each of the applications with these numbers."""
    found = await facts(tx, question, (FILE.key, DEVICE.key), as_of, among={FILE: keys})
    same = _same_devices()
    devices = sa.func.count(sa.distinct(same.c.device))
    counted = (
        sa.select(found.c[FILE.key], devices)
        .select_from(found.join(same, same.c[DEVICE.key] == found.c[DEVICE.key]))
        .group_by(found.c[FILE.key])
    )
    return {row[0]: row[1] for row in map(tuple, await tx.execute(counted))}


def _same_devices() -> sa.Subquery:
    """Select one number for each device, beside all under which it is known: one for each name that it had."""
    known = DEVICE.table.c
    first = sa.func.min(known[DEVICE.key]).over(partition_by=known.device_id)
    return sa.select(known[DEVICE.key], first.label("device")).subquery()


async def _newest(tx: Transaction, question: Question, keys: Collection[int], few: int) -> Mapping[int, str]:
    """Return the newest attempt of the applications with these numbers; none where no event is kept any longer.

    Counts tell the day. Where there are few attempts on it they are all read; where there are many, one of the last is found
    after a short walk along the times.
    """
    last = await _last_days(tx, question, keys)
    newest: dict[int, str] = {}
    # Day by day: SQLite finds no index for pairs.
    for day in {on for on, attempts in last.values() if attempts <= few}:
        wanted = [key for key, (on, attempts) in last.items() if on == day and attempts <= few]
        newest |= await _of_few(tx, question, wanted, day)
    for key, (day, attempts) in last.items():
        if attempts > few and (attempt_id := await _walked(tx, question, key, day)) is not None:
            newest[key] = attempt_id
    return newest


async def _last_days(tx: Transaction, question: Question, keys: Collection[int]) -> Mapping[int, tuple[int, int]]:
    """Return the last day on which each of these files was used, as far as events are kept, and how many attempts it had then.

    Most of what stands in the way is in use all the time: so the newest days are looked at first, those before for the others.
    """
    last: dict[int, tuple[int, int]] = {}
    for days in batches(await days_with_events(tx, window_of(question)), descending=True, size=FIRST_DAYS):
        left = set(keys) - last.keys()
        if not left:
            break
        within = _within(question, days[-1], days[0] + 1)
        found = await facts(tx, within, (FILE.key, "day"), None, among={FILE: left})
        for key, day, attempts in map(tuple, await tx.execute(sa.select(found))):
            last[key] = max(last.get(key, (-1, 0)), (day, attempts))
    return last


def _within(question: Question, first: int, before: int) -> Question:
    """Narrow a question to whole days, as far as they are within its times."""
    asked = question.filter
    start, end = datetime_of(first * DAY), datetime_of(before * DAY)
    start = start if asked.occurred_from is None else max(start, asked.occurred_from)
    end = end if asked.occurred_before is None else min(end, asked.occurred_before)
    return replace(question, filter=replace(asked, occurred_from=start, occurred_before=end))


async def _of_few(tx: Transaction, question: Question, keys: Collection[int], day: int) -> Mapping[int, str]:
    event = ATTEMPT.c
    newest_first = (event.occurred.desc(), event.event_id.desc())
    ranked = (
        sa.select(
            event[FILE.key],
            event.attempt_id,
            sa.func.row_number().over(partition_by=event[FILE.key], order_by=newest_first).label("place"),
        )
        .where(event.day == day, event[FILE.key].in_(keys), *conditions(question))
        .subquery()
    )
    first = sa.select(ranked.c[FILE.key], ranked.c.attempt_id).where(ranked.c.place == 1)
    return {row[0]: row[1] for row in map(tuple, await tx.execute(first))}


async def _walked(tx: Transaction, question: Question, key: int, day: int) -> str | None:
    event = ATTEMPT.c
    within = Window(day * DAY, (day + 1) * DAY).of(event.occurred)
    newest_first = (event.occurred.desc(), event.event_id.desc())
    walk = sa.select(event.attempt_id).where(*within, event[FILE.key] == key, *conditions(question))
    found: str | None = (await tx.execute(walk.order_by(*newest_first).limit(1))).scalar()
    return found
