"""Tell in SQL who could do without administrator rights, and what stands in the way of the others.

As in other reports, a walk over pages is about what was stored when it began. What is told beside an entry is worked out for
the entries of a page alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services._chassis.paging import Page, PageRequest, cut
from services.reporting.model.readiness import (
    MOST_OBSTACLES,
    Application,
    ApplicationAttempts,
    Obstacle,
    Obstacles,
    Readiness,
    ReadinessEntry,
    ReadinessPage,
    ReadinessQuestion,
    Split,
    Subject,
)
from services.reporting.model.reports import Question
from services.reporting.store.counted import facts, parts
from services.reporting.store.dimensions import DECISION, DEVICE, FILE, USER
from services.reporting.store.obstacles import obstacles_page, unmanaged
from services.reporting.store.tables import KNOWN_DECISION
from services.reporting.store.weights import weight_of

_FILE = Application._fields
_DECISION = KNOWN_DECISION.c
_ATTEMPTS = sa.cast(sa.func.sum(sa.column("attempts")), sa.BigInteger)
_MANAGED = sa.column("managed", sa.BigInteger)
_UNMANAGED = sa.column("unmanaged", sa.BigInteger)
_VERDICTS = {
    Readiness.READY: _UNMANAGED == 0,
    Readiness.PARTLY: sa.and_(_UNMANAGED > 0, _MANAGED > 0),
    Readiness.UNMANAGED: _MANAGED == 0,
}
_SPLIT = {
    Readiness.READY: "managed_only",
    Readiness.PARTLY: "both",
    Readiness.UNMANAGED: "unmanaged_only",
}
_DIMENSIONS = {Subject.USER: USER, Subject.DEVICE: DEVICE}
_COLUMNS = {Subject.USER: ("user_name",), Subject.DEVICE: ("device_id", "device_name")}
"""What tells those apart whom a report is about, and what they are called."""


class SqlReadiness:
    """Answer on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def readiness(self, asked: ReadinessQuestion, page: PageRequest) -> ReadinessPage:
        """Return users or devices: fewest unmanaged attempts first, then most managed ones, then by name."""
        async with self._database.read() as tx:
            begun = int(page.after[0]) if page.after else None
            as_of = await tx.current_revision() if begun is None else begun
            rows = (await tx.execute(await _entries(tx, asked, page, begun))).mappings().all()
            entries = [row for row in rows if row["id"] is not None]
            shown = entries[: page.size]
            hindered = [row["id"] for row in shown if row["unmanaged"]]
            obstacles = await _obstacles_of(tx, asked, hindered, begun)
            names = await _last_names(tx, asked, shown, begun)
        weights = [_weight(row["name"], obstacles.get(row["id"], Obstacles())) for row in shown]
        keyed = cut(entries, page.fitting(weights), key=lambda row: (as_of, *(row[name] for name in _KEY)))
        found = tuple(_entry(asked.subject, row, obstacles, names) for row in keyed.items)
        split = Split(**{name: rows[0][name] for name in _SPLIT.values()})
        return ReadinessPage(Page(found, keyed.next_token), split)

    async def obstacles(self, question: Question, page: PageRequest) -> Page[Obstacle]:
        """Return applications: those first that alone keep most users from being ready, then those of most users."""
        async with self._database.read() as tx:
            return await obstacles_page(tx, question, page)


_KEY = ("unmanaged", "managed", "name", "id")


async def _entries(tx: Transaction, asked: ReadinessQuestion, page: PageRequest, as_of: int | None) -> sa.Select[Any]:
    """Select a page of entries, beside each of them (or alone, where there is none) how all of them are split."""
    each = (await _each(tx, asked, as_of)).cte("each")
    split = sa.select(
        *(
            sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0).label(_SPLIT[verdict])
            for verdict, condition in _VERDICTS.items()
        )
    ).select_from(each)
    chosen = sa.select(each).order_by(*_order(each)).limit(page.size + 1)
    if asked.verdicts:
        chosen = chosen.where(sa.or_(*(_VERDICTS[verdict] for verdict in asked.verdicts)))
    if page.after:
        chosen = chosen.where(_behind(each, *page.after[1:]))
    splits, entries = split.subquery(), chosen.subquery()
    return sa.select(splits, entries).select_from(splits.outerjoin(entries, sa.true())).order_by(*_order(entries))


async def _each(tx: Transaction, asked: ReadinessQuestion, as_of: int | None) -> sa.Select[Any]:
    """Select everyone with what they attempted. A device that had several names stands by the first of them."""
    dimension = _DIMENSIONS[asked.subject]
    found = await parts(tx, asked.question, (dimension.key, DECISION.key), as_of)
    decisions = (await tx.execute(sa.select(_DECISION.decision_key, _DECISION.managed, _DECISION.administrator))).all()
    told = {
        "managed": [row.decision_key for row in decisions if row.managed],
        "unmanaged": [row.decision_key for row in decisions if not row.managed],
        "administrator": [row.decision_key for row in decisions if row.administrator],
    }
    # By number first, and once: there are as many counts as decisions about each, and few decisions in all.
    sums = (
        sa.select(
            found.c[dimension.key],
            *(_attempts(found.c[DECISION.key].in_(keys)).label(name) for name, keys in told.items()),
        )
        .group_by(found.c[dimension.key])
        .subquery()
    )
    columns = [dimension.table.c[name] for name in _COLUMNS[asked.subject]]
    managed, unmanaged, administrator = (_sum(sums.c[name]) for name in ("managed", "unmanaged", "administrator"))
    return (
        sa.select(
            columns[0].label("id"),
            sa.func.min(columns[-1]).label("name"),
            sa.func.max(columns[-1]).label("other_name"),
            managed.label("managed"),
            unmanaged.label("unmanaged"),
            (administrator > 0).label("administrator"),
        )
        .join_from(sums, dimension.table, dimension.table.c[dimension.key] == sums.c[dimension.key])
        .group_by(columns[0])
        .having(managed + unmanaged > 0)
    )


def _attempts(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return _sum(sa.case((condition, sa.column("attempts")), else_=0))


def _sum(numbers: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.sum(numbers), sa.BigInteger)


def _order(entries: sa.FromClause) -> tuple[sa.ColumnElement[Any], ...]:
    return entries.c.unmanaged, entries.c.managed.desc(), entries.c.name, entries.c.id


def _behind(entries: sa.FromClause, *last: str | int) -> sa.ColumnElement[bool]:
    """Tell which entries stand behind the last one of a page."""
    unmanaged, managed, name, key = map(sa.literal, last)
    by_name = sa.tuple_(entries.c.name, entries.c.id) > sa.tuple_(name, key)
    by_managed = sa.or_(entries.c.managed < managed, sa.and_(entries.c.managed == managed, by_name))
    return sa.or_(entries.c.unmanaged > unmanaged, sa.and_(entries.c.unmanaged == unmanaged, by_managed))


def _entry(
    subject: Subject, row: sa.RowMapping, obstacles: Mapping[str, Obstacles], names: Mapping[str, str]
) -> ReadinessEntry:
    key = row["id"]
    return ReadinessEntry(
        name=names.get(key, row["name"]),
        device_id=key if subject is Subject.DEVICE else "",
        managed=row["managed"],
        unmanaged=row["unmanaged"],
        administrator=bool(row["administrator"]),
        obstacles=obstacles.get(key, Obstacles()),
    )


def _weight(name: str, obstacles: Obstacles) -> int:
    return weight_of((name,)) + sum(weight_of((name, *one.application)) for one in obstacles.first)


async def _obstacles_of(
    tx: Transaction, asked: ReadinessQuestion, keys: Sequence[str], as_of: int | None
) -> Mapping[str, Obstacles]:
    """Return what stands in the way of each of these users or devices."""
    if not keys:
        return {}
    column = _COLUMNS[asked.subject][0]
    narrowed = unmanaged(_about(asked, keys))
    found = await facts(tx, narrowed, (column, FILE.key), as_of)
    collected: dict[str, Obstacles] = {}
    for row in (await tx.execute(_most_frequent(found, column))).mappings():
        before = collected.get(row["id"], Obstacles())
        one = ApplicationAttempts(Application(*(row[name] for name in _FILE)), row["count"])
        collected[row["id"]] = Obstacles(row["all"], (*before.first, one))
    return collected


def _most_frequent(found: sa.Subquery, column: str) -> sa.Select[Any]:
    """Select the first applications of each, and how many there are; their names are read and compared where that tells the first."""
    grouped = (found.c[column].label("id"), found.c[FILE.key])
    cells = sa.select(*grouped, _ATTEMPTS.label("count")).group_by(*grouped).having(_ATTEMPTS > 0).subquery()
    key, count = cells.c.id, cells.c["count"]
    rank = sa.func.rank().over(partition_by=key, order_by=count.desc())
    each = sa.select(
        key, cells.c[FILE.key], count, sa.func.count().over(partition_by=key).label("all"), rank.label("rank")
    )
    some, known = each.subquery().c, FILE.table.c
    names = [known[name] for name in _FILE]
    place = sa.func.row_number().over(partition_by=some.id, order_by=(some["count"].desc(), *names))
    ranked = (
        sa.select(some.id, *names, some["count"], some["all"], place.label("place"))
        .where(some.rank <= MOST_OBSTACLES, known[FILE.key] == some[FILE.key])
        .subquery()
    )
    first = sa.select(ranked).where(ranked.c.place <= MOST_OBSTACLES)
    return first.order_by(ranked.c.id, ranked.c.place)


async def _last_names(
    tx: Transaction, asked: ReadinessQuestion, rows: Sequence[sa.RowMapping], as_of: int | None
) -> Mapping[str, str]:
    """Return what those of the devices were called last that had several names."""
    renamed = [row["id"] for row in rows if row["name"] != row["other_name"]]
    if asked.subject is not Subject.DEVICE or not renamed:
        return {}
    found = await facts(tx, _about(asked, renamed), ("device_id", "device_name", "day"), as_of)
    place = (found.c.device_id, found.c.day, found.c.device_name)
    days = sa.select(*place).group_by(*place).having(_ATTEMPTS > 0).order_by(*place)
    return {row.device_id: row.device_name for row in await tx.execute(days)}


def _about(asked: ReadinessQuestion, keys: Sequence[str]) -> Question:
    """Return the question about some of those whom it is about."""
    field = "users" if asked.subject is Subject.USER else "device_ids"
    narrowed: dict[str, Any] = {field: tuple(keys)}
    return replace(asked.question, filter=replace(asked.question.filter, **narrowed))
