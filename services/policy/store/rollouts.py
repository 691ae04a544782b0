"""All deliveries at once, read as lightly as it goes: what rollouts are counted from."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services.policy.model.bundle import Contents
from services.policy.model.delivery import LEASE
from services.policy.model.rollout import Facts, Picture
from services.policy.store.bundles import read_bundles
from services.policy.store.tables import DELIVERY

_D = DELIVERY.c


class SqlPictures:
    """Read pictures; contents of bundles never change, and those of the last picture are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._contents: Mapping[bytes, Contents] = {}

    async def picture(self, now: datetime) -> Picture:
        """Return the deliveries of all devices, in one state of the data."""
        async with self._database.read() as tx:
            rows = await tx.execute(_facts(now))
            facts = {row[0]: Facts(*row[1:]) for row in rows}
            named = {digest for found in facts.values() for digest in (found.bundle, found.applied_bundle) if digest}
            contents = {digest: found for digest, found in self._contents.items() if digest in named}
            contents |= await read_bundles(tx, named - contents.keys())
            reasons = await _reasons(tx)
        self._contents = contents
        return Picture(now, facts, contents, reasons)


def _facts(now: datetime) -> sa.Select[tuple[object, ...]]:
    connected = sa.and_(_D.stream != "", _D.seen.is_not(None), _D.seen > now - LEASE)
    return sa.select(
        _D.device_id,
        _D.revision,
        _D.offered.is_not(None),
        _D.applied_revision,
        _D.rejected_revision,
        _D.bundle,
        _D.applied_bundle,
        _D.confirmed,
        connected,
    )


async def _reasons(tx: Transaction) -> dict[str, tuple[str, ...]]:
    refused = sa.select(_D.device_id, _D.rejections).where(
        _D.rejected_revision > 0, _D.rejected_revision == _D.revision
    )
    return {row.device_id: tuple(row.rejections) for row in await tx.execute(refused)}
