"""Select what reports count: from the counts of whole days, and from the events of the parts of days at either end.

- Counts know all that a filter may ask for, by whole days. They answer wherever they can: they reach back further than events,
  and a report must not change its depth with its filter. Only attempts that are asked for by name are counted from events.
- Whoever asks about some devices has those looked up who were there; and of those who were nowhere else, more is told by counts
  that know no device.
- INVARIANT: how it was when a walk over pages began can be told again. Counts go on growing, so what was stored since then is
  taken off: those are few events, found by the number of their transaction.
- Everything is added up by number first: what is joined and compared by text is then as little as possible.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.reports import Question
from services.reporting.model.rollups import DAY, SPANS, Run, covering, start_of
from services.reporting.store.attempts import conditions
from services.reporting.store.dimensions import DEVICE, DIMENSIONS, OWNER, USER, Dimension
from services.reporting.store.listed import one_of
from services.reporting.store.narrowing import Window, members, unmanaged_alone, window_of
from services.reporting.store.rollups import ROLLUPS, Rollup
from services.reporting.store.tables import ATTEMPT, COUNT_BY_DECISION, HORIZON
from services.reporting.store.whereabouts import looked_up_sooner, whereabouts

_A = ATTEMPT.c
_DAY = "day"
_KEYS = {dimension.key: dimension for dimension in DIMENSIONS}
Numbers = Mapping[Dimension, Collection[int]]
EVERY_ONE: Numbers = MappingProxyType({})
MOST_PROBES = 200_000
"""Looks into an index that are cheaper than reading every count of some weeks."""


@dataclass(frozen=True, slots=True)
class Span:
    """The whole days of a question, from `first` up to `before`, as far as there are counts; and what it asks beside them.

    Long spans reach over the newest day that was counted: so `before` may be behind it.
    """

    first: int
    before: int
    beside: tuple[Window, ...]
    newest: int = 0

    def runs(self, spans: tuple[int, ...]) -> tuple[Run, ...]:
        """Return the spans of these lengths that cover the days, but for those of which no day was counted yet."""
        return tuple(
            replace(run, before=min(run.before, self.newest + 1))
            for run in covering(self.first, self.before, spans)
            if run.first <= self.newest
        )


@dataclass(frozen=True, slots=True)
class _Groups:
    """What attempts are counted by: dimensions, and perhaps the day."""

    dimensions: tuple[Dimension, ...]
    by_day: bool

    @classmethod
    def of(cls, names: Sequence[str]) -> "_Groups":
        """Return what is needed to tell the columns of these names."""
        needed = {_KEYS.get(name) or OWNER[name] for name in names if name != _DAY}
        return cls(tuple(dimension for dimension in DIMENSIONS if dimension in needed), _DAY in names)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns that are grouped by."""
        return (*(dimension.key for dimension in self.dimensions), *((_DAY,) if self.by_day else ()))

    def from_events(self) -> list[sa.ColumnElement[Any]]:
        """Return the columns, of an event."""
        return [_A[name] for name in self.names]

    def from_counts(self, rollup: Rollup) -> list[sa.ColumnElement[Any]]:
        """Return the columns, of a count."""
        counts = rollup.table.c
        return [
            *(counts[dimension.key] for dimension in self.dimensions),
            *([counts.start.label(_DAY)] if self.by_day else []),
        ]


async def facts(
    tx: Transaction, question: Question, names: Sequence[str], as_of: int | None, *, among: Numbers = EVERY_ONE
) -> sa.Subquery:
    """Select the columns of these names and how many `attempts` have them, in parts that are to be added up.

    Names are those of what attempts are counted by, `day` (since 1970), and the numbers themselves, such as `user_key`, which
    spare joining texts. With `as_of` only what was stored by transactions up to this number counts. With `among` only members
    with these numbers do, of dimensions that are told: so the database sees how few it is asked for, as a subquery hides it.
    """
    groups = _Groups.of(names)
    found = await parts(tx, question, groups.names, as_of)
    grouped = [found.c[name] for name in groups.names]
    total = sa.cast(sa.func.sum(found.c.attempts), sa.BigInteger)
    few = [found.c[dimension.key].in_(numbers) for dimension, numbers in among.items()]
    sums = sa.select(*grouped, total.label("attempts")).where(*few).group_by(*grouped).having(total > 0).subquery()
    source: sa.FromClause = sums
    for dimension in {OWNER[name]: None for name in names if name in OWNER}:
        source = source.join(dimension.table, dimension.table.c[dimension.key] == sums.c[dimension.key])
    columns = [OWNER[name].table.c[name] if name in OWNER else sums.c[name] for name in names]
    return sa.select(*columns, sums.c.attempts).select_from(source).subquery()


async def parts(tx: Transaction, question: Question, keys: Sequence[str], as_of: int | None) -> sa.Subquery:
    """Select these numbers and how many `attempts` have them, for whoever adds them up by fewer of them than are told apart here.

    Some parts take off what others count too much.
    """
    groups = _Groups.of(keys)
    span = await span_of(tx, question)
    sources = await _sources(tx, question, groups, span)
    found = [one for source in sources for one in source.counted(groups, span)]
    found += _events(question, groups, span, as_of)
    if as_of is not None:
        found.append(_since(question, groups, span, as_of))
    return sa.union_all(*found).subquery()


async def span_of(tx: Transaction, question: Question) -> Span:
    """Return the whole days that counts can tell of, and what is left to the events."""
    asked = window_of(question)
    if question.names_attempts:
        return Span(0, 0, (asked,))
    first = None if asked.start is None else -(-asked.start // DAY)
    before = None if asked.end is None else asked.end // DAY
    if first is not None and before is not None and first >= before:
        return Span(0, 0, (asked,))
    beside = []
    if first is not None and asked.start != first * DAY:
        beside.append(Window(asked.start, first * DAY))
    if before is not None and asked.end != before * DAY:
        beside.append(Window(before * DAY, asked.end))
    day = COUNT_BY_DECISION.c.start
    bounds = sa.select(sa.func.min(day), sa.func.max(day)).where(COUNT_BY_DECISION.c.span == 1)
    oldest, newest = tuple((await tx.execute(bounds)).one())
    kept = (await tx.execute(sa.select(HORIZON.c.counts_before))).scalar_one()
    if kept and (first is None or first < kept):
        # Events of days whose counts are gone: few that came late, or those of a clock that was far behind.
        beside.append(
            Window(None if first is None else first * DAY, kept * DAY if before is None else min(kept, before) * DAY)
        )
    if newest is None:
        return Span(0, 0, tuple(beside))
    first = max(oldest, kept, oldest if first is None else first)
    before = newest + 1 if before is None else min(newest + 1, before)
    if first < before == newest + 1:
        # Nothing was counted beyond either end: long spans may reach over it, where they are kept.
        before = start_of(newest, SPANS[-1]) + SPANS[-1]
    if first == oldest:
        first = next(start for start in (start_of(oldest, span) for span in reversed(SPANS)) if start >= kept)
    return Span(first, max(first, before), tuple(beside), newest)


@dataclass(frozen=True, slots=True)
class _Source:
    """Counts that are read, and what they are narrowed to."""

    rollup: Rollup
    narrowed: Mapping[Dimension, sa.Select[Any]]
    named: int
    """The number of users who are named; 0: nobody is."""
    most_looks: int = MOST_PROBES
    """Where it takes no more looks, users are looked up span by span; otherwise their counts are found among all."""
    users: Sequence[int] | None = None
    """The numbers of users; None: users are narrowed like everything else, or not at all."""

    def counted(self, groups: _Groups, span: Span) -> Iterator[sa.Select[Any]]:
        """Yield what there is, a run of spans each."""
        counts = self.rollup.table.c
        narrow: list[sa.ColumnElement[bool]] = [
            counts[dimension.key].in_(wanted) for dimension, wanted in self.narrowed.items()
        ]
        if self.users is not None:
            narrow.append(one_of(counts[USER.key], self.users))
        runs = span.runs(self.rollup.spans[:1] if groups.by_day else self.rollup.spans)
        for run in runs or (Run(1, 0, 0),):
            starts = self._starts(run)
            columns = groups.from_counts(self.rollup)
            yield sa.select(*columns, counts.attempts).where(counts.span == run.span, *starts, *narrow)

    def _starts(self, run: Run) -> list[sa.ColumnElement[bool]]:
        """Narrow the spans: one by one where users are looked up, since a range leaves the rest of an index unused."""
        start = self.rollup.table.c.start
        each = range(run.first, run.before, run.span)
        if len(each) == 1:
            return [start == run.first]
        if self.named and self.rollup.dimensions[0] is USER and self.named * len(each) <= self.most_looks:
            return [start.in_(each)]
        return [start >= run.first, start < run.before]


async def _sources(tx: Transaction, question: Question, groups: _Groups, span: Span) -> Sequence[_Source]:
    """Return the counts that tell what is asked."""
    rollup, narrowed = _choice(question, groups.dimensions)
    named = len(question.filter.users)
    plain = _Source(rollup, narrowed, named)
    if named or span.first >= span.before or rollup.dimensions[0] is not USER or DEVICE not in narrowed:
        return [plain]
    found = await whereabouts(tx, narrowed[DEVICE], narrowed.get(USER))
    if found is None:
        return [plain]
    by_user = _choice(question, (*groups.dimensions, USER), {USER, DEVICE})
    alike = by_user[0] is rollup
    left, days = [*(found.there if alike else ()), *found.elsewhere_too], range(span.first, span.before)
    sooner = await looked_up_sooner(tx, len(left), days)
    if alike and not sooner:
        return [plain]
    looks = max(len(left), 1) * len(days) if sooner else 0
    there = _Source(*by_user, max(len(found.there), 1), looks if alike else MOST_PROBES, found.there)
    if not found.elsewhere_too:
        return [there]
    narrowed = {dimension: keys for dimension, keys in narrowed.items() if dimension is not USER}
    elsewhere_too = _Source(rollup, narrowed, len(found.elsewhere_too), looks, found.elsewhere_too)
    return [there, elsewhere_too] if found.there else [elsewhere_too]


def _choice(
    question: Question, needed: Collection[Dimension], narrowed_otherwise: Collection[Dimension] = ()
) -> tuple[Rollup, Mapping[Dimension, sa.Select[Any]]]:
    """Return the smallest counts that can tell what is asked, and what is to be narrowed there."""
    narrowed = members(question)
    without = unmanaged_alone(question)
    rest = None if without is None else members(without)
    for rollup in ROLLUPS:
        wanted = rest if rollup.unmanaged_only else narrowed
        if wanted is None:
            continue
        left = {dimension: keys for dimension, keys in wanted.items() if dimension not in narrowed_otherwise}
        if {*needed, *left} <= set(rollup.dimensions):
            return rollup, left
    raise ValueError("the last of the counts must know everything")


def _events(question: Question, groups: _Groups, span: Span, as_of: int | None) -> Iterator[sa.Select[Any]]:
    """Select the events of the parts of days at either end."""
    columns = groups.from_events()
    stored = [] if as_of is None else [_A.stored <= as_of]
    for part in span.beside:
        counted = sa.select(*columns, sa.func.count().label("attempts"))
        yield counted.where(*part.of(_A.occurred), *conditions(question), *stored).group_by(*columns)


def _since(question: Question, groups: _Groups, span: Span, as_of: int) -> sa.Select[Any]:
    """Select what was stored after the transaction of this number and is in the counts, to be taken off."""
    later = sa.alias(ATTEMPT)
    # Found by their numbers, whatever else the question asks: an index over a long span of time would be the wrong one.
    ids = sa.select(later.c.event_id).where(later.c.stored > as_of)
    taken_off = sa.literal(-1).label("attempts")
    return sa.select(*groups.from_events(), taken_off).where(
        _A.event_id.in_(ids), *Window(span.first * DAY, span.before * DAY).of(_A.occurred), *conditions(question)
    )
