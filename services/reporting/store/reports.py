"""Answer reports in SQL: scope tags narrow before anything is counted or cut into pages.

A walk over the pages of a count is about what was stored when it began: every page tells the counts of that moment, so nothing
comes twice and nothing is left out, whatever comes in meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services._chassis.ordering import Order
from services._chassis.paging import LARGEST_PAGE, Page, PageRequest, cut
from services.reporting.model.events import LARGEST_EVENT, microseconds
from services.reporting.model.reports import (
    BUSIEST_FIRST,
    MOST_FIRST,
    NEWEST_FIRST,
    ApplicationCount,
    Elevation,
    PublisherCount,
    Question,
    Summary,
    Tally,
    UserCount,
)
from services.reporting.store.attempts import elevation_of, shown, visible
from services.reporting.store.counted import facts
from services.reporting.store.dimensions import USER
from services.reporting.store.finding import Finder
from services.reporting.store.tables import ATTEMPT
from services.reporting.store.weights import weight_of

_A = ATTEMPT.c
_COUNT = sa.cast(sa.func.sum(sa.column("attempts")), sa.BigInteger)
_MANAGED = sa.cast(sa.func.sum(sa.column("managed_attempts")), sa.BigInteger)
_MEASURES: Mapping[str, sa.ColumnElement[Any]] = {
    "count": _COUNT,
    "total": _COUNT,
    "managed": _MANAGED,
    "unmanaged": _COUNT - _MANAGED,
}
_COLUMNS = {"user": "user_name"}
"""The columns whose orders are called otherwise."""
_APPLICATION = ("file_name", "internal_name", "version", "company_name", "sha256", "publisher", "elevation_type")
_PUBLISHER = ("publisher", "elevation_type")
_USER = ("user_name",)


class SqlReports:
    """Answer questions on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def elevations(self, question: Question, page: PageRequest, order: Order = NEWEST_FIRST) -> Page[Elevation]:
        """Return attempts by when they happened."""
        by = (_A.occurred, _A.event_id)
        turned = [column.desc() for column in by] if order.descending else by
        async with self._database.read() as tx:
            found = await Finder(tx, question, page, order).find()
            fitting = page.fitting(await _weights(tx, found))
            fit = found[: fitting.size + 1]
            rows = (await tx.execute(shown().where(_A.event_id.in_(fit)).order_by(*turned))).mappings().all()
        return cut([elevation_of(row) for row in rows], fitting, key=_elevation_key)

    async def elevation(self, attempt_id: str, tags: frozenset[str] | None) -> Elevation | None:
        """Return one attempt; None if there is none that may be seen."""
        asked = shown().where(_A.attempt_id == attempt_id, *visible(tags))
        rows = await self._rows(asked.order_by(_A.received, _A.event_id).limit(1))
        return elevation_of(rows[0]) if rows else None

    async def summary(self, question: Question) -> Summary:
        """Count attempts by what became of them, in one pass over them."""
        names = ("managed", "result", "elevation_type")
        async with self._database.read() as tx:
            found = await facts(tx, question, names, None)
            groups = [found.c[name] for name in names]
            counted = sa.select(*groups, _COUNT.label("count")).select_from(found).group_by(*groups)
            rows = (await tx.execute(counted)).mappings().all()
        return Summary(
            managed=sum(row["count"] for row in rows if row["managed"]),
            unmanaged=sum(row["count"] for row in rows if not row["managed"]),
            results=_tallies(rows, "result"),
            elevation_types=_tallies(rows, "elevation_type"),
        )

    async def applications(
        self, question: Question, page: PageRequest, order: Order = MOST_FIRST
    ) -> Page[ApplicationCount]:
        """Count attempts by application and elevation type."""
        rows, as_of = await self._counted(Counted(_APPLICATION, order), question, page)
        counts = [ApplicationCount(**row) for row in rows]
        return cut(
            counts, _fitting(page, counts, _APPLICATION), key=lambda found: _key(as_of, found, order, _APPLICATION)
        )

    async def publishers(
        self, question: Question, page: PageRequest, order: Order = MOST_FIRST
    ) -> Page[PublisherCount]:
        """Count attempts by publisher and elevation type."""
        rows, as_of = await self._counted(Counted(_PUBLISHER, order), question, page)
        counts = [PublisherCount(**row) for row in rows]
        return cut(counts, _fitting(page, counts, _PUBLISHER), key=lambda found: _key(as_of, found, order, _PUBLISHER))

    async def users(self, question: Question, page: PageRequest, order: Order = BUSIEST_FIRST) -> Page[UserCount]:
        """Count attempts by user."""
        rows, as_of = await self._counted(Counted(_USER, order, split=True), question, page)
        counts = [_user_count(row) for row in rows]
        return cut(counts, page, key=lambda found: _key(as_of, found, order, ("user",)))

    async def _counted(
        self, counted: "Counted", question: Question, page: PageRequest
    ) -> tuple[Sequence[sa.RowMapping], str | int]:
        """Return the rows of a page, and the number of the newest transaction when the walk began."""
        async with self._database.read() as tx:
            begun = page.after[0] if page.after else None
            as_of = None if begun is None else int(begun)
            found = await (_users(tx, question, as_of) if counted.split else facts(tx, question, counted.names, as_of))
            rows = (await tx.execute(counted.page_of(found, page))).mappings().all()
            return rows, await tx.current_revision() if begun is None else begun

    async def _rows(self, statement: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        async with self._database.read() as tx:
            return (await tx.execute(statement)).mappings().all()


@dataclass(frozen=True, slots=True)
class Counted:
    """Count by the columns of these names, in an order; with `split`, managed attempts are told apart."""

    names: tuple[str, ...]
    order: Order
    split: bool = False

    def page_of(self, found: sa.Subquery, page: PageRequest) -> sa.Select[Any]:
        """Select a page: what stands alike in the order stands by its names."""
        groups = [found.c[name] for name in self.names]
        measures = [_MANAGED.label("managed")] if self.split else []
        by = _MEASURES.get(self.order.by)
        if by is None:
            by = found.c[_COLUMNS.get(self.order.by, self.order.by)]
        statement = (
            sa.select(*groups, _COUNT.label("count"), *measures)
            .select_from(found)
            .group_by(*groups)
            .having(_COUNT > 0)
            .order_by(by.desc() if self.order.descending else by, *groups)
            .limit(page.size + 1)
        )
        if not page.after:
            return statement
        _, value, *key = page.after
        last = sa.literal(value)
        beyond = sa.tuple_(*groups) > sa.tuple_(*map(sa.literal, key))
        further = by < last if self.order.descending else by > last
        return statement.having(sa.or_(further, sa.and_(by == last, beyond)))


async def _users(tx: Transaction, question: Question, as_of: int | None) -> sa.Subquery:
    """Select users by name, with their `attempts` and `managed_attempts`: added up by number, for several decisions are about each."""
    found = await facts(tx, question, (USER.key, "managed"), as_of)
    managed = sa.cast(sa.func.sum(sa.case((found.c.managed, found.c.attempts), else_=0)), sa.BigInteger)
    attempts, key = sa.cast(sa.func.sum(found.c.attempts), sa.BigInteger), found.c[USER.key]
    sums = sa.select(key, attempts.label("attempts"), managed.label("managed_attempts")).group_by(key).subquery()
    known = USER.table.c
    named = sa.select(known.user_name, sums.c.attempts, sums.c.managed_attempts)
    return named.join_from(sums, USER.table, known[USER.key] == sums.c[USER.key]).subquery()


def _fitting(
    page: PageRequest, counts: Sequence[ApplicationCount | PublisherCount], names: Sequence[str]
) -> PageRequest:
    return page.fitting(weight_of(getattr(found, name) for name in names) for found in counts)


async def _weights(tx: Transaction, event_ids: Sequence[str]) -> Sequence[int]:
    """Return how many bytes each of these attempts has: a page of large ones is not read to be cut."""
    if len(event_ids) * LARGEST_EVENT <= LARGEST_PAGE:
        return [LARGEST_EVENT] * len(event_ids)
    sizes = sa.select(_A.event_id, sa.func.length(_A.body)).where(_A.event_id.in_(event_ids))
    sized = {row[0]: row[1] for row in map(tuple, await tx.execute(sizes))}
    return [sized[event_id] for event_id in event_ids]


def _key(
    as_of: str | int, found: ApplicationCount | PublisherCount | UserCount, order: Order, names: tuple[str, ...]
) -> tuple[str | int, ...]:
    return (as_of, getattr(found, order.by), *(getattr(found, name) for name in names))


def _user_count(row: sa.RowMapping) -> UserCount:
    return UserCount(user=row["user_name"], managed=row["managed"], unmanaged=row["count"] - row["managed"])


def _tallies(rows: Sequence[sa.RowMapping], word: str) -> tuple[Tally, ...]:
    counts: dict[str, int] = {}
    for row in rows:
        key = row[word]
        counts[key] = counts.get(key, 0) + row["count"]
    return tuple(Tally(key, count) for key, count in sorted(counts.items()))


def _elevation_key(found: Elevation) -> tuple[str | int, ...]:
    return (microseconds(found.occurred), found.event_id)
