"""Calls that were made under identifiers of their callers', in SQL; their answers are kept compressed."""

import asyncio
import zlib
from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.policy.ports import BOUND, Bound, KeptAnswer
from services.policy.store.tables import REQUEST

FEW = 100
"""Old calls that are dropped when one is kept: more than come, so that they do not pile up."""
_FAST = 1
_LONG = 64 * 1024
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
        return None if row is None else KeptAnswer(row.digest, await _beside(zlib.decompress, row.answer), row.recorded)

    async def keep(
        self, principal: str, request_id: str, made: KeptAnswer, *, oldest: datetime, bound: Bound = BOUND
    ) -> None:
        """Write what the call was answered, and delete a few old ones, and what is too much."""
        old = sa.select(_R.principal, _R.request_id).where(_R.recorded <= oldest).order_by(_R.recorded).limit(FEW)
        key = sa.tuple_(_R.principal, _R.request_id)
        for dropped in (key.in_(old), sa.and_(_R.principal == principal, _R.request_id == request_id)):
            await self._tx.execute(sa.delete(REQUEST).where(dropped))
        row = {
            "principal": principal,
            "request_id": request_id,
            "digest": made.digest,
            "answer": await _beside(_compressed, made.answer),
            "recorded": made.recorded,
        }
        await self._tx.execute(sa.insert(REQUEST), row)
        await self._drop_beyond(bound, principal, request_id)

    async def _drop_beyond(self, bound: Bound, principal: str, kept: str) -> None:
        """Delete the principal's oldest calls but for the one that was kept, until the rest is within the bound."""
        own = sa.select(_R.request_id, _R.recorded, sa.func.length(_R.answer).label("size"))
        sized = own.where(_R.principal == principal).subquery()
        newest = ((sized.c.request_id == kept).desc(), sized.c.recorded.desc(), sized.c.request_id)
        counted = sa.select(
            sized.c.request_id,
            sa.func.row_number().over(order_by=newest).label("place"),
            sa.func.sum(sized.c.size).over(order_by=newest, rows=(None, 0)).label("sum"),
        ).subquery()
        beyond = sa.or_(counted.c.place > bound.calls, counted.c.sum > bound.size)
        dropped = sa.select(counted.c.request_id).where(beyond, counted.c.request_id != kept)
        await self._tx.execute(sa.delete(REQUEST).where(_R.principal == principal, _R.request_id.in_(dropped)))


def _compressed(answer: bytes) -> bytes:
    return zlib.compress(answer, _FAST)


async def _beside(change: Callable[[bytes], bytes], answer: bytes) -> bytes:
    """Compress an answer or read it again; a thread does it where that takes a while."""
    return await asyncio.to_thread(change, answer) if len(answer) > _LONG else change(answer)
