"""Read the sets of closed spans, and remember what was united: pages of a walk, and whoever asks of the same days, need it again.

INVARIANT: what is remembered is known by the digests of what it was made of, as they are in the caller's transaction.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.obstacles import Places, Sets, places_in, united, unpacked
from services.reporting.store.tables import OBSTACLE_SETS

REMEMBERED = 4
"""Unions that are remembered, those that were asked for last."""
MOST_REMEMBERED = 8 * 1024 * 1024
"""Bytes of the sets of one of them, as they are kept; united, users take two or three times that."""
_SETS = OBSTACLE_SETS.c


@dataclass(frozen=True, slots=True)
class Kept:
    """The users of some spans, united, and the devices of each of these, as they are kept."""

    users: Sets
    devices: Sequence[tuple[bytes, Places]]


_remembered: dict[tuple[str, ...], Kept] = {}


async def kept_sets(tx: Transaction, of: sa.ColumnElement[bool]) -> Kept:
    """Return the sets of these spans. Nobody changes them."""
    spans = sa.select(_SETS.digest).where(of).order_by(_SETS.span, _SETS.start)
    digests = tuple((await tx.execute(spans)).scalars())
    kept = _remembered.pop(digests, None)
    if kept is None:
        rows = (await tx.execute(sa.select(_SETS.users, _SETS.devices).where(of))).all()
        kept = await asyncio.to_thread(_kept, [row.users for row in rows], [row.devices for row in rows])
        if sum(len(row.users) + len(row.devices) for row in rows) > MOST_REMEMBERED:
            return kept
    _remembered[digests] = kept
    while len(_remembered) > REMEMBERED:
        del _remembered[next(iter(_remembered))]
    return kept


def _kept(users: Sequence[bytes], devices: Sequence[bytes]) -> Kept:
    return Kept(united(map(unpacked, users)), [(pack, places_in(pack)) for pack in devices])
