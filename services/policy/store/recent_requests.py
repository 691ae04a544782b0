"""What a device asked for lately, in SQL."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services.policy.model.request_limits import OF_ONE_DEVICE_A_DAY, Submission, counting
from services.policy.store.tables import ELEVATION_REQUEST

_E = ELEVATION_REQUEST.c
_RECENT = (
    sa.select(_E.requester, _E.submitted, _E.evidence)
    .where(
        _E.device_id == sa.bindparam("device"),
        _E.submitted > sa.bindparam("after"),
        _E.submitted < sa.bindparam("before"),
    )
    .order_by(_E.submitted.desc())
    .limit(OF_ONE_DEVICE_A_DAY)
)


class SqlRecentRequests:
    """Read it outside of the transaction that takes one more in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recent(self, device_id: str, now: datetime) -> Sequence[Submission]:
        """Read the newest requests of a device that count, as many as it may make."""
        async with self._database.read() as tx:
            return await recent_in(tx, device_id, now)


async def recent_in(tx: Transaction, device_id: str, now: datetime) -> Sequence[Submission]:
    """Read the newest requests of a device that count, as many as it may make."""
    after, before = counting(now)
    rows = await tx.execute(_RECENT, {"device": device_id, "after": after, "before": before})
    return [Submission(row.requester, row.submitted, row.evidence) for row in rows]
