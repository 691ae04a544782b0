"""Tell who was on the devices that a question is about, so that counts which begin with users need not be read whole.

- INVARIANT: whoever has a count on a device is named; some are named who have none there any more, so that devices are still
  narrowed where that matters.
- Of whoever was on no other device, counts tell without a look at the device: those by user, which are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.store.listed import one_of
from services.reporting.store.tables import COUNT_BY_DECISION, KNOWN_USER, USER_DEVICE

MOST_USERS = 10_000
"""Users that are named one by one: SQLite takes statements of a million characters."""
LOOK = 10
"""Attempts whose counts are read in the time of one look into an index."""

_PAIR = USER_DEVICE.c


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The users of some devices: those who were there alone, and those who were elsewhere too."""

    there: Sequence[int]
    elsewhere_too: Sequence[int]


async def whereabouts(
    tx: Transaction, devices: sa.Select[tuple[int]] | Sequence[int], users: sa.Select[tuple[int]] | None
) -> Whereabouts | None:
    """Return who was on the devices, of these users or of all; None where they are too many to be named."""
    there = one_of(_PAIR.device_key, devices) if isinstance(devices, Sequence) else _PAIR.device_key.in_(devices)
    other = sa.func.max(sa.case((there, 0), else_=1)).label("other")
    asked = (
        sa.select(_PAIR.user_key, other)
        .where(_PAIR.user_key.in_(sa.select(_PAIR.user_key).where(there)))
        .group_by(_PAIR.user_key)
        .order_by(_PAIR.user_key)
        .limit(MOST_USERS + 1)
    )
    if users is not None:
        asked = asked.where(_PAIR.user_key.in_(users))
    rows = (await tx.execute(asked)).all()
    if len(rows) > MOST_USERS:
        return None
    return Whereabouts(
        there=[row.user_key for row in rows if not row.other],
        elsewhere_too=[row.user_key for row in rows if row.other],
    )


async def looked_up_sooner(tx: Transaction, users: int, days: range) -> bool:
    """Tell whether it is cheaper to look these users up on each of the days than to read what is counted of all users."""
    counted = COUNT_BY_DECISION.c
    within = (counted.span == 1, counted.start >= days.start, counted.start < days.stop)
    attempts = sa.select(sa.func.sum(counted.attempts)).where(*within).scalar_subquery()
    everybody = sa.select(sa.func.count()).select_from(KNOWN_USER).scalar_subquery()
    found = (await tx.execute(sa.select(attempts.label("attempts"), everybody.label("everybody")))).one()
    total, most = int(found.attempts or 0), max(int(found.everybody), 1)
    return users * len(days) * LOOK + total * users / most < total
