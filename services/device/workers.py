"""The sweep over devices whose component is to go.

Every replica sweeps: a device is moved in a transaction that looks again, so it is moved once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from services._chassis.clock import Clock
from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.device.ports import Store
from services.device.usecases.lifecycle import SWEEP_BATCH, sweep

SHORTEST_PERIOD = timedelta(milliseconds=100)
LONGEST_PERIOD = timedelta(seconds=5)
"""A look costs one indexed query, so the state may follow the time closely."""
LOOKS = 20
"""Looks within the time that a component stays, at least: who makes that short wants to watch."""

log = get_logger("device.sweep")


def sweep_period(deprovision_after: timedelta) -> timedelta:
    """Return how often to look at devices whose component stays for so long."""
    return min(LONGEST_PERIOD, max(SHORTEST_PERIOD, deprovision_after / LOOKS))


class DeprovisionSweep:
    """Move devices on when their time has come."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        period: timedelta = LONGEST_PERIOD,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._period = period.total_seconds()
        self._pause = pause

    def worker(self) -> Worker:
        """Return the worker that sweeps."""
        return Worker("sweep_deprovisioning", self.run)

    async def run(self) -> None:
        """Sweep for ever; a full batch is followed by the next one at once."""
        while True:
            seen = await sweep(self._store, now=self._clock.now())
            if seen:
                log.info("devices_due", count=seen)
            if seen < SWEEP_BATCH:
                await self._pause(self._period)
