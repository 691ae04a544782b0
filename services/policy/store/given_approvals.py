"""What was approved, in SQL."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services._chassis.config import LONGEST_REVIEW
from services._chassis.db import Database
from services.policy.model.candidates import Approval
from services.policy.store.tables import ELEVATION_REQUEST

CHUNK = 1000
"""Approvals that are read at once."""

MOST = 20_000
"""Approvals that are read in all: those of the newest requests."""

_E = ELEVATION_REQUEST.c
_FIRST = datetime(1970, 1, 1, tzinfo=UTC) + LONGEST_REVIEW


class SqlGivenApprovals:
    """Read approvals."""

    def __init__(self, database: Database, *, chunk: int = CHUNK, most: int = MOST) -> None:
        self._database = database
        self._chunk = chunk
        self._most = most

    async def given(self, since: datetime) -> Sequence[Approval]:
        """Read them step by step, from the newest request back to those that can be decided no more since then."""
        asked = _asked(max(since, _FIRST) - LONGEST_REVIEW).limit(self._chunk)
        found: list[Approval] = []
        read, step = 0, asked
        async with self._database.read() as tx:
            while True:
                rows = (await tx.execute(step)).mappings().all()
                found += [each for each in map(_approval, rows) if each.reviewed >= since]
                read += len(rows)
                if len(rows) < self._chunk or read >= self._most:
                    return found
                step = _behind(asked, rows[-1])


def _asked(submitted: datetime) -> sa.Select[Any]:
    columns = (_E.request_id, _E.device_id, _E.requester, _E.sha256, _E.scope_tags, _E.review, _E.submitted)
    approved = sa.select(*columns).where(_E.submitted >= submitted, _E.access.is_not(None))
    return approved.order_by(_E.submitted.desc(), _E.request_id.desc())


def _behind(asked: sa.Select[Any], last: sa.RowMapping) -> sa.Select[Any]:
    same = sa.and_(_E.submitted == last["submitted"], _E.request_id < last["request_id"])
    return asked.where(_E.submitted <= last["submitted"], sa.or_(_E.submitted < last["submitted"], same))


def _approval(row: sa.RowMapping) -> Approval:
    return Approval(
        request_id=row["request_id"],
        device_id=row["device_id"],
        user=row["requester"],
        sha256=row["sha256"],
        scope_tags=frozenset(row["scope_tags"]),
        reviewed=datetime.fromisoformat(row["review"]["reviewed"]),
    )
