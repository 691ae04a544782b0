"""Requests that are over and old, in SQL.

INVARIANT: of each device the newest outcome stays, whatever becomes of its request: numbers of outcomes go on behind it, and a
device passes over numbers that it has seen.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Database
from services.policy.model.requests import OPEN, RequestState
from services.policy.store.certificate_chains import forget_chains
from services.policy.store.tables import ELEVATION_REQUEST, GRANT_USE, REQUEST_OUTCOME

STEP = 100
"""Requests that are looked at, and go, at once."""

_E, _U, _O = ELEVATION_REQUEST.c, GRANT_USE.c, REQUEST_OUTCOME.c
_FINAL = _E.state.in_([state.name for state in RequestState if state not in OPEN])


class SqlOldRequests:
    """Find them, and let them go with what belongs to them."""

    def __init__(self, database: Database, *, step: int = STEP) -> None:
        self._database = database
        self._step = step

    async def over(self, before: datetime) -> AsyncIterator[Sequence[str]]:
        """Give those that ended before a time, a few at once, and none where of a few that were looked at none did."""
        columns = (_E.request_id, _E.submitted, _E.review, _E.ending)
        asked = sa.select(*columns).where(_FINAL, _E.submitted < before)
        asked = step = asked.order_by(_E.submitted, _E.request_id).limit(self._step)
        while True:
            async with self._database.read() as tx:
                rows = (await tx.execute(step)).mappings().all()
            yield [row["request_id"] for row in rows if _ended(row) < before]
            if len(rows) < self._step:
                return
            step = _behind(asked, rows[-1])

    async def delete(self, request_ids: Collection[str], before: datetime) -> None:
        """Delete requests, their uses, their outcomes and their certificates; and uses of before that time that their devices told of others."""
        of_these = sa.delete(ELEVATION_REQUEST).where(_E.request_id.in_(request_ids), _FINAL)
        async with self._database.held() as tx:
            deleted = (await tx.execute(of_these.returning(_E.device_id, _E.chain))).all()
            devices = {row.device_id for row in deleted}
            await forget_chains(tx, {row.chain for row in deleted})
            used = sa.or_(_U.grant_id.in_(request_ids), _U.recorded < before)
            await tx.execute(sa.delete(GRANT_USE).where(_U.device_id.in_(devices), used, ~_known(_U.grant_id)))
            gone = (_O.device_id.in_(devices), ~_known(_O.request_id))
            await tx.execute(sa.delete(REQUEST_OUTCOME).where(*gone, _O.sequence < _newest()))
            await tx.execute(sa.update(REQUEST_OUTCOME).where(*gone).values(kept=True))


def _behind(asked: sa.Select[Any], last: sa.RowMapping) -> sa.Select[Any]:
    same = sa.and_(_E.submitted == last["submitted"], _E.request_id > last["request_id"])
    return asked.where(_E.submitted >= last["submitted"], sa.or_(_E.submitted > last["submitted"], same))


def _ended(row: sa.RowMapping) -> datetime:
    """Return when a request came into its final state: a denial is no more than its review."""
    return datetime.fromisoformat(row["ending"]["ended"] if row["ending"] else row["review"]["reviewed"])


def _known(request_id: sa.Column[Any]) -> sa.ColumnElement[bool]:
    return sa.select(_E.request_id).where(_E.request_id == request_id).exists()


def _newest() -> sa.ScalarSelect[Any]:
    others = REQUEST_OUTCOME.alias()
    newest = sa.select(sa.func.max(others.c.sequence)).where(others.c.device_id == _O.device_id)
    return newest.correlate(REQUEST_OUTCOME).scalar_subquery()
