"""Find out about a question what decides which counts are read for it, each thing once, however many counts are read.

Whoever makes a report of several counts keeps one of these for its transaction, which sees one state of the data: there what was
found out stays true.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.reports import Question
from services.reporting.store.dimensions import DEVICE, USER, Dimension
from services.reporting.store.narrowing import members
from services.reporting.store.spans import Span, span_of
from services.reporting.store.whereabouts import Whereabouts, looked_up_sooner, whereabouts

Members = sa.Select[Any] | Sequence[int]
FEW, MOST_DEVICES = 3, 10_000
"""Devices are looked up one by one where there are so many times as many, and where they are no more than so many."""


class Survey:
    """Remember what was found out about a question in a transaction."""

    def __init__(self, tx: Transaction, question: Question) -> None:
        self.tx = tx
        self.question = question
        self._span: Span | None = None
        self._members: Mapping[Dimension, sa.Select[Any]] | None = None
        self._devices: tuple[int, int] | None = None
        self._named: dict[bool, Members] = {}
        self._users: dict[bool, Whereabouts | None] = {}
        self._sooner: dict[tuple[int, range], bool] = {}

    async def span(self) -> Span:
        """Return the whole days of the question that counts can tell of, and what is left to the events."""
        if self._span is None:
            self._span = await span_of(self.tx, self.question)
        return self._span

    @property
    def members(self) -> Mapping[Dimension, sa.Select[Any]]:
        """Return, for each dimension that the question narrows, what selects the numbers of those it is about."""
        if self._members is None:
            self._members = members(self.question)
        return self._members

    async def devices(self) -> tuple[int, int]:
        """Return how many devices there are, and how many of them the question is about, which must narrow them."""
        if self._devices is None:
            these = sa.func.count(sa.case((DEVICE.table.c[DEVICE.key].in_(self.members[DEVICE]), 1)))
            every, found = tuple((await self.tx.execute(sa.select(sa.func.count(), these))).one())
            self._devices = every, found
        return self._devices

    async def named(self, *, asked: bool) -> Members:
        """Return the devices that the question is about, or the others: their numbers where these are few.

        So planners see how few, and look each up.
        """
        if asked not in self._named:
            every, these = await self.devices()
            among, known = self.members[DEVICE], DEVICE.table.c[DEVICE.key]
            devices = among if asked else sa.select(known).where(known.not_in(among))
            few = _few(these if asked else every - these, every)
            self._named[asked] = (await self.tx.execute(devices)).scalars().all() if few else devices
        return self._named[asked]

    async def others_tell(self) -> bool:
        """Tell whether more is known at once of the devices that the question is not about, since they are the fewer."""
        every, these = await self.devices()
        return every < 2 * these

    async def few_devices(self) -> bool:
        """Tell whether the counts of few devices tell of those that the question is about: their own, or those of the others."""
        if DEVICE not in self.members:
            return False
        every, these = await self.devices()
        return _few(min(these, every - these), every)

    async def users(self, *, asked: bool) -> Whereabouts | None:
        """Return who was on the devices that the question is about, or on the others, of the users that it is about."""
        if asked not in self._users:
            self._users[asked] = await whereabouts(self.tx, await self.named(asked=asked), self.members.get(USER))
        return self._users[asked]

    async def looked_up_sooner(self, users: int, days: range) -> bool:
        """Tell whether it is cheaper to look so many users up on each of the days than to read what is counted of all users."""
        if (users, days) not in self._sooner:
            self._sooner[users, days] = await looked_up_sooner(self.tx, users, days)
        return self._sooner[users, days]


def _few(devices: int, every: int) -> bool:
    return devices <= MOST_DEVICES and FEW * devices <= every
