"""End what time ends, and what devices and users that are gone were granted or wait for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.policy.model.directory import Directory
from services.policy.model.requests import DEVICE_GONE, ElevationRequest, End, gone
from services.policy.model.told_requests import Place
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.requests.ports import ElevationRequests, RequestChanges

PERIOD = 0.5
"""Seconds between two looks."""

STEP = 100
"""Requests that one transaction ends."""

WAITING_EVERY = 120
"""Looks after which those that wait are looked through even though the directory is the same: one was taken in by an older one."""

log = get_logger("policy.requests")


class Endings:
    """Look now and then for what is over; on every replica, since whoever comes second finds nothing to do."""

    def __init__(
        self,
        requests: ElevationRequests,
        changes: RequestChanges,
        book: PolicyBook,
        *,
        now: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._requests = requests
        self._changes = changes
        self._looked: Directory | None = None
        """The directory by which those that wait were looked through."""
        self._looks = 0
        self._book = book
        self._now = now
        self._pause = pause

    def worker(self) -> Worker:
        """Return the worker that looks."""
        return Worker("end_elevation_requests", self.run)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await self._pause(PERIOD)

    async def look(self) -> None:
        """End what is over, step by step."""
        await self._end_gone()
        while due := await self._requests.due(self._now(), STEP):
            ended = await self._requests.change(due, ElevationRequest.at, self._now)
            log.info("elevation_requests_expired", requests=len(ended))
            if len(due) < STEP:
                return

    async def _end_gone(self) -> None:
        try:
            directory = self._book.directory()
        except UnavailableError:
            return
        gone_now = {request.request_id: _gone(directory, request) for request in self._book.approved()}
        if directory is not self._looked or self._looks % WAITING_EVERY == 0:
            gone_now |= await self._waiting(directory)
        self._looks += 1
        for why in set(filter(None, gone_now.values())):
            await self._end([request_id for request_id, found in gone_now.items() if found == why], why)
        self._looked = directory

    async def _waiting(self, directory: Directory) -> dict[str, str]:
        """Say of those that wait why they end, as far as they do."""
        found: dict[str, str] = {}
        after = Place()
        while told := await self._changes.pending(after, STEP):
            found |= {each.request.request_id: _gone(directory, each.request) for each in told}
            after = told[-1].place
        return found

    async def _end(self, request_ids: Sequence[str], why: str) -> None:
        for start in range(0, len(request_ids), STEP):
            step = request_ids[start : start + STEP]
            await self._requests.change(step, lambda request, now: request.lost(End(ended=now, reason=why)), self._now)


def _gone(directory: Directory, request: ElevationRequest) -> str:
    """Say why a request ends; empty while that is not known, as of a device that the directory does not show yet."""
    device = directory.devices.get(request.device_id)
    if device is None:
        return DEVICE_GONE if request.device_id in directory.deleted else ""
    return gone(request, device)
