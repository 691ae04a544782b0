"""Answer reports from the events, in SQL: scope tags narrow before anything is counted or cut into pages."""

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
from services.reporting.store.tables import ATTEMPT

_A = ATTEMPT.c
_COUNT = sa.func.count().label("count")
_AS_OF = sa.func.max(sa.func.max(_A.received)).over().label("as_of")
_MANAGED = sa.func.sum(sa.case((_A.managed, 1), else_=0)).label("managed")
_APPLICATION = (_A.file_name, _A.internal_name, _A.version, _A.company_name, _A.sha256, _A.elevation_type)
_PUBLISHER = (_A.publisher, _A.elevation_type)


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
        groups = (_A.managed, _A.result, _A.elevation_type)
        rows = await self._rows(sa.select(*groups, _COUNT).where(*conditions(question)).group_by(*groups))
        return Summary(
            managed=sum(row["count"] for row in rows if row["managed"]),
            unmanaged=sum(row["count"] for row in rows if not row["managed"]),
            results=_tallies(rows, "result"),
            elevation_types=_tallies(rows, "elevation_type"),
        )

    async def applications(self, question: Question, page: PageRequest) -> Page[ApplicationCount]:
        """Count attempts by application and elevation type, most first."""
        rows = await self._rows(_most_first(_APPLICATION, question, page))
        counts = [ApplicationCount(**_without_time(row)) for row in rows]
        as_of = _as_of(rows, page)
        return cut(counts, page, key=lambda found: (as_of, *_application_key(found)))

    async def publishers(self, question: Question, page: PageRequest) -> Page[PublisherCount]:
        """Count attempts by publisher and elevation type, most first."""
        rows = await self._rows(_most_first(_PUBLISHER, question, page))
        counts = [PublisherCount(**_without_time(row)) for row in rows]
        as_of = _as_of(rows, page)
        return cut(counts, page, key=lambda found: (as_of, *_publisher_key(found)))

    async def users(self, question: Question, page: PageRequest) -> Page[UserCount]:
        """Count attempts by user, most first."""
        rows = await self._rows(_most_first((_A.user_name,), question, page).add_columns(_MANAGED))
        counts = [_user_count(row) for row in rows]
        as_of = _as_of(rows, page)
        return cut(counts, page, key=lambda found: (as_of, *_user_key(found)))

    async def _rows(self, statement: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        async with self._database.read() as tx:
            return (await tx.execute(statement)).mappings().all()


def _most_first(groups: Sequence[sa.Column[Any]], question: Question, page: PageRequest) -> sa.Select[Any]:
    statement = (
        sa.select(*groups, _COUNT, _AS_OF)
        .where(*conditions(question))
        .group_by(*groups)
        .order_by(sa.desc("count"), *groups)
        .limit(page.size + 1)
    )
    if not page.after:
        return statement
    as_of, count, *key = page.after
    beyond = sa.tuple_(*groups) > sa.tuple_(*map(sa.literal, key))
    total = sa.func.count()
    # Counts of what had been received when the walk began: otherwise a group that grows in between could pass over the
    # place that the walk has reached, and be left out.
    return statement.where(_A.received <= as_of).having(sa.or_(total < count, sa.and_(total == count, beyond)))


def _user_count(row: sa.RowMapping) -> UserCount:
    return UserCount(user=row["user_name"], managed=row["managed"], unmanaged=row["count"] - row["managed"])


def _as_of(rows: Sequence[sa.RowMapping], page: PageRequest) -> str | int:
    """Return when the walk over these pages began: with the newest attempt that its first page counted."""
    if page.after:
        return page.after[0]
    return int(rows[0]["as_of"]) if rows else 0


def _without_time(row: sa.RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "as_of"}


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
