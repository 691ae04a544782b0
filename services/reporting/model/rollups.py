"""How attempts are counted while they come in: by whole days in UTC, and by longer spans made of those.

- A count of a span is the sum of the counts of its days. A report adds up as few spans as cover its window: of 400 days
  at most 22, of 30 days at most 16.
- Spans begin at multiples of their length, counted from 1970: so every day belongs to one span of each length, and windows
  may begin and end with any day.
- A window that does not begin and end at midnight in UTC cannot be answered from counts.
- Days are closed when they are over, one after the other; a span is closed with its last day.
"""

from collections.abc import Iterator
from dataclasses import dataclass

DAY = 86_400_000_000
"""Microseconds."""
SPANS = (1, 8, 64)
"""Lengths in days; each is a multiple of the one before."""


@dataclass(frozen=True, slots=True)
class Run:
    """Spans of one length that follow one another, from the one that starts at `first`; that at `before` is none of them."""

    span: int
    first: int
    before: int


def day_of(time: int) -> int:
    """Return the day, since 1970, of a time in microseconds."""
    return time // DAY


def start_of(day: int, span: int) -> int:
    """Return the first day of the span of this length to which a day belongs."""
    return day - day % span


def covering(first: int, before: int, spans: tuple[int, ...] = SPANS) -> tuple[Run, ...]:
    """Return the runs whose spans, of these lengths, are the days from `first` up to `before`, each day once."""
    runs: list[Run] = []
    ends: list[Run] = []
    for span, longer in zip(spans, (*spans[1:], None), strict=True):
        inner_first, inner_before = first, before
        if longer is not None:
            inner_first, inner_before = start_of(first + longer - 1, longer), start_of(before, longer)
        if longer is None or inner_first >= inner_before:
            runs.append(Run(span, first, before))
            break
        runs.append(Run(span, first, inner_first))
        ends.append(Run(span, inner_before, before))
        first, before = inner_first, inner_before
    return tuple(run for run in (*runs, *reversed(ends)) if run.first < run.before)


def ending(before: int, spans: tuple[int, ...] = SPANS) -> tuple[Run, ...]:
    """Return the spans, each a run of its own, whose last day is the one before this one; the shortest first."""
    return tuple(Run(span, before - span, before) for span in spans if before % span == 0)


def closed_over(day: int, closed: int, spans: tuple[int, ...] = SPANS) -> Iterator[Run]:
    """Yield the spans, each a run of its own, that hold a day and are closed where all days before `closed` are."""
    for span in spans:
        first = start_of(day, span)
        if first + span <= closed:
            yield Run(span, first, first + span)


def next_closed(closed: int, counted: int | None) -> int | None:
    """Return up to which day to close next, where all before `closed` are: to the end of a span that may hold attempts.

    `counted` is the first day from there on that has some.
    """
    ends = [start_of(closed, span) + span for span in SPANS if closed % span]
    return min(ends if counted is None else [*ends, counted + 1], default=None)
