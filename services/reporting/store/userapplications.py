"""Count attempts by user, device and application, period by period: a page reads no more of a period than it shows.

- The users of a period are read from the counts by user, in their order; then what they did, a few users at a time, ever more
  of them until the page is full. So nothing that a page does not show is sorted.
- Where the question is about some devices or files, the users are still those of all: who was on which device takes the time
  to find out, and the next users are asked where the first ones had nothing to show.
- INVARIANT: what is asked first may name too many users and periods, never too few. What is shown is counted as of the
  beginning of the walk.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from services._chassis.db import Transaction
from services._chassis.paging import Page, PageRequest, cut
from services.reporting.model.insights import Period, Stretch, UserApplicationCount, stretch_of
from services.reporting.model.reports import ApplicationCount, ElevationFilter, Question
from services.reporting.store.counted import facts
from services.reporting.store.overview import APPLICATION
from services.reporting.store.weights import weight_of

FEWEST_USERS = 8
MOST_USERS = 4096
_GROWTH = 4
_KEY = ("user_name", "device_name", "device_id", *APPLICATION)
_KNOWN_OF_USERS = (
    "occurred_from",
    "occurred_before",
    "users",
    "user_groups",
    "managed",
    "administrator",
    "elevation_types",
    "results",
    "sources",
    "governed_by_rule",
    "attempt_ids",
)
"""The fields of a filter that counts by user know, and those that counts are not asked for."""

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Walk:
    """Where a walk over the pages is: what it counts, and the key behind which it goes on (empty: from the start)."""

    question: Question
    period: Period
    as_of: int | None
    after: Key


async def user_applications(
    tx: Transaction, question: Question, period: Period, page: PageRequest
) -> Page[UserApplicationCount]:
    """Return a page of counts: newest period first, in it by user, device and application."""
    begun, *after = page.after or (None,)
    as_of = await tx.current_revision() if begun is None else begun
    walk = _Walk(question, period, None if begun is None else int(begun), tuple(after))
    found = await _first(tx, walk, page.size + 1)
    fitting = page.fitting(weight_of(map(str, _key_of(one))) for one in found)
    return cut(found, fitting, key=lambda last: (as_of, *_key_of(last)))


async def _first(tx: Transaction, walk: _Walk, most: int) -> Sequence[UserApplicationCount]:
    """Return what the walk comes by next, so many counts where there are as many."""
    found: list[UserApplicationCount] = []
    async for stretch, after in _stretches(tx, walk):
        async for counts in _of_period(tx, replace(walk, after=after), stretch, most):
            found += counts
            if len(found) >= most:
                return found
    return found


async def _stretches(tx: Transaction, walk: _Walk) -> AsyncIterator[tuple[Stretch, Key]]:
    """Yield the periods with attempts, newest first, each with the key in it behind which the walk goes on."""
    asked, reached = walk.question, None
    if walk.after:
        reached = stretch_of(int(walk.after[0]), walk.period)
        left = replace(asked.filter, occurred_before=reached.within(asked.filter).occurred_before)
        asked = replace(asked, filter=left)
    found = await facts(tx, asked, ("day",), None)
    days = (await tx.execute(sa.select(found.c.day).distinct().order_by(found.c.day.desc()))).scalars()
    for stretch in dict.fromkeys(stretch_of(day, walk.period) for day in days):
        yield stretch, walk.after[1:] if stretch == reached else ()


async def _of_period(
    tx: Transaction, walk: _Walk, stretch: Stretch, most: int
) -> AsyncIterator[Sequence[UserApplicationCount]]:
    """Yield the counts of a period in their order, a few users at a time."""
    narrowed = replace(walk.question, filter=stretch.of(walk.question.filter))
    users = await _users(tx, narrowed, walk.after)
    for some in _growing(users, most):
        asked = replace(narrowed, filter=replace(narrowed.filter, users=tuple(some)))
        yield await _counts(tx, replace(walk, question=asked), stretch, most)


async def _users(tx: Transaction, question: Question, after: Key) -> Sequence[str]:
    """Return who had attempts in the period, on whatever device and of whatever file, from the one on at whom the walk is."""
    asked = question.filter
    known = ElevationFilter(**{name: getattr(asked, name) for name in _KNOWN_OF_USERS})
    found = await facts(tx, replace(question, filter=known, tags=None), ("user_name",), None)
    names = sa.select(found.c.user_name).distinct().order_by(found.c.user_name)
    if after:
        names = names.where(found.c.user_name >= str(after[0]))
    return (await tx.execute(names)).scalars().all()


def _growing(users: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    start, length = 0, max(FEWEST_USERS, most // FEWEST_USERS)
    while start < len(users):
        yield users[start : start + length]
        start, length = start + length, min(length * _GROWTH, MOST_USERS)


async def _counts(tx: Transaction, walk: _Walk, stretch: Stretch, most: int) -> Sequence[UserApplicationCount]:
    found = await facts(tx, walk.question, _KEY, walk.as_of)
    groups = [found.c[name] for name in _KEY]
    count = sa.cast(sa.func.sum(found.c.attempts), sa.BigInteger)
    counted = sa.select(*groups, count.label("count")).group_by(*groups).having(count > 0)
    if walk.after:
        counted = counted.where(sa.tuple_(*groups) > sa.tuple_(*map(sa.literal, walk.after)))
    rows = (await tx.execute(counted.order_by(*groups).limit(most))).mappings()
    window = stretch.within(walk.question.filter)
    return [
        UserApplicationCount(
            stretch=stretch,
            window=window,
            user=row["user_name"],
            device_id=row["device_id"],
            device_name=row["device_name"],
            application=ApplicationCount(**{name: row[name] for name in (*APPLICATION, "count")}),
        )
        for row in rows
    ]


def _key_of(last: UserApplicationCount) -> Key:
    application = (getattr(last.application, name) for name in APPLICATION)
    return (last.stretch.first, last.user, last.device_name, last.device_id, *application)
