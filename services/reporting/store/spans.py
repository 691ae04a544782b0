"""The whole days of a question that counts can tell of, and which spans of them are closed."""

from dataclasses import dataclass, replace

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.reports import Question
from services.reporting.model.rollups import DAY, SPANS, Run, covering, start_of
from services.reporting.store.narrowing import Window, window_of
from services.reporting.store.tables import COUNT_BY_DECISION, HORIZON

WORTH = 2
"""Days that are read in the time of one closed span."""


@dataclass(frozen=True, slots=True)
class Span:
    """The whole days of a question, from `first` up to `before`, as far as there are counts; and what it asks beside them.

    Long spans reach over the newest day that was counted: so `before` may be behind it.
    """

    first: int
    before: int
    beside: tuple[Window, ...]
    newest: int = 0
    closed: int = 0
    """The day before which all are closed."""
    kept: int = 0
    """The day before which counts are gone, or about to go."""

    def parted(self, spans: tuple[int, ...]) -> "Parts":
        """Return the closed spans of these lengths that cover most of the days, and the days that are left over or too many."""
        shortest, reached = spans[0], min(self.before, self.closed)
        inner, end = start_of(self.first + shortest - 1, shortest), start_of(reached, shortest)
        first, before = inner, end
        if inner - shortest >= self.kept and self.first - (inner - shortest) + WORTH < inner - self.first:
            first = inner - shortest
        if end + shortest <= self.closed and end + shortest - reached + WORTH < reached - end:
            before = end + shortest
        days = self._between(first, self.first), self._between(self.before, before)
        if first >= before or sum(some.before - some.first for some in days) + WORTH >= self.before - self.first:
            return Parts((), (self,), ())
        beside = self._between(self.first, first), self._between(before, self.before)
        return Parts(covering(first, before, spans), _any(beside), _any(days))

    def _between(self, first: int, before: int) -> "Span":
        return replace(self, first=first, before=max(first, before))

    def runs(self, spans: tuple[int, ...]) -> tuple[Run, ...]:
        """Return the spans of these lengths that cover the days, but for those of which no day was counted yet."""
        return tuple(
            replace(run, before=min(run.before, self.newest + 1))
            for run in covering(self.first, self.before, spans)
            if run.first <= self.newest
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """Closed spans, the days beside them, and the days that are in them though nobody asked."""

    runs: tuple[Run, ...]
    beside: tuple[Span, ...]
    too_many: tuple[Span, ...]


def _any(parts: tuple[Span, ...]) -> tuple[Span, ...]:
    return tuple(days for days in parts if days.first < days.before)


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
    kept, closed = tuple((await tx.execute(sa.select(HORIZON.c.counts_before, HORIZON.c.closed_before))).one())
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
    return Span(first, max(first, before), tuple(beside), newest, closed, kept)
