"""What is approved, for documents to be made by: it is asked for after every change of anything, and most change nothing of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services._chassis.db import Transaction
from services.policy.model.requests import ElevationRequest, RequestState, Told
from services.policy.store.elevation_requests import approved_requests
from services.policy.store.elevation_rows import read_requests, requests_asked
from services.policy.store.tables import ELEVATION_REQUEST


@dataclass(frozen=True, slots=True)
class _Known:
    revision: int = 0
    by_id: Mapping[str, ElevationRequest] = field(default_factory=dict)
    requests: tuple[ElevationRequest, ...] = ()


class ApprovedRequests:
    """Remember what is approved, and read no more than the requests that changed since.

    It rests on this: whoever writes a request writes the revision of that beside it, and revisions are committed in order.
    """

    def __init__(self) -> None:
        self._known = _Known()

    async def read(self, tx: Transaction, revision: int) -> tuple[ElevationRequest, ...]:
        """Return what is approved, by identifier, in the state of the data with this revision; the same object if it is the same."""
        before = self._known
        if not 0 < before.revision <= revision:  # the first time, or the data are others than before
            found = await approved_requests(tx)
            after = _Known(revision, {each.request_id: each for each in found}, found)
        else:
            asked = requests_asked().where(ELEVATION_REQUEST.c.changed > before.revision)
            after = _moved(before, await read_requests(tx, asked), revision)
        self._known = after
        return after.requests


def _moved(before: _Known, changed: Iterable[Told], revision: int) -> _Known:
    by_id = dict(before.by_id)
    for told in changed:
        if told.request.state is RequestState.APPROVED:
            by_id[told.request.request_id] = told.request
        else:
            by_id.pop(told.request.request_id, None)
    if by_id == before.by_id:
        return _Known(revision, before.by_id, before.requests)
    return _Known(revision, by_id, tuple(by_id[name] for name in sorted(by_id)))
