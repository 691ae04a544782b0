"""Choose the counts that tell what is asked: the smallest that know everything, and of as few spans as cover the days.

- Who asks about some devices is told of closed spans by counts that begin with the device. Of the days beside them those are looked
  up who were there; and of those who were nowhere else, more is told by counts that know no device.
- Who sees nearly all devices is told what everybody did, and what was done on the others is taken off.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from services.reporting.model.reports import Question
from services.reporting.model.rollups import Run
from services.reporting.store.dimensions import DEVICE, DIMENSIONS, OWNER, USER, Dimension
from services.reporting.store.listed import one_of
from services.reporting.store.narrowing import members, unmanaged_alone
from services.reporting.store.rollups import CLOSED, ROLLUPS, Rollup
from services.reporting.store.spans import Span
from services.reporting.store.survey import Members, Survey
from services.reporting.store.tables import ATTEMPT

_A = ATTEMPT.c
_DAY = "day"
_KEYS = {dimension.key: dimension for dimension in DIMENSIONS}
Narrowed = Mapping[Dimension, Members]
Numbers = Mapping[Dimension, Collection[int]]
EVERY_ONE: Numbers = MappingProxyType({})
MOST_PROBES = 200_000
"""Looks into an index that are cheaper than reading every count of some weeks."""


@dataclass(frozen=True, slots=True)
class Groups:
    """What attempts are counted by: dimensions, and perhaps the day."""

    dimensions: tuple[Dimension, ...]
    by_day: bool

    @classmethod
    def of(cls, names: Sequence[str]) -> "Groups":
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


@dataclass(frozen=True, slots=True)
class Source:
    """Counts that are read, and what they are narrowed to."""

    rollup: Rollup
    narrowed: Narrowed
    span: Span
    runs: Sequence[Run] | None = None
    """The spans that are read; None: as few as cover the days."""
    named: int = 0
    """The number of users who are named; 0: nobody is."""
    most_looks: int = MOST_PROBES
    """Where it takes no more looks, users are looked up span by span; otherwise their counts are found among all."""
    taken_off: bool = False

    def turned(self) -> "Source":
        """Return the same, taken off where it was added, and added where it was taken off."""
        return replace(self, taken_off=not self.taken_off)

    def counted(self, groups: Groups, among: Numbers) -> Iterator[sa.Select[Any]]:
        """Yield what there is, a run of spans each; of members with some numbers alone, of dimensions that are grouped by."""
        counts = self.rollup.table.c
        narrow: list[sa.ColumnElement[bool]] = [
            *(_is_one(counts[dimension.key], wanted) for dimension, wanted in self.narrowed.items()),
            *(counts[dimension.key].in_(numbers) for dimension, numbers in among.items()),
        ]
        runs = self.runs
        if runs is None:
            runs = self.span.runs(self.rollup.spans[:1] if groups.by_day else self.rollup.spans)
        columns, attempts = groups.from_counts(self.rollup), -counts.attempts if self.taken_off else counts.attempts
        for run in runs or (Run(1, 0, 0),):
            within = (counts.span == run.span, *self._starts(run), *narrow)
            if len(self.rollup.dimensions) > len(groups.dimensions):
                # Added up run by run: what is left to be added up then is little, and sorted sooner.
                total = sa.cast(sa.func.sum(attempts), sa.BigInteger)
                yield sa.select(*columns, total.label("attempts")).where(*within).group_by(*columns)
            else:
                yield sa.select(*columns, attempts.label("attempts")).where(*within)

    def _starts(self, run: Run) -> list[sa.ColumnElement[bool]]:
        """Narrow the spans: one by one where users or devices are looked up, since a range leaves the rest of an index unused."""
        start = self.rollup.table.c.start
        each = range(run.first, run.before, run.span)
        if len(each) == 1:
            return [start == run.first]
        users_first = self.named and self.rollup.dimensions[0] is USER and self.named * len(each) <= self.most_looks
        devices_first = self.rollup.dimensions[0] is DEVICE and isinstance(self.narrowed.get(DEVICE), Sequence)
        if users_first or devices_first:
            return [start.in_(each)]
        return [start >= run.first, start < run.before]


@dataclass(frozen=True, slots=True)
class Sources:
    """Find the counts that tell what is asked."""

    survey: Survey
    groups: Groups

    @property
    def question(self) -> Question:
        """Return what is asked."""
        return self.survey.question

    async def within(self, span: Span) -> Sequence[Source]:
        """Return those that tell of the days of a span."""
        dimensions, named = self.groups.dimensions, len(self.question.filter.users)
        rollup, narrowed = _choice(self.question, dimensions)
        if named or span.first >= span.before or DEVICE not in narrowed:
            return [Source(rollup, narrowed, span, named=named)]
        unknowing, others = _choice(self.question, dimensions, {DEVICE})
        if await self.survey.others_tell() and DEVICE not in unknowing.dimensions:
            return [
                Source(unknowing, others, span),
                *(one.turned() for one in await self._on_devices(span, asked=False)),
            ]
        return await self._on_devices(span, asked=True)

    async def _on_devices(self, span: Span, *, asked: bool) -> Sequence[Source]:
        """Return the counts of the devices that are asked for, or of the others: of closed spans, and of the days beside them."""
        devices = await self.survey.named(asked=asked)
        rollup, narrowed = _choice(self.question, self.groups.dimensions)
        if rollup.dimensions[0] is not USER:
            return [Source(rollup, {**narrowed, DEVICE: devices}, span)]
        everything: Narrowed = {**self.survey.members, DEVICE: devices}
        if self.groups.by_day or not {*self.groups.dimensions, *everything} <= {*CLOSED.dimensions}:
            return await self._of_users(span, asked=asked)
        parts = span.parted(CLOSED.spans)
        found = [Source(CLOSED, everything, span, parts.runs)] if parts.runs else []
        for days in parts.beside:
            found += await self._of_users(days, asked=asked)
        for days in parts.too_many:
            found += [one.turned() for one in await self._of_users(days, asked=asked)]
        return found

    async def _of_users(self, span: Span, *, asked: bool) -> Sequence[Source]:
        """Return the counts of these devices that begin with the user: of those who were there, where they are looked up sooner."""
        devices = await self.survey.named(asked=asked)
        rollup, narrowed = _choice(self.question, self.groups.dimensions)
        plain = Source(rollup, {**narrowed, DEVICE: devices}, span)
        found = await self.survey.users(asked=asked)
        if found is None:
            return [plain]
        by_user = _choice(self.question, (*self.groups.dimensions, USER), {USER, DEVICE})
        alike = by_user[0] is rollup
        left, days = [*(found.there if alike else ()), *found.elsewhere_too], range(span.first, span.before)
        sooner = await self.survey.looked_up_sooner(len(left), days)
        if alike and not sooner:
            return [plain]
        looks = max(len(left), 1) * len(days) if sooner else 0
        most_looks = looks if alike else MOST_PROBES
        counts, wanted = by_user
        there = Source(
            counts, {**wanted, USER: found.there}, span, named=max(len(found.there), 1), most_looks=most_looks
        )
        if not found.elsewhere_too:
            return [there]
        on_them = {**narrowed, DEVICE: devices, USER: found.elsewhere_too}
        elsewhere_too = Source(rollup, on_them, span, named=len(found.elsewhere_too), most_looks=looks)
        return [there, elsewhere_too] if found.there else [elsewhere_too]


def _is_one(number: sa.ColumnElement[int], members: Members) -> sa.ColumnElement[bool]:
    return one_of(number, members) if isinstance(members, Sequence) else number.in_(members)


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
