"""Select what reports count: from the counts where those can tell it, from the events where not; the same either way.

- Counts can tell of whole days, by what they are kept by. They answer wherever they can: they reach back further than events,
  and a report must not change its depth with its filter more than it has to.
- INVARIANT: how it was when a walk over pages began can be told again. Counts go on growing, so what was stored since then is
  taken off: those are few events, found by the number of their transaction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.events import microseconds
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.model.rollups import DAY, Run, covering, day_of
from services.reporting.store.attempts import conditions
from services.reporting.store.rollups import DECISION, DEVICE, DIMENSIONS, ROLLUPS, Dimension, Rollup
from services.reporting.store.tables import (
    ATTEMPT,
    COUNT_BY_DECISION,
    DEVICE_TAG,
    HORIZON,
    KNOWN_DECISION,
    KNOWN_DEVICE,
)

_A = ATTEMPT.c
_ALTERNATIVES = {
    "elevation_types": "elevation_type",
    "results": "result",
    "sources": "source",
    "users": "user_name",
    "devices": "device_name",
    "publishers": "publisher",
    "sha256s": "sha256",
    "file_names": "file_name",
    "device_ids": "device_id",
    "internal_names": "internal_name",
    "versions": "version",
    "company_names": "company_name",
}
"""The fields of a filter that counts know, beside the two that follow from the decision and the times."""
_OWNER = {column: dimension for dimension in DIMENSIONS for column in dimension.columns}
_DAY = "day"
"""Counts of longer spans cannot tell of days, and no dimension knows them."""


@dataclass(frozen=True, slots=True)
class Days:
    """The days from `first` up to `before`."""

    first: int
    before: int


async def facts(tx: Transaction, question: Question, names: Sequence[str], as_of: int | None) -> sa.Subquery:
    """Select the columns of these names and how many `attempts` have them, in parts that are to be added up.

    With `as_of` only what was stored by transactions up to this number counts.
    """
    if question.drill_down is not None or not _countable(question.filter):
        stored = () if as_of is None else (_A.stored <= as_of,)
        found = sa.select(*map(_told, names), sa.literal(1).label("attempts"))
        return found.where(*conditions(question), *stored).subquery()
    days = await _days(tx, question.filter)
    counted = _counted(question, names, days)
    if as_of is None:
        return counted.subquery()
    return sa.union_all(counted, _since(question, names, as_of, days)).subquery()


def _told(name: str) -> sa.ColumnElement[Any]:
    return (_A.occurred // DAY).label(_DAY) if name == _DAY else _A[name]


def _countable(asked: ElevationFilter) -> bool:
    """Tell whether counts know all that the filter asks for."""
    known: dict[str, Any] = dict.fromkeys(_ALTERNATIVES, ())
    rest = replace(asked, **known, managed=None, governed_by_rule=False, occurred_from=None, occurred_before=None)
    times = (asked.occurred_from, asked.occurred_before)
    return rest == ElevationFilter() and all(time is None or microseconds(time) % DAY == 0 for time in times)


async def _days(tx: Transaction, asked: ElevationFilter) -> Days:
    """Return the days that the filter is about, as far as there are counts of them."""
    day = COUNT_BY_DECISION.c.start
    bounds = sa.select(sa.func.min(day), sa.func.max(day)).where(COUNT_BY_DECISION.c.span == 1)
    oldest, newest = tuple((await tx.execute(bounds)).one())
    kept = (await tx.execute(sa.select(HORIZON.c.counts_before))).scalar_one()
    if newest is None:
        return Days(0, 0)
    first = max(oldest, kept, _day(asked.occurred_from, oldest))
    return Days(first, max(first, min(newest + 1, _day(asked.occurred_before, newest + 1))))


def _day(time: datetime | None, otherwise: int) -> int:
    return otherwise if time is None else day_of(microseconds(time))


def _counted(question: Question, names: Sequence[str], days: Days) -> sa.Select[Any]:
    by_day = _DAY in names
    shown = [dimension for dimension in DIMENSIONS if any(_OWNER.get(name) is dimension for name in names)]
    narrowed = dict(_narrowed(question))
    rollup = _smallest(set(shown) | narrowed.keys())
    counts = rollup.table.c
    keys = [counts[dimension.key] for dimension in shown] + ([counts.start.label(_DAY)] if by_day else [])
    narrow = [counts[dimension.key].in_(members) for dimension, members in narrowed.items()]
    runs = covering(days.first, days.before, rollup.spans[:1] if by_day else rollup.spans) or (Run(1, 0, 0),)
    parts = sa.union_all(
        *(
            sa.select(*keys, counts.attempts).where(
                counts.span == run.span, counts.start >= run.first, counts.start < run.before, *narrow
            )
            for run in runs
        )
    ).subquery()
    # Added up by number first: what is joined and compared by text is then as little as possible.
    grouped = [parts.c[dimension.key] for dimension in shown] + ([parts.c[_DAY]] if by_day else [])
    sums = sa.select(*grouped, sa.func.sum(parts.c.attempts).label("attempts")).group_by(*grouped).subquery()
    source: sa.FromClause = sums
    for dimension in shown:
        known = dimension.table
        source = source.join(known, known.c[dimension.key] == sums.c[dimension.key])
    columns = [sums.c[_DAY] if name == _DAY else _OWNER[name].table.c[name] for name in names]
    return sa.select(*columns, sums.c.attempts).select_from(source)


def _smallest(needed: set[Dimension]) -> Rollup:
    return next(rollup for rollup in ROLLUPS if needed <= set(rollup.dimensions))


def _narrowed(question: Question) -> Iterator[tuple[Dimension, sa.Select[Any]]]:
    """Yield, for each dimension that the question narrows, which of its members it is about."""
    asked = question.filter
    wanted: dict[Dimension, list[sa.ColumnElement[bool]]] = {dimension: [] for dimension in DIMENSIONS}
    for name, column in _ALTERNATIVES.items():
        if values := getattr(asked, name):
            wanted[_OWNER[column]].append(_OWNER[column].table.c[column].in_(values))
    if asked.managed is not None:
        wanted[DECISION].append(KNOWN_DECISION.c.managed.is_(asked.managed))
    if asked.governed_by_rule:
        wanted[DECISION].append(KNOWN_DECISION.c.source == "RULE")
    if question.tags is not None:
        carries = sa.select(DEVICE_TAG.c.device_id).where(DEVICE_TAG.c.tag.in_(sorted(question.tags)))
        wanted[DEVICE].append(KNOWN_DEVICE.c.device_id.in_(carries))
    for dimension, narrow in wanted.items():
        if narrow:
            yield dimension, sa.select(dimension.table.c[dimension.key]).where(*narrow)


def _since(question: Question, names: Sequence[str], as_of: int, days: Days) -> sa.Select[Any]:
    """Select what was stored after the transaction of this number, to be taken off."""
    later = sa.alias(ATTEMPT)
    # Found by their numbers, whatever else the question asks: an index over a long span of time would be the wrong one.
    ids = sa.select(later.c.event_id).where(later.c.stored > as_of)
    taken_off = sa.literal(-1).label("attempts")
    return sa.select(*map(_told, names), taken_off).where(
        _A.event_id.in_(ids), _A.occurred >= days.first * DAY, *conditions(question)
    )
