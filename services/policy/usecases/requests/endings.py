"""End what time ends, and what was granted to devices and users that are gone."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.policy.model.directory import Directory
from services.policy.model.requests import DEVICE_GONE, ElevationRequest, End, RequestState, gone
from services.policy.ports import ElevationRequests
from services.policy.usecases.documents import PolicyBook

PERIOD = 0.5
"""Seconds between two looks."""

STEP = 100
"""Requests that one transaction ends."""

log = get_logger("policy.requests")


class Endings:
    """Look now and then for what is over; on every replica, since whoever comes second finds nothing to do."""

    def __init__(
        self,
        requests: ElevationRequests,
        book: PolicyBook,
        *,
        now: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._requests = requests
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
        now = self._now()
        while due := await self._requests.due(now, STEP):
            ended = await self._requests.change(due, lambda request: request.at(now), now)
            log.info("elevation_requests_expired", requests=len(ended))
            if len(due) < STEP:
                return

    async def _end_gone(self) -> None:
        try:
            directory = self._book.directory()
        except UnavailableError:
            return
        for request in list(self._book.approved()):
            if why := _gone(directory, request):
                await self._end(request.request_id, why)

    async def _end(self, request_id: str, why: str) -> None:
        end = End(ended=self._now(), reason=why)

        def step(request: ElevationRequest) -> ElevationRequest:
            return request.revoked(end) if request.at(end.ended).state is RequestState.APPROVED else request

        await self._requests.change([request_id], step, end.ended)


def _gone(directory: Directory, request: ElevationRequest) -> str:
    """Say why a grant ends; empty while that is not known, as of a device that the directory does not show yet."""
    device = directory.devices.get(request.device_id)
    if device is None:
        return DEVICE_GONE if request.device_id in directory.deleted else ""
    return gone(request, device)
