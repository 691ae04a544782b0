"""Forget the names of users, files, devices and rules to which no attempt and no count refers any more.

- Which those are is found out by reading alone. Then they are deleted a few at a time, while nothing is written; whatever was
  used by an attempt that was stored meanwhile stays.
- Who was on which device goes with the user or the device.
- INVARIANT: whoever writes with a number that was cached learns, under the same lock, that numbers were taken away, and asks
  for it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.rollups import DAY
from services.reporting.store.dimensions import DEVICE, FILE, RULE, USER, Dimension
from services.reporting.store.tables import (
    ATTEMPT,
    COUNT_BY_DEVICE,
    COUNT_BY_FILE,
    COUNT_BY_RULE,
    COUNT_BY_USER,
    HORIZON,
    USER_DEVICE,
)

_COUNTS = {USER: COUNT_BY_USER, FILE: COUNT_BY_FILE, DEVICE: COUNT_BY_DEVICE, RULE: COUNT_BY_RULE}


@dataclass(frozen=True, slots=True)
class Unused:
    """The members of a dimension to which nothing referred when the transaction of this number was the newest."""

    dimension: Dimension
    keys: Sequence[int]
    as_of: int

    def steps(self, size: int) -> Iterator["Unused"]:
        """Yield them a few at a time."""
        for first in range(0, len(self.keys), size):
            yield Unused(self.dimension, self.keys[first : first + size], self.as_of)

    async def delete(self, tx: Transaction) -> int:
        """Delete those that were not used since, and return how many those were; nobody else may write meanwhile."""
        attempt, known = ATTEMPT.c[self.dimension.key], self.dimension.table
        used = sa.select(attempt).where(ATTEMPT.c.stored > self.as_of)
        key = known.c[self.dimension.key]
        deleted = (await tx.execute(sa.delete(known).where(key.in_(self.keys), key.not_in(used)))).rowcount
        if deleted:
            await tx.execute(sa.update(HORIZON).values(numbers_forgotten=HORIZON.c.numbers_forgotten + 1))
            await self._part(tx)
        return deleted

    async def _part(self, tx: Transaction) -> None:
        """Delete the pairs of those that are gone: their numbers may be given out again. Other pairs are left: they do no harm."""
        paired = USER_DEVICE.c.get(self.dimension.key)
        if paired is not None:
            key = self.dimension.table.c[self.dimension.key]
            left = sa.select(key).where(key.in_(self.keys))
            await tx.execute(sa.delete(USER_DEVICE).where(paired.in_(self.keys), paired.not_in(left)))


async def unused(tx: Transaction) -> Sequence[Unused]:
    """Return the members to which nothing refers."""
    as_of = await tx.current_revision()
    counted = (await tx.execute(sa.select(HORIZON.c.counts_before))).scalar_one()
    found = []
    for dimension, table in _COUNTS.items():
        key = dimension.key
        statement = sa.except_(
            sa.select(dimension.table.c[key]),
            sa.select(table.c[key]).where(table.c.span == 1),
            # Days whose counts are gone may have attempts that are kept still.
            sa.select(ATTEMPT.c[key]).where(ATTEMPT.c.occurred < counted * DAY),
        )
        found.append(Unused(dimension, (await tx.execute(statement)).scalars().all(), as_of))
    return found
