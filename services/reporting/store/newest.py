"""Find the newest attempt of each of some applications.

- Most of what stands in the way is in use all the time: so the newest attempts of all are looked through first, for all
  applications at once.
- Of the others counts tell the last day, and how many there were. A few are read; where there are many, one of the last is found after
  a short walk along the times.
- For whoever asks about some users or devices that takes the full counts. Attempts of rare applications are sooner read, whoever had
  them: so that comes before.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.reports import Question
from services.reporting.model.rollups import DAY
from services.reporting.store.attempts import conditions
from services.reporting.store.counted import facts
from services.reporting.store.dimensions import DECISION, DEVICE, FILE, RULE, USER
from services.reporting.store.finding import batches, days_with_events
from services.reporting.store.listed import one_of
from services.reporting.store.narrowing import Window, members, narrowed_to, window_of
from services.reporting.store.tables import ATTEMPT, COUNT_BY_FILE, HORIZON

FIRST_DAYS = 2
"""Days that are looked at first."""
_A = ATTEMPT.c
Newest = Mapping[int, str]
"""The newest attempts, by the number of their file."""


@dataclass(frozen=True, slots=True)
class Few:
    """Say what is few."""

    newest: tuple[int, ...] = (2000, 8000, 24_000)
    """Attempts, of whatever application, that are looked through first, and those behind them where that leaves any application; the
    last ones of these not, where few devices are asked about."""
    devices: int = 300
    """Devices on which each application is looked up."""
    looks: int = 20_000
    """Looks into the index of devices."""
    of_day: int = 300
    """Attempts of a file on one day that are sooner read than one of them is found along the times."""
    of_days: int = 3000
    """Attempts of files on some days that are sooner read than it is found out who had them."""


FEW = Few()


async def newest_attempts(tx: Transaction, question: Question, keys: Collection[int], few: Few = FEW) -> Newest:
    """Return the newest attempt of the applications with these numbers; none where no event is kept any longer."""
    found: dict[int, str] = {}
    left = set(keys)
    if not question.names_attempts:
        devices = await _few_devices(tx, question, few.devices)
        steps = few.newest if devices is None else few.newest[:-1]
        for place, most in zip(accumulate(steps, initial=0), steps, strict=False):
            found |= await _among_the_newest(tx, question, left, range(place, place + most)) if left else {}
            left -= found.keys()
        if left and devices is not None:
            there, left = await _on_devices(tx, question, left, devices, looks=few.looks)
            found |= there
        if left and not members(question).keys().isdisjoint({USER, DEVICE}):
            rare, left = await _of_the_rare(tx, question, left, few.of_days)
            found |= rare
    if left:
        found |= await _by_days(tx, question, left, few.of_day)
    return found


async def _among_the_newest(tx: Transaction, question: Question, keys: Collection[int], places: range) -> Newest:
    """Return those that are at these places among the newest attempts."""
    narrowed = members(question)
    told = (
        _A.occurred,
        _A.event_id,
        _A.attempt_id,
        _A[FILE.key],
        *(_A[one.key] for one in narrowed if one is not FILE),
    )
    newest_first = (_A.occurred.desc(), _A.event_id.desc())
    within = window_of(question).of(_A.occurred)
    ordered = sa.select(*told).where(*within).order_by(*newest_first)
    newest = ordered.offset(places.start).limit(len(places)).subquery()
    narrow = (newest.c[dimension.key].in_(wanted) for dimension, wanted in narrowed.items())
    return await _first_of(tx, newest, [newest.c[FILE.key].in_(keys), *narrow])


async def _few_devices(tx: Transaction, question: Question, most: int) -> Sequence[int] | None:
    """Return the numbers of the devices that the question is about; None where they are all, or many."""
    wanted = members(question).get(DEVICE)
    if wanted is None:
        return None
    devices = (await tx.execute(wanted.limit(most + 1))).scalars().all()
    return None if len(devices) > most else devices


async def _on_devices(
    tx: Transaction, question: Question, keys: Collection[int], devices: Sequence[int], *, looks: int
) -> tuple[Newest, set[int]]:
    """Return those of some devices, found by device and application, and the applications for which that takes too many looks."""
    found: dict[int, str] = {}
    left = set(keys)
    others = [_A[one.key].in_(wanted) for one, wanted in members(question).items() if one not in {DEVICE, FILE}]
    told = (_A.occurred, _A.event_id, _A.attempt_id, _A[FILE.key])
    for days in batches(await days_with_events(tx, window_of(question)), descending=True, size=FIRST_DAYS):
        if len(days) * len(devices) * len(left) > looks:
            return found, left
        place = (_A.day.in_(days), one_of(_A[DEVICE.key], devices), one_of(_A[FILE.key], sorted(left)))
        read = sa.select(*told).where(*place, *window_of(question).of(_A.occurred), *others).subquery()
        found |= await _first_of(tx, read, [])
        left -= found.keys()
    return found, set()


async def _of_the_rare(
    tx: Transaction, question: Question, keys: Collection[int], most: int
) -> tuple[Newest, set[int]]:
    """Return those of applications that hardly anybody uses, and the applications of which too much had to be read."""
    found: dict[int, str] = {}
    kept = (await tx.execute(sa.select(HORIZON.c.counts_before))).scalar_one()
    there = await days_with_events(tx, window_of(question))
    too_many = set(keys) if there and there.start < kept else set()
    for days in batches(there, descending=True, size=FIRST_DAYS):
        left = set(keys) - found.keys() - too_many
        if not left:
            break
        read: list[tuple[int, int]] = []
        for key, attempts in await _at_most(tx, question, left, days):
            most_of_all = sum(some for _, some in read) + attempts
            if most_of_all > most:
                too_many.add(key)
            else:
                read.append((key, attempts))
        found |= await _of_few(tx, question, [key for key, _ in read], days)
    return found, too_many


async def _at_most(
    tx: Transaction, question: Question, keys: Collection[int], days: Sequence[int]
) -> Sequence[tuple[int, int]]:
    """Return how many attempts of each file there were on these days, whoever had them: fewest first."""
    counts = COUNT_BY_FILE.c
    narrow = [counts[one.key].in_(wanted) for one, wanted in members(question).items() if one in {DECISION, RULE}]
    total = sa.cast(sa.func.sum(counts.attempts), sa.BigInteger).label("total")
    each = (
        sa.select(counts[FILE.key], total)
        .where(counts.span == 1, counts.start.in_(days), counts[FILE.key].in_(keys), *narrow)
        .group_by(counts[FILE.key])
        .order_by(total)
    )
    return [(row[0], row[1]) for row in map(tuple, await tx.execute(each))]


async def _by_days(tx: Transaction, question: Question, keys: Collection[int], few: int) -> Newest:
    """Return those whose days the counts tell."""
    last = await _last_days(tx, question, keys)
    newest: dict[int, str] = {}
    # Day by day: SQLite finds no index for pairs.
    for day in {on for on, attempts in last.values() if attempts <= few}:
        wanted = [key for key, (on, attempts) in last.items() if on == day and attempts <= few]
        newest |= await _of_few(tx, question, wanted, [day])
    for key, (day, attempts) in last.items():
        if attempts > few and (attempt_id := await _walked(tx, question, key, day)) is not None:
            newest[key] = attempt_id
    return newest


async def _last_days(tx: Transaction, question: Question, keys: Collection[int]) -> Mapping[int, tuple[int, int]]:
    """Return the last day on which each of these files was used, as far as events are kept, and how many attempts it had then."""
    last: dict[int, tuple[int, int]] = {}
    for days in batches(await days_with_events(tx, window_of(question)), descending=True, size=FIRST_DAYS):
        left = set(keys) - last.keys()
        if not left:
            break
        within = narrowed_to(question, Window(days[-1] * DAY, (days[0] + 1) * DAY))
        found = await facts(tx, within, (FILE.key, "day"), None, among={FILE: left})
        for key, day, attempts in map(tuple, await tx.execute(sa.select(found))):
            last[key] = max(last.get(key, (-1, 0)), (day, attempts))
    return last


async def _of_few(tx: Transaction, question: Question, keys: Collection[int], days: Sequence[int]) -> Newest:
    """Read all of these days."""
    if not keys:
        return {}
    told = (_A.occurred, _A.event_id, _A.attempt_id, _A[FILE.key])
    narrow = (_A.day.in_(days), _A[FILE.key].in_(keys), *conditions(question))
    return await _first_of(tx, sa.select(*told).where(*narrow).subquery(), [])


async def _first_of(tx: Transaction, read: sa.Subquery, narrow: Sequence[sa.ColumnElement[bool]]) -> Newest:
    """Return the newest of what is read, of each file."""
    newest_first = (read.c.occurred.desc(), read.c.event_id.desc())
    place = sa.func.row_number().over(partition_by=read.c[FILE.key], order_by=newest_first).label("place")
    ranked = sa.select(read.c[FILE.key], read.c.attempt_id, place).where(*narrow).subquery()
    first = sa.select(ranked.c[FILE.key], ranked.c.attempt_id).where(ranked.c.place == 1)
    return {row[0]: row[1] for row in map(tuple, await tx.execute(first))}


async def _walked(tx: Transaction, question: Question, key: int, day: int) -> str | None:
    within = Window(day * DAY, (day + 1) * DAY).of(_A.occurred)
    walk = sa.select(_A.attempt_id).where(*within, _A[FILE.key] == key, *conditions(question))
    found: str | None = (await tx.execute(walk.order_by(_A.occurred.desc(), _A.event_id.desc()).limit(1))).scalar()
    return found
