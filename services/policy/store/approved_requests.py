"""What is approved, for documents to be made by: it is asked for after every change of anything, and most change nothing of it."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.policy.model.requests import ElevationRequest, RequestState
from services.policy.model.told_requests import Outcome, Told
from services.policy.store.elevation_requests import approved_requests
from services.policy.store.elevation_rows import read_requests, requests_asked
from services.policy.store.recent_changes import Changed
from services.policy.store.tables import ELEVATION_REQUEST, REQUEST_OUTCOME

_E, _O = ELEVATION_REQUEST.c, REQUEST_OUTCOME.c
_AFTER: sa.BindParameter[int] = sa.bindparam("after")
_CHANGED = requests_asked().where(_E.changed > _AFTER).order_by(_E.changed, _E.request_id)
_UNHEARD = (
    sa.select(_O.device_id, _O.sequence, _O.request_id, _O.state, _O.uses)
    .where(_O.revision > _AFTER, _O.kept.is_(False))
    .order_by(_O.device_id, _O.sequence)
)


@dataclass(frozen=True, slots=True)
class _Known:
    revision: int = 0
    requests: tuple[ElevationRequest, ...] = ()


class ApprovedRequests:
    """Remember what is approved, and read no more than the requests that changed since.

    It rests on this: whoever writes a request writes the revision of that beside it, and revisions are committed in order.
    """

    def __init__(self) -> None:
        self.on_change: list[Callable[[Changed], None]] = []
        self._known = _Known()

    async def read(self, tx: Transaction, revision: int) -> tuple[ElevationRequest, ...]:
        """Return what is approved, by identifier, in the state of the data with this revision; the same object if it is the same."""
        before = self._known
        if not 0 < before.revision <= revision:  # the first time, or the data are others than before
            found = await approved_requests(tx)
            changed = Changed(revision, revision)
            after = _Known(revision, found)
        else:
            changed = await _changed(tx, before.revision, revision)
            after = _moved(before, changed.told, revision)
        self._known = after
        for hear in self.on_change:
            hear(changed)
        return after.requests


async def _changed(tx: Transaction, after: int, revision: int) -> Changed:
    """Read what changed since a revision; outcomes of a revision are of requests that changed since."""
    if after == revision:
        return Changed(after, revision)
    told = await read_requests(tx, _CHANGED, {"after": after})
    if all(each.delivered for each in told):
        return Changed(after, revision, tuple(told))
    by_id = {each.request.request_id: each.request for each in told}
    outcomes = tuple(
        (row.device_id, Outcome(row.sequence, by_id[row.request_id].as_told(RequestState[row.state], row.uses)))
        for row in await tx.execute(_UNHEARD, {"after": after})
    )
    return Changed(after, revision, tuple(told), outcomes)


def _moved(before: _Known, changed: Iterable[Told], revision: int) -> _Known:
    """Move what changed, and nothing else: there may be many thousands that stand."""
    requests = list(before.requests)
    same = True
    for told in changed:
        place = bisect_left(requests, told.request.request_id, key=lambda each: each.request_id)
        there = [each for each in requests[place : place + 1] if each.request_id == told.request.request_id]
        here = [told.request] if told.request.state is RequestState.APPROVED else []
        if there != here:
            same, requests[place : place + len(there)] = False, here
    return _Known(revision, before.requests if same else tuple(requests))
