"""Tell in SQL which applications keep users from working without administrator rights."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from services._chassis.db import Transaction
from services._chassis.paging import Page, PageRequest, cut
from services.reporting.model.obstacles import Sets, Weight
from services.reporting.model.readiness import Application, Obstacle
from services.reporting.model.reports import Question
from services.reporting.store.counted import facts
from services.reporting.store.dimensions import DEVICE, FILE, USER
from services.reporting.store.listed import listed_numbers
from services.reporting.store.narrowing import members, window_of
from services.reporting.store.newest import FEW, Few, newest_attempts
from services.reporting.store.sets import added_since, met
from services.reporting.store.sources import EVERY_ONE
from services.reporting.store.weights import weight_of

_FILE = Application._fields


@dataclass(frozen=True, slots=True)
class _Standing:
    """An application in its place: what it is ordered by."""

    key: int
    application: Application
    users: int
    users_freed: int

    @property
    def order(self) -> tuple[int, int, Application]:
        """Return what sorts it."""
        return -self.users_freed, -self.users, self.application


async def obstacles_page(tx: Transaction, question: Question, page: PageRequest, *, few: Few = FEW) -> Page[Obstacle]:
    """Return a page of applications; how often, and on how many devices, they were met is worked out for these alone."""
    asked = unmanaged(question)
    as_of = int(page.after[0]) if page.after else await tx.current_revision()
    # Where nothing was added since the walk began, nothing has to be taken off.
    begun = as_of if page.after and await added_since(tx, asked, window_of(asked), as_of) else None
    found = await met(tx, asked, begun)
    standing = await (_added_up(tx, asked, page, begun) if found is None else _placed(tx, found.weights, page))
    page = page.fitting(weight_of(one.application) for one in standing)
    shown = cut(standing, page, key=lambda one: (as_of, one.users_freed, one.users, *one.application))
    keys = [one.key for one in shown.items]
    if not keys:
        return Page(())
    attempts = await _attempts(tx, asked, keys, begun)
    if found is not None and found.knows_devices:
        devices = await _distinct(tx, found.devices(keys))
    else:
        devices = await _devices(tx, asked, keys, begun)
    newest = await newest_attempts(tx, asked, keys, few)
    obstacles = [
        Obstacle(
            application=one.application,
            count=attempts[one.key],
            users=one.users,
            devices=devices[one.key],
            users_freed=one.users_freed,
            attempt_id=newest.get(one.key, ""),
        )
        for one in shown.items
    ]
    return Page(tuple(obstacles), shown.next_token)


def unmanaged(question: Question) -> Question:
    """Return the question about unmanaged attempts alone."""
    return replace(question, filter=replace(question.filter, managed=False))


async def _placed(tx: Transaction, weights: Sequence[Weight], page: PageRequest) -> Sequence[_Standing]:
    """Return the applications of a page, and one more where there are more; names are read where they tell the order."""
    last = _last(page)
    wanted: list[Weight] = []
    behind = 0
    for _, alike in groupby(weights, key=lambda one: (-one.users_freed, -one.users)):
        some = list(alike)
        if last is not None and (-some[0].users_freed, -some[0].users) < last[:2]:
            continue
        wanted += some
        if last is None or (-some[0].users_freed, -some[0].users) > last[:2]:
            behind += len(some)
        if behind > page.size:
            break
    known = FILE.table.c
    keys = listed_numbers([one.file for one in wanted])
    names = {
        row[0]: Application(*row[1:])
        for row in map(
            tuple,
            await tx.execute(
                sa.select(known[FILE.key], *(known[name] for name in _FILE)).where(known[FILE.key].in_(keys))
            ),
        )
    }
    standing = sorted(
        (_Standing(one.file, names[one.file], one.users, one.users_freed) for one in wanted), key=lambda one: one.order
    )
    return [one for one in standing if last is None or one.order > last][: page.size + 1]


def _last(page: PageRequest) -> tuple[int, int, Application] | None:
    """Return what sorts the last application of the page before."""
    if not page.after:
        return None
    _, users_freed, users, *names = page.after
    return -int(users_freed), -int(users), Application(*map(str, names))


async def _added_up(tx: Transaction, question: Question, page: PageRequest, as_of: int | None) -> Sequence[_Standing]:
    """Return the same where counts alone can tell."""
    rows = (await tx.execute(await _applications(tx, question, page, as_of))).mappings()
    return [
        _Standing(row[FILE.key], Application(*(row[name] for name in _FILE)), row["users"], row["users_freed"])
        for row in rows
    ]


async def _attempts(tx: Transaction, question: Question, keys: Collection[int], as_of: int | None) -> Mapping[int, int]:
    """Count the attempts of the applications with these numbers, at least."""
    # Counts that begin with users are sooner read whole than looked into for each user and application.
    by_users = not members(question).keys().isdisjoint({USER, DEVICE})
    found = await facts(tx, question, (FILE.key,), as_of, among=EVERY_ONE if by_users else {FILE: keys})
    return {row[0]: row[1] for row in map(tuple, await tx.execute(sa.select(found)))}


async def _applications(tx: Transaction, question: Question, page: PageRequest, as_of: int | None) -> sa.Select[Any]:
    """Select a page of applications with their users, those whom each alone keeps from being ready among them."""
    pairs = sa.select(await facts(tx, question, ("user_key", FILE.key), as_of)).cte("pairs")
    file = pairs.c[FILE.key]
    alone = sa.select(sa.func.min(file).label(FILE.key)).group_by(pairs.c.user_key).having(sa.func.count() == 1)
    held = alone.subquery()
    freed = sa.select(held.c[FILE.key], sa.func.count().label("users_freed")).group_by(held.c[FILE.key]).subquery()
    each = sa.select(file, sa.func.count().label("users")).group_by(file).subquery()
    known = FILE.table.c
    key, users, users_freed = each.c[FILE.key], each.c.users, sa.func.coalesce(freed.c.users_freed, 0)
    names = [known[name] for name in _FILE]
    return (
        sa.select(key, *names, users, users_freed.label("users_freed"))
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


async def _distinct(tx: Transaction, devices: Sets) -> Mapping[int, int]:
    """Count the devices in each set, those once that have several numbers there."""
    same = _same_devices()
    others = {
        row[0]: row[1]
        for row in map(tuple, await tx.execute(sa.select(same).where(same.c.device != same.c[DEVICE.key])))
    }
    several = BitMap([*others, *others.values()])
    return {
        file: len(numbers - several) + len({others.get(one, one) for one in numbers & several})
        for file, numbers in devices.items()
    }


def _same_devices() -> sa.Subquery:
    """Select one number for each device, beside all under which it is known: one for each name that it had."""
    known = DEVICE.table.c
    first = sa.func.min(known[DEVICE.key]).over(partition_by=known.device_id)
    return sa.select(known[DEVICE.key], first.label("device")).subquery()
