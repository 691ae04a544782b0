"""What reports conclude from attempts: an overview, trends, and counts by user and application, period by period.

- Periods are days or calendar months in UTC. One at the edge of a window counts only what is in the window.
- A trend has every period between its ends, those without attempts too.
- Users and devices are split by what attempts they had: managed ones alone, both, unmanaged ones alone. Whoever had an
  attempt is in one of the three.
- Approved means: elevated under a grant. A rule elevates without asking anybody, so it is no approval.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from services.reporting.model.events import EPOCH, microseconds
from services.reporting.model.readiness import Split
from services.reporting.model.reports import ApplicationCount, ElevationFilter, Summary, Tally
from services.reporting.model.rollups import day_of

LARGEST_TREND = 1000
LARGEST_OVERVIEW_TREND = 400
DEFAULT_TOP = 5
LARGEST_TOP = 100
_ONE_DAY = timedelta(days=1)
_MONTHS = 12
_LAST_DAY = (datetime(9999, 1, 1, tzinfo=UTC) - EPOCH) // _ONE_DAY


class Period(StrEnum):
    """Length of a period, in UTC."""

    DAY = "DAY"
    MONTH = "MONTH"


@dataclass(frozen=True, slots=True)
class Stretch:
    """One period: the days from `first` up to `before`, counted from 1970."""

    first: int
    before: int

    @property
    def start(self) -> datetime:
        """Return when it starts."""
        return _midnight(self.first)

    def within(self, asked: ElevationFilter) -> ElevationFilter:
        """Return the times of this period that the filter is about, and nothing else."""
        start, end = _midnight(self.first), _midnight(self.before)
        return ElevationFilter(
            occurred_from=start if asked.occurred_from is None else max(start, asked.occurred_from),
            occurred_before=end if asked.occurred_before is None else min(end, asked.occurred_before),
        )

    def of(self, asked: ElevationFilter) -> ElevationFilter:
        """Return the filter, narrowed to this period."""
        times = self.within(asked)
        return replace(asked, occurred_from=times.occurred_from, occurred_before=times.occurred_before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Attempts of one day that became the same."""

    day: int
    managed: bool
    result: str
    elevation_type: str
    count: int


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """Attempts of one period."""

    start: datetime
    counts: Summary
    window: ElevationFilter
    """With the filter of the question: exactly these attempts."""


@dataclass(frozen=True, slots=True)
class Tops:
    """Applications with most attempts of each kind."""

    unmanaged: tuple[ApplicationCount, ...]
    approved: tuple[ApplicationCount, ...]
    denied: tuple[ApplicationCount, ...]


@dataclass(frozen=True, slots=True)
class Tiles:
    """What an overview is made of, all of one moment."""

    fates: tuple[Fate, ...]
    users: Split
    devices: Split
    tops: Tops


@dataclass(frozen=True, slots=True)
class Overview:
    """What a console shows first."""

    counts: Summary
    tiles: Tiles
    trend: tuple[TrendPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserApplicationCount:
    """Attempts of one user on one device to elevate one application with one elevation type in one period."""

    stretch: Stretch
    window: ElevationFilter
    """The period, as far as the question's window reaches."""
    user: str
    device_id: str
    device_name: str
    application: ApplicationCount

    @property
    def drill_down(self) -> ElevationFilter:
        """Return what finds these attempts alone."""
        return replace(
            self.application.drill_down,
            occurred_from=self.window.occurred_from,
            occurred_before=self.window.occurred_before,
            users=(self.user,),
            device_ids=(self.device_id,),
            devices=(self.device_name,),
        )


def is_day(day: int) -> bool:
    """Tell whether a number may be that of a day on which there were attempts, and its month be told."""
    return 0 <= day <= _LAST_DAY


def stretch_of(day: int, period: Period) -> Stretch:
    """Return the period to which a day belongs."""
    if period is Period.DAY:
        return Stretch(day, day + 1)
    first = _midnight(day).replace(day=1)
    return Stretch(_day(first), _day(_month_after(first)))


def summed(fates: Iterable[Fate]) -> Summary:
    """Add up what became of attempts."""
    managed = unmanaged = 0
    results: dict[str, int] = {}
    types: dict[str, int] = {}
    for fate in fates:
        managed += fate.count if fate.managed else 0
        unmanaged += 0 if fate.managed else fate.count
        results[fate.result] = results.get(fate.result, 0) + fate.count
        types[fate.elevation_type] = types.get(fate.elevation_type, 0) + fate.count
    return Summary(managed, unmanaged, _tallies(results), _tallies(types))


def trend(
    fates: Sequence[Fate], period: Period, asked: ElevationFilter, *, now: datetime, most: int
) -> tuple[TrendPoint, ...]:
    """Return the periods of a trend, oldest first, at most the last `most`.

    It begins with the filter's start, else with the first attempt, and ends with its end, with today, or with the last attempt
    where that is later: devices' clocks may be ahead.
    """
    days = [fate.day for fate in fates]
    first = min(days, default=None) if asked.occurred_from is None else _day(asked.occurred_from)
    if first is None:
        return ()
    last = max([_day(now), *days])
    if asked.occurred_before is not None:
        last = min(last, day_of(microseconds(asked.occurred_before) - 1))
    by_start: dict[int, list[Fate]] = {}
    for fate in fates:
        by_start.setdefault(stretch_of(fate.day, period).first, []).append(fate)
    return tuple(
        TrendPoint(stretch.start, summed(by_start.get(stretch.first, ())), stretch.within(asked))
        for stretch in reversed(_backwards(first, last, period, most))
    )


def _backwards(first: int, last: int, period: Period, most: int) -> list[Stretch]:
    """Return the periods from that of the last day back to that of the first, at most so many."""
    found: list[Stretch] = []
    while last >= first and len(found) < most:
        found.append(stretch_of(last, period))
        last = found[-1].first - 1
    return found


def _tallies(counts: Mapping[str, int]) -> tuple[Tally, ...]:
    return tuple(Tally(word, count) for word, count in sorted(counts.items()))


def _midnight(day: int) -> datetime:
    return EPOCH + day * _ONE_DAY


def _day(time: datetime) -> int:
    return (time.astimezone(UTC) - EPOCH) // _ONE_DAY


def _month_after(first: datetime) -> datetime:
    month = first.month % _MONTHS + 1
    return first.replace(year=first.year + (month == 1), month=month)
