"""Calls that were made under identifiers of their callers', in SQL."""

from datetime import datetime

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.policy.ports import KeptAnswer
from services.policy.store.tables import REQUEST

FEW = 100
"""Old calls that are dropped when one is kept: more than come, so that they do not pile up."""
_R = REQUEST.c


class SqlRequests:
    """Read and keep calls within one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def find(self, principal: str, request_id: str) -> KeptAnswer | None:
        """Read what the call was answered."""
        asked = sa.select(_R.digest, _R.answer, _R.recorded).where(
            _R.principal == principal, _R.request_id == request_id
        )
        row = (await self._tx.execute(asked)).first()
        return None if row is None else KeptAnswer(row.digest, row.answer, row.recorded)

    async def keep(self, principal: str, request_id: str, made: KeptAnswer, *, oldest: datetime) -> None:
        """Write what the call was answered, and delete a few old ones."""
        old = sa.select(_R.principal, _R.request_id).where(_R.recorded <= oldest).order_by(_R.recorded).limit(FEW)
        key = sa.tuple_(_R.principal, _R.request_id)
        for dropped in (key.in_(old), sa.and_(_R.principal == principal, _R.request_id == request_id)):
            await self._tx.execute(sa.delete(REQUEST).where(dropped))
        row = {
            "principal": principal,
            "request_id": request_id,
            "digest": made.digest,
            "answer": made.answer,
            "recorded": made.recorded,
        }
        await self._tx.execute(sa.insert(REQUEST), row)
