"""Let requests go that have been over for long, a few at a time; the audit log keeps what became of them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.policy.usecases.requests.ports import OldRequests

PERIOD = 3600.0
"""Seconds between two looks."""

BREATH = 0.05
"""Seconds between two steps, in which whoever waits for the database has their turn."""

MOST_AHEAD = timedelta(days=1)
"""How far the wall clock may run ahead of the time that really passed: one wrong hour would cost everything."""

log = get_logger("policy.retention")


class Retention:
    """Look now and then for what is old; on every replica, since whoever comes second finds nothing to do."""

    def __init__(
        self,
        old: OldRequests,
        keep: timedelta,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._old = old
        self._keep = keep
        self._now = now
        self._monotonic = monotonic
        self._pause = pause
        self._began = self._now(), self._monotonic()

    def worker(self) -> Worker:
        """Return the worker that looks."""
        return Worker("purge_elevation_requests", self.run)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await self._pause(PERIOD)

    async def look(self) -> None:
        """Delete what is old, step by step."""
        if (ahead := self._ahead()) > MOST_AHEAD:
            remedy = "set the clock and restart; no request is deleted"
            log.error("clock_ran_ahead", seconds=int(ahead.total_seconds()), remedy=remedy)
            return
        before, deleted = self._now() - self._keep, 0
        async for request_ids in self._old.over(before):
            if request_ids:
                await self._old.delete(request_ids, before)
                deleted += len(request_ids)
            await self._pause(BREATH)
        if deleted:
            log.info("elevation_requests_purged", requests=deleted)

    def _ahead(self) -> timedelta:
        wall, monotonic = self._began
        return self._now() - wall - timedelta(seconds=self._monotonic() - monotonic)
