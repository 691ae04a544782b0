"""Elevation requests in memory, and what is told of them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from services._chassis.errors import UnavailableError
from services._chassis.paging import Page, PageRequest
from services.policy.model.request_limits import Submission
from services.policy.model.requests import ElevationRequest, RequestState
from services.policy.model.told_requests import Outcome, Place, Told
from services.policy.usecases.requests.ports import Now, RequestStep, RequestsWanted


class FakeOutcomes:
    """Hold outcomes by device, and count who asks."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Outcome]] = {}
        self.revision = 0
        self.asked: list[tuple[str, int]] = []
        self.fails = False
        self.confirmed: asyncio.Queue[int] = asyncio.Queue()
        """Every number that a device said to keep, as it came."""
        self._news: dict[str, int] = {}

    def add(self, device_id: str, *outcomes: Outcome) -> None:
        """Let a device have something more to hear."""
        self.revision += 1
        self.kept.setdefault(device_id, []).extend(outcomes)
        self._news[device_id] = self.revision

    async def waiting(self, after: int) -> tuple[frozenset[str], int]:
        """Return who has something to hear."""
        return frozenset(device for device, revision in self._news.items() if revision > after), self.revision

    async def of_device(self, device_id: str, after: int) -> Sequence[Outcome]:
        """Return two at most."""
        self.asked.append((device_id, after))
        if self.fails:
            raise UnavailableError("no database")
        return [each for each in self.kept.get(device_id, []) if each.sequence > after][:2]

    async def keep(self, device_id: str, sequence: int) -> None:
        """Forget what is kept."""
        self.kept[device_id] = [each for each in self.kept.get(device_id, []) if each.sequence > sequence]
        self.confirmed.put_nowait(sequence)


class FakeChanges:
    """Hold requests in the order in which they changed."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.revision = 0

    def put(self, *requests: Told) -> None:
        """Keep requests, at a new revision each."""
        for told in requests:
            self.revision += 1
            same = told.request.request_id
            self.told = [each for each in self.told if each.request.request_id != same]
            self.told.append(Told(told.request, told.delivered, self.revision))

    async def newest(self) -> int:
        """Return the newest revision."""
        return self.revision

    async def wait(self, after: int, *, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as the feed has it
        """Return the newest revision, at once."""
        return self.revision

    async def pending(self, after: Place, most: int) -> Sequence[Told]:
        """Return what waits."""
        waiting = [each for each in self.told if each.request.state is RequestState.PENDING]
        return [each for each in waiting if each.place > after][:most]

    async def changed(self, after: Place, most: int) -> Sequence[Told]:
        """Return what changed."""
        return [each for each in self.told if each.place > after][:most]


class MemoryRequests:
    """Keep requests in memory, for verbs that are looked at alone."""

    def __init__(self, *requests: ElevationRequest) -> None:
        self.kept = {request.request_id: request for request in requests}
        self.changes = 0
        self.looked = 0
        """How often somebody began to look through those that wait."""

    async def submit(self, request: ElevationRequest, _certificates: Sequence[bytes], _now: datetime) -> Told:
        """Keep a request."""
        self.kept[request.request_id] = request
        return Told(request)

    async def recent(self, device_id: str, _now: datetime) -> Sequence[Submission]:
        """Return who asked on a device."""
        return [Submission(each.user, each.submitted) for each in self.kept.values() if each.device_id == device_id]

    async def find(self, request_id: str) -> Told | None:
        """Return a request."""
        found = self.kept.get(request_id)
        return None if found is None else Told(found)

    async def of_attempt(self, device_id: str, attempt_id: str) -> Told | None:
        """Return the request of an attempt."""
        found = (each for each in self.kept.values() if (each.device_id, each.attempt_id) == (device_id, attempt_id))
        return next((Told(each) for each in found), None)

    async def certificates(self, _request_id: str) -> Sequence[bytes]:
        """Return none."""
        return ()

    async def page(self, _request: PageRequest, wanted: RequestsWanted) -> Page[Told]:
        """Return all that match."""
        return Page(tuple(Told(each) for each in self.kept.values() if wanted.matches(each)))

    async def change(self, request_ids: Sequence[str], step: RequestStep, clock: Now) -> Sequence[Told]:
        """Take requests a step on."""
        after = {each: step(self.kept[each], clock()) for each in request_ids if each in self.kept}
        self.changes += sum(self.kept[key] != each for key, each in after.items())
        self.kept |= after
        return [Told(each) for each in after.values()]

    async def newest(self) -> int:
        """Return no revision: none is counted."""
        return 0

    async def pending(self, after: Place, most: int) -> Sequence[Told]:
        """Return what waits, by identifier."""
        self.looked += after == Place()
        waits = sorted(key for key, each in self.kept.items() if each.state is RequestState.PENDING)
        return [Told(self.kept[key]) for key in waits if key > after.request_id][:most]

    async def changed(self, _after: Place, _most: int) -> Sequence[Told]:
        """Return nothing: no order is kept."""
        return ()

    async def due(self, now: datetime, most: int) -> Sequence[str]:
        """Return what time ended."""
        return [key for key, each in self.kept.items() if each.ends is not None and each.ends <= now][:most]
