"""Read what an overview is made of: few passes over few counts, all in one state of the data."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.insights import Tiles, Tops
from services.reporting.model.reports import ApplicationCount, Question
from services.reporting.store.counted import facts_of
from services.reporting.store.dimensions import DECISION, DEVICE, FILE, USER
from services.reporting.store.planning import without_workers
from services.reporting.store.presence import split
from services.reporting.store.survey import Survey
from services.reporting.store.trend import fates

APPLICATION = ("file_name", "internal_name", "version", "company_name", "sha256", "publisher", "elevation_type")
_DECISION = ("managed", "result", "source")


async def tiles(tx: Transaction, question: Question, top: int) -> Tiles:
    """Return what is counted for an overview, with the first applications of each kind."""
    survey = Survey(tx, question)
    if DEVICE in survey.members:
        await without_workers(tx)
    counted = await fates(survey)
    attempts = sum(fate.count for fate in counted)
    return Tiles(
        fates=counted,
        users=await split(survey, USER, attempts),
        devices=await split(survey, DEVICE, attempts),
        tops=await _tops(survey, top),
    )


async def _tops(survey: Survey, top: int) -> Tops:
    """Rank applications by each kind of attempts, in one pass over what there is."""
    decisions = sa.select(DECISION.table.c[DECISION.key]).where(sa.or_(*_kinds(DECISION.table).values()))
    ranked_by = {DECISION: (await survey.tx.execute(decisions)).scalars().all()}
    # What most attempts are, elevated by a rule, is left out before it is added up.
    found = await facts_of(survey, (FILE.key, "elevation_type", *_DECISION), None, among=ranked_by)
    kinds = _kinds(found)
    groups = [found.c[FILE.key], found.c.elevation_type]
    measures = [_attempts(found, wanted).label(kind) for kind, wanted in kinds.items()]
    counted = sa.select(*groups, *measures).group_by(*groups).cte("counted")
    ranked = sa.union_all(*(sa.select(_ranked(counted, kind, top).subquery()) for kind in kinds))
    rows = (await survey.tx.execute(ranked)).mappings().all()
    return Tops(**{kind: _most_first(row for row in rows if row["kind"] == kind) for kind in kinds})


def _kinds(told: sa.FromClause) -> Mapping[str, sa.ColumnElement[bool]]:
    return {
        "unmanaged": told.c.managed.is_(False),
        "approved": sa.and_(told.c.source == "GRANT", told.c.result == "ELEVATED"),
        "denied": told.c.result == "DENIED",
    }


def _ranked(counted: sa.CTE, kind: str, top: int) -> sa.Select[Any]:
    files = FILE.table
    applications = [counted.c[name] if name in counted.c else files.c[name] for name in APPLICATION]
    count = counted.c[kind]
    # Only those are named and put in order that can be among the first: few have as many as the last of these.
    most = sa.select(count.label("most")).where(count > 0).order_by(count.desc()).limit(top).subquery()
    return (
        sa.select(sa.literal(kind).label("kind"), *applications, count.label("count"))
        .join_from(counted, files, files.c[FILE.key] == counted.c[FILE.key])
        .where(count > 0, count >= sa.select(sa.func.min(most.c.most)).scalar_subquery())
        .order_by(count.desc(), *applications)
        .limit(top)
    )


def _attempts(found: sa.Subquery, wanted: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.sum(sa.case((wanted, found.c.attempts), else_=0)), sa.BigInteger)


def _most_first(rows: Iterable[sa.RowMapping]) -> tuple[ApplicationCount, ...]:
    ordered = sorted(rows, key=lambda row: (-row["count"], *(row[name] for name in APPLICATION)))
    return tuple(ApplicationCount(**{name: row[name] for name in (*APPLICATION, "count")}) for row in ordered)
