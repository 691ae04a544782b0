"""Answer reports in SQL: scope tags narrow before anything is counted or cut into pages.

A walk over the pages of a count is about what was stored when it began: every page tells the counts of that moment, so nothing
comes twice and nothing is left out, whatever comes in meanwhile.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.paging import Page, PageRequest, cut
from services.reporting.model.events import microseconds
from services.reporting.model.reports import (
    ApplicationCount,
    Elevation,
    PublisherCount,
    Question,
    Summary,
    Tally,
    UserCount,
)
from services.reporting.store.attempts import conditions, elevation_of, shown, visible
from services.reporting.store.counted import facts
from services.reporting.store.tables import ATTEMPT

_A = ATTEMPT.c
_COUNT = sa.cast(sa.func.sum(sa.column("attempts")), sa.BigInteger)
_MANAGED = sa.cast(
    sa.func.sum(sa.case((sa.column("managed", sa.Boolean), sa.column("attempts")), else_=0)), sa.BigInteger
)
_APPLICATION = ("file_name", "internal_name", "version", "company_name", "sha256", "elevation_type")
_PUBLISHER = ("publisher", "elevation_type")
_USER = ("user_name",)


class SqlReports:
    """Answer questions on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def elevations(self, question: Question, page: PageRequest) -> Page[Elevation]:
        """Return attempts, newest first."""
        statement = shown().where(*conditions(question)).order_by(_A.occurred.desc(), _A.event_id.desc())
        if page.after:
            statement = statement.where(sa.tuple_(_A.occurred, _A.event_id) < sa.tuple_(*map(sa.literal, page.after)))
        rows = await self._rows(statement.limit(page.size + 1))
        fitting = page.fitting(len(row["body"]) for row in rows)
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

    async def applications(self, question: Question, page: PageRequest) -> Page[ApplicationCount]:
        """Count attempts by application and elevation type, most first."""
        rows, as_of = await self._most_first(_APPLICATION, question, page)
        counts = [ApplicationCount(**row) for row in rows]
        return cut(counts, page, key=lambda found: (as_of, *_application_key(found)))

    async def publishers(self, question: Question, page: PageRequest) -> Page[PublisherCount]:
        """Count attempts by publisher and elevation type, most first."""
        rows, as_of = await self._most_first(_PUBLISHER, question, page)
        counts = [PublisherCount(**row) for row in rows]
        return cut(counts, page, key=lambda found: (as_of, *_publisher_key(found)))

    async def users(self, question: Question, page: PageRequest) -> Page[UserCount]:
        """Count attempts by user, most first."""
        rows, as_of = await self._most_first(_USER, question, page, managed=True)
        counts = [_user_count(row) for row in rows]
        return cut(counts, page, key=lambda found: (as_of, *_user_key(found)))

    async def _most_first(
        self, names: tuple[str, ...], question: Question, page: PageRequest, *, managed: bool = False
    ) -> tuple[Sequence[sa.RowMapping], str | int]:
        """Return the rows of a page, and the number of the newest transaction when the walk began."""
        async with self._database.read() as tx:
            begun = page.after[0] if page.after else None
            split = ("managed",) if managed else ()
            found = await facts(tx, question, (*names, *split), None if begun is None else int(begun))
            measures = [_MANAGED.label("managed")] if managed else []
            counted = _page_of(found, [found.c[name] for name in names], page).add_columns(*measures)
            rows = (await tx.execute(counted)).mappings().all()
            return rows, await tx.current_revision() if begun is None else begun

    async def _rows(self, statement: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        async with self._database.read() as tx:
            return (await tx.execute(statement)).mappings().all()


def _page_of(found: sa.Subquery, groups: Sequence[sa.ColumnElement[Any]], page: PageRequest) -> sa.Select[Any]:
    statement = (
        sa.select(*groups, _COUNT.label("count"))
        .select_from(found)
        .group_by(*groups)
        .having(_COUNT > 0)
        .order_by(sa.desc("count"), *groups)
        .limit(page.size + 1)
    )
    if not page.after:
        return statement
    _, count, *key = page.after
    last = sa.literal(count)
    beyond = sa.tuple_(*groups) > sa.tuple_(*map(sa.literal, key))
    return statement.having(sa.or_(last > _COUNT, sa.and_(last == _COUNT, beyond)))


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


def _application_key(found: ApplicationCount) -> tuple[str | int, ...]:
    facts = (found.file_name, found.internal_name, found.version, found.company_name, found.sha256)
    return (found.count, *facts, found.elevation_type)


def _publisher_key(found: PublisherCount) -> tuple[str | int, ...]:
    return (found.count, found.publisher, found.elevation_type)


def _user_key(found: UserCount) -> tuple[str | int, ...]:
    return (found.total, found.user)
