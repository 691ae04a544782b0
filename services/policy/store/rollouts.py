"""All deliveries at once, read as lightly as it goes: what rollouts are counted from."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services.policy.model.bundle import Contents
from services.policy.model.rollout import Facts, Picture
from services.policy.store.bundles import read_bundles
from services.policy.store.tables import DELIVERY

_D = DELIVERY.c
_BUNDLES = slice(5, 7)


class SqlPictures:
    """Read pictures; contents of bundles never change, and those of the last picture are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._contents: Mapping[bytes, Contents] = {}

    async def picture(self, now: datetime) -> Picture:
        """Return the deliveries of all devices, in one state of the data."""
        async with self._database.read() as tx:
            rows = (await tx.execute(_facts())).all()
            facts = {row[0]: Facts._make(row[1:]) for row in rows}
            named = {digest for row in rows for digest in row[_BUNDLES] if digest is not None}
            contents = {digest: found for digest, found in self._contents.items() if digest in named}
            contents |= await read_bundles(tx, named - contents.keys())
            reasons = await _reasons(tx)
        self._contents = contents
        return Picture(now, facts, contents, reasons)


def _facts() -> sa.Select[tuple[object, ...]]:
    """Ask for the facts of all devices.

    When a device was confirmed is read only where it matters: to read a time takes as long as all the rest of a row.
    """
    connected = _D.stream != ""
    current = sa.and_(connected, _D.applied_revision == _D.revision, _D.rejected_revision != _D.revision)
    return sa.select(
        _D.device_id,
        _D.revision,
        _D.offered.is_not(None),
        _D.applied_revision,
        _D.rejected_revision,
        _D.bundle,
        _D.applied_bundle,
        sa.case((current, None), else_=_D.confirmed),
        connected,
    )


async def _reasons(tx: Transaction) -> dict[str, tuple[str, ...]]:
    """Return why devices refused their newest document; many give the same reasons, which are read once."""
    refused = sa.select(_D.device_id, sa.cast(_D.rejections, sa.Text).label("reasons"))
    rows = await tx.execute(refused.where(_D.rejected_revision > 0, _D.rejected_revision == _D.revision))
    read = cache(_texts)
    return {row.device_id: read(row.reasons) for row in rows.all()}


def _texts(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
