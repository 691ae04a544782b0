"""Tell in SQL which applications keep users from working without administrator rights."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services._chassis.paging import Page, PageRequest, cut
from services.reporting.model.readiness import Application, Obstacle
from services.reporting.model.reports import Question
from services.reporting.store.attempts import conditions
from services.reporting.store.counted import facts
from services.reporting.store.tables import ATTEMPT

_FILE = Application._fields
_ATTEMPTS = sa.cast(sa.func.sum(sa.column("attempts")), sa.BigInteger)


async def obstacles_page(tx: Transaction, question: Question, page: PageRequest) -> Page[Obstacle]:
    """Return a page of applications; who uses them on how many devices is worked out for these alone."""
    begun = int(page.after[0]) if page.after else None
    asked = unmanaged(question)
    rows = (await tx.execute(await _applications(tx, asked, page, begun))).mappings().all()
    as_of = await tx.current_revision() if begun is None else begun
    keyed = cut(rows, page, key=lambda row: (as_of, row["users_freed"], row["users"], *_application(row)))
    applications = [_application(row) for row in keyed.items]
    devices = await _devices(tx, asked, applications, begun)
    found = [
        Obstacle(
            application=application,
            count=row["count"],
            users=row["users"],
            devices=devices[application],
            users_freed=row["users_freed"],
            attempt_id=await _newest(tx, asked, application),
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
    found = await facts(tx, question, ("user_name", *_FILE), as_of)
    columns = [found.c.user_name, *(found.c[name] for name in _FILE)]
    pairs = sa.select(*columns, _ATTEMPTS.label("count")).group_by(*columns).having(_ATTEMPTS > 0).cte("pairs")
    alone = sa.select(pairs.c.user_name).group_by(pairs.c.user_name).having(sa.func.count() == 1).subquery()
    file = [pairs.c[name] for name in _FILE]
    users, users_freed = sa.func.count(), sa.func.count(alone.c.user_name)
    statement = (
        sa.select(
            *file,
            users.label("users"),
            users_freed.label("users_freed"),
            sa.cast(sa.func.sum(pairs.c["count"]), sa.BigInteger).label("count"),
        )
        .select_from(pairs.outerjoin(alone, alone.c.user_name == pairs.c.user_name))
        .group_by(*file)
        .order_by(sa.desc("users_freed"), sa.desc("users"), *file)
        .limit(page.size + 1)
    )
    if not page.after:
        return statement
    _, freed, count, *key = map(sa.literal, page.after)
    by_file = sa.tuple_(*file) > sa.tuple_(*key)
    by_users = sa.or_(users < count, sa.and_(users == count, by_file))
    return statement.having(sa.or_(users_freed < freed, sa.and_(users_freed == freed, by_users)))


async def _devices(
    tx: Transaction, question: Question, applications: Collection[Application], as_of: int | None
) -> Mapping[Application, int]:
    """Count the devices on which there were such attempts, for each of the applications."""
    if not applications:
        return {}
    # Narrower than the question, wider than the applications: what else has one of the names and one of the hashes is passed over.
    names = tuple(sorted({application.file_name for application in applications}))
    hashes = tuple(sorted({application.sha256 for application in applications}))
    wider = replace(question, filter=replace(question.filter, file_names=names, sha256s=hashes))
    found = await facts(tx, wider, ("device_id", *_FILE), as_of)
    columns = [found.c.device_id, *(found.c[name] for name in _FILE)]
    each = sa.select(*columns).group_by(*columns).having(_ATTEMPTS > 0).subquery()
    file = [each.c[name] for name in _FILE]
    counted = await tx.execute(sa.select(*file, sa.func.count().label("devices")).group_by(*file))
    return {Application(*row[:-1]): row[-1] for row in map(tuple, counted)}


async def _newest(tx: Transaction, question: Question, application: Application) -> str:
    """Return the newest attempt of an application; empty where its event is not kept any longer."""
    these = replace(question, filter=application.drill_down)
    newest = sa.select(ATTEMPT.c.attempt_id).where(*conditions(question), *conditions(these))
    newest = newest.order_by(ATTEMPT.c.occurred.desc(), ATTEMPT.c.event_id.desc()).limit(1)
    return (await tx.execute(newest)).scalar() or ""
