"""Tell from the sets of closed spans, and from counts and events of all else, who met which application unmanaged.

- Sets know users, devices and files. Whatever else a question narrows they cannot tell: then nothing is told here, and the
  database adds up counts.
- Of whoever asks about some devices, sets tell everything about the users who were on no others; the others are looked up.
- INVARIANT: what is told is what counts would tell. A walk over pages is about what was stored when it began, and sets go on
  growing: where anything came into them since, nothing is told.
"""

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import compress
from typing import Any, NamedTuple

import sqlalchemy as sa
from pyroaring import BitMap

from services._chassis.db import Transaction
from services.reporting.model.obstacles import Places, Sets, Weight, of_pairs, united, unpacked, weighed, within
from services.reporting.model.reports import Question
from services.reporting.model.rollups import DAY, covering
from services.reporting.store.attempts import stored_since
from services.reporting.store.counted import facts, parts
from services.reporting.store.dimensions import DECISION, DEVICE, FILE, USER, Dimension
from services.reporting.store.keptsets import Kept, kept_sets
from services.reporting.store.listed import listed_numbers
from services.reporting.store.narrowing import Window, members, narrowed_to, unmanaged_alone, window_of
from services.reporting.store.spans import span_of
from services.reporting.store.tables import ATTEMPT, HORIZON, KNOWN_DECISION, KNOWN_USER, OBSTACLE_LATE, OBSTACLE_SETS
from services.reporting.store.whereabouts import whereabouts

MOST_OPEN = 4
"""Days that are not closed and are sooner read number by number than added up by the database."""
MOST_ELSEWHERE = 1000
"""Users who were on other devices too and are looked up by name."""

_KEYS = (FILE.key, USER.key, DEVICE.key)
_KNOWN = frozenset({FILE, USER, DEVICE})


class Triples(NamedTuple):
    """Numbers of files, of users and of devices: what is at the same place belongs together."""

    files: list[int]
    users: list[int]
    devices: list[int]

    def and_of(self, more: "Triples") -> "Triples":
        """Return these and more of them."""
        return Triples(*(mine + other for mine, other in zip(self, more, strict=True)))

    def on(self, devices: BitMap) -> "Triples":
        """Return those of some devices."""
        wanted = [device in devices for device in self.devices]
        return Triples(*(list(compress(column, wanted)) for column in self))


@dataclass(frozen=True, slots=True)
class Met:
    """How many users met each application, and on which devices."""

    weights: Sequence[Weight]
    packs: Sequence[tuple[bytes, Places]]
    """The sets of devices of closed spans, to be looked into for the applications of a page alone."""
    others: Triples
    """What is in none of them."""
    among: "_Among"

    @property
    def knows_devices(self) -> bool:
        """Tell whether devices can be told: sets do not know which users were on them."""
        return not self.among.some_users

    def devices(self, files: Collection[int]) -> Sets:
        """Return the devices on which each of these applications was met."""
        among = map(frozenset(files).__contains__, self.others.files)
        others = of_pairs(compress(zip(self.others.files, self.others.devices, strict=True), among))
        found = united([*(unpacked(pack, files, places) for pack, places in self.packs), others])
        return found if self.among.seen is None else within(found, self.among.seen)


@dataclass(frozen=True, slots=True)
class _Among:
    """Whom and what a question is about, by numbers; None: all."""

    some_users: bool
    files: frozenset[int] | None = None
    users: BitMap | None = None
    """Of those the sets tell everything."""
    elsewhere_too: Sequence[int] = ()
    seen: BitMap | None = None
    """Devices."""


@dataclass(frozen=True, slots=True)
class _Times:
    """The days of a question that are closed, from `first` up to `before`, and whatever else it is about."""

    first: int
    before: int
    others: Sequence[Window]

    @property
    def closed(self) -> Window:
        """Return the times of the days that are closed."""
        return Window(self.first * DAY, self.before * DAY)

    def of(self, table: sa.Table) -> sa.ColumnElement[bool]:
        """Narrow what is kept by spans to those that are these days."""
        runs = covering(self.first, self.before)
        each = (
            sa.and_(table.c.span == run.span, table.c.start.in_(range(run.first, run.before, run.span))) for run in runs
        )
        return sa.or_(*each)


async def met(tx: Transaction, question: Question, as_of: int | None) -> Met | None:
    """Return who met what; None where sets cannot tell. The question is about unmanaged attempts alone."""
    without = unmanaged_alone(question)
    if without is None or question.names_attempts:
        return None
    narrowed = dict(members(without))
    if DECISION in narrowed and await _are_all_unmanaged(tx, narrowed[DECISION]):
        del narrowed[DECISION]
    if not narrowed.keys() <= _KNOWN:
        return None
    times = await _times(tx, question)
    if times is None or (as_of is not None and await added_since(tx, question, times.closed, as_of)):
        return None
    among = await _among(tx, narrowed)
    if among is None:
        return None
    kept = await kept_sets(tx, times.of(OBSTACLE_SETS))
    late = await _late(tx, times)
    others = [await _triples(tx, narrowed_to(_of_all_devices(question), window), as_of) for window in times.others]
    if among.elsewhere_too:
        about = await _about(tx, question, among.elsewhere_too)
        others.append(await _triples(tx, narrowed_to(about, times.closed), as_of))
    return await asyncio.to_thread(_met, kept, late, others, among)


def _met(kept: Kept, late: Triples, others: Sequence[Triples], among: _Among) -> Met:
    closed = united([kept.users, _users(late)])
    if among.files is not None:
        closed = {file: users for file, users in closed.items() if file in among.files}
    if among.users is not None:
        closed = within(closed, among.users)
    rest = reduce(Triples.and_of, others, Triples([], [], []))
    if among.seen is not None:
        rest = rest.on(among.seen)
    weights = weighed(united([closed, _users(rest)]))
    return Met(weights, kept.devices, late.and_of(rest), among)


def _users(triples: Triples) -> Sets:
    return of_pairs(zip(triples.files, triples.users, strict=True))


async def _times(tx: Transaction, question: Question) -> _Times | None:
    """Return the days that are closed, and the rest; None where there are none, or too many that are not."""
    span = await span_of(tx, question)
    closed = (await tx.execute(sa.select(HORIZON.c.closed_before))).scalar_one()
    before = min(span.before, closed)
    if span.first >= before or min(span.before, span.newest + 1) - before > MOST_OPEN:
        return None
    others = [window for window in span.beside if window.start is None or window.start < before * DAY]
    end = window_of(question).end
    if span.newest >= before and (end is None or end > before * DAY):
        others.append(Window(before * DAY, None))
    return _Times(span.first, before, others)


async def _are_all_unmanaged(tx: Transaction, decisions: sa.Select[Any]) -> bool:
    """Tell whether these decisions are all that may be unmanaged, as where their one result is asked for."""
    known = KNOWN_DECISION.c
    other = sa.select(known.decision_key).where(known.managed.is_(False), known.decision_key.not_in(decisions))
    return (await tx.execute(other.limit(1))).first() is None


async def added_since(tx: Transaction, question: Question, window: Window, as_of: int) -> bool:
    """Tell whether attempts of a window that the question may be about were stored after the transaction of this number."""
    event = ATTEMPT.c
    # Found by their numbers: an index over days would be the wrong one.
    late = event.event_id.in_(stored_since(as_of))
    of_decisions = event[DECISION.key].in_(members(question)[DECISION])
    added = sa.select(event.event_id).where(late, *window.of(event.occurred), of_decisions)
    return (await tx.execute(added.limit(1))).first() is not None


async def _among(tx: Transaction, narrowed: Mapping[Dimension, sa.Select[Any]]) -> _Among | None:
    """Return whom and what a question is about; None where those who are to be looked up are too many."""
    files, users, seen = [await _numbers(tx, narrowed.get(dimension)) for dimension in (FILE, USER, DEVICE)]
    some_files = None if files is None else frozenset(files)
    if seen is None:
        return _Among(users is not None, some_files, users)
    found = await whereabouts(tx, narrowed[DEVICE], narrowed.get(USER))
    if found is None or len(found.elsewhere_too) > MOST_ELSEWHERE:
        return None
    return _Among(users is not None, some_files, BitMap(found.there), found.elsewhere_too, seen)


async def _numbers(tx: Transaction, wanted: sa.Select[Any] | None) -> BitMap | None:
    return None if wanted is None else BitMap((await tx.execute(wanted)).scalars().all())


async def _late(tx: Transaction, times: _Times) -> Triples:
    """Return what came late to the sets."""
    columns = [OBSTACLE_LATE.c[key] for key in _KEYS]
    return _turned((await tx.execute(sa.select(*columns).where(times.of(OBSTACLE_LATE)))).all())


def _turned(rows: Sequence[sa.Row[Any]]) -> Triples:
    return Triples(*([row[place] for row in rows] for place in range(len(_KEYS))))


def _of_all_devices(question: Question) -> Question:
    """Return the question of whoever sees all: of open days it is sooner read than found out who was where."""
    return replace(question, tags=None)


async def _about(tx: Transaction, question: Question, users: Sequence[int]) -> Question:
    """Return the question about some of the users whom it is about."""
    names = sa.select(KNOWN_USER.c.user_name).where(KNOWN_USER.c.user_key.in_(listed_numbers(users)))
    named = tuple((await tx.execute(names)).scalars())
    return replace(question, filter=replace(question.filter, users=named))


async def _triples(tx: Transaction, question: Question, as_of: int | None) -> Triples:
    """Return the numbers of what counts and events tell: as three texts, for reading rows takes the longest."""
    # Without a past that is to be told again nothing is taken off: then it does not matter how often anything is there.
    found = await (parts(tx, question, _KEYS, None) if as_of is None else facts(tx, question, _KEYS, as_of))
    texts = (sa.func.aggregate_strings(sa.cast(found.c[key], sa.Text), ",") for key in _KEYS)
    row = (await tx.execute(sa.select(*texts))).one()
    return await asyncio.to_thread(_read, tuple(row))


def _read(texts: tuple[str | None, ...]) -> Triples:
    return Triples(*(json.loads(f"[{text or ''}]") for text in texts))
