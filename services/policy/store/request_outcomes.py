"""What devices are to hear of their requests, and uses of grants that they told, in SQL."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services.policy.model.requests import MOST_USES, ElevationRequest, RequestState
from services.policy.model.told_requests import GrantUse, Outcome
from services.policy.store.elevation_requests import write_change
from services.policy.store.elevation_rows import request_from_row, requests_asked
from services.policy.store.tables import ELEVATION_REQUEST, GRANT_USE, REQUEST_OUTCOME
from services.policy.usecases.requests.ports import Now

MOST_AT_ONCE = 50
"""Outcomes that are read for one device at once."""

_E, _O, _U = ELEVATION_REQUEST.c, REQUEST_OUTCOME.c, GRANT_USE.c


class SqlOutcomes:
    """Read outcomes, and note which of them devices keep."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, after: int) -> tuple[frozenset[str], int]:
        """Read who has something to hear, in one state of the data."""
        asked = sa.select(_O.device_id).where(_O.kept.is_(False), _O.revision > after).distinct()
        async with self._database.read() as tx:
            return frozenset((await tx.execute(asked)).scalars()), await tx.current_revision()

    async def of_device(self, device_id: str, after: int) -> Sequence[Outcome]:
        """Read what a device has not confirmed."""
        asked = (
            requests_asked()
            .add_columns(_O.sequence, _O.state.label("told_state"), _O.uses)
            .join(REQUEST_OUTCOME, _O.request_id == _E.request_id)
            .where(_O.device_id == device_id, _O.kept.is_(False), _O.sequence > after)
            .order_by(_O.sequence)
            .limit(MOST_AT_ONCE)
        )
        async with self._database.read() as tx:
            rows = (await tx.execute(asked)).mappings().all()
        return [
            Outcome(row["sequence"], request_from_row(row).as_told(RequestState[row["told_state"]], row["uses"]))
            for row in rows
        ]

    async def keep(self, device_id: str, sequence: int) -> None:
        """Note what a device keeps; that the request is delivered then is news for whoever watches."""
        await self.keep_all({device_id: sequence})

    async def keep_all(self, sequences: Mapping[str, int]) -> None:
        """Note what several devices keep."""
        async with self._database.held() as tx:
            found: set[str] = set()
            for device_id, sequence in sequences.items():
                kept = (_O.device_id == device_id, _O.kept.is_(False), _O.sequence <= sequence)
                moved = sa.update(REQUEST_OUTCOME).where(*kept).values(kept=True).returning(_O.request_id)
                found |= set((await tx.execute(moved)).scalars())
            if not found:
                return
            waits = sa.select(_O.request_id).where(_O.request_id.in_(sorted(found)), _O.kept.is_(False))
            later = set((await tx.execute(waits)).scalars())  # of these the device has not heard the newest state
            if delivered := sorted(found - later):
                changed = sa.update(ELEVATION_REQUEST).where(_E.request_id.in_(delivered))
                await tx.execute(changed.values(changed=await tx.next_revision()))


class SqlGrantUses:
    """Count uses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_in(self, device_id: str, uses: Sequence[GrantUse], clock: Now) -> None:
        """Write those of the uses that are new, and count them at their requests: both, or neither.

        What the device was never granted is not kept, and no more of a grant than any may have: a device can tell of
        attempts without end.
        """
        told = {use.attempt_id: use for use in reversed(uses)}
        async with self._database.held() as tx:
            now = clock()
            asked = sa.select(_U.attempt_id).where(_U.device_id == device_id, _U.attempt_id.in_(told))
            known = set((await tx.execute(asked)).scalars())
            granted = await _granted(tx, device_id, {use.grant_id for use in told.values()})
            new = [use for use in told.values() if use.grant_id in granted and use.attempt_id not in known]
            if not new:
                return
            rows = [
                {
                    "device_id": device_id,
                    "attempt_id": use.attempt_id,
                    "grant_id": use.grant_id,
                    "used": use.used,
                    "recorded": now,
                }
                for use in new
            ]
            await tx.execute(sa.insert(GRANT_USE), rows)
            for grant_id, number in Counter(use.grant_id for use in new).items():
                before = granted[grant_id]
                await write_change(tx, before, before.used(number, now), now)


async def _granted(tx: Transaction, device_id: str, grant_ids: Collection[str]) -> Mapping[str, ElevationRequest]:
    """Read the requests of a device whose grants may have more uses."""
    asked = requests_asked().where(_E.device_id == device_id, _E.request_id.in_(sorted(grant_ids)))
    found = map(request_from_row, (await tx.execute(asked)).mappings().all())
    return {each.request_id: each for each in found if each.access is not None and each.access.uses < MOST_USES}
