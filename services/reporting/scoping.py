"""Hold one device's stream to the reporting scope of its settings.

A device hears of wider settings at once, this service a moment later, by way of the directory. So what has only just occurred
is not passed over before the directory had that moment; a device that is found wrong all the same is not waited for again
soon.
"""

import asyncio
from contextlib import suppress

from epm.reporting.v1 import agent_pb2
from services._chassis.clock import Clock
from services._chassis.logging import get_logger
from services.reporting.codec.scoped import Scoped, in_scope
from services.reporting.model.devices import Device
from services.reporting.model.events import microseconds

MOMENT = 2.0
"""Seconds within which the directory tells of other settings."""

QUIET = 60.0
"""Seconds for which a device is not waited for again."""

_SECOND = 1_000_000
log = get_logger("reporting.scoping")


class Scoping:
    """Know the scope of one device, and take out of its batches what that does not let leave it."""

    def __init__(self, device: Device, clock: Clock) -> None:
        self._device = device
        self._clock = clock
        self._waited = 0
        """When a device was waited for in vain."""
        self._told = asyncio.Event()

    def follow(self, device: Device) -> None:
        """Learn what the directory tells of the device now."""
        self._device = device
        self._told.set()

    async def taken(self, message: agent_pb2.EventBatch) -> Scoped:
        """Return what is taken of a batch."""
        scoped = in_scope(message, self._device.reported)
        now = microseconds(self._clock.now())
        fresh = scoped.newest > now - MOMENT * _SECOND
        if scoped.passed_over and fresh and now - self._waited >= QUIET * _SECOND:
            await self._hear()
            scoped = in_scope(message, self._device.reported)
            self._waited = now if scoped.passed_over else self._waited
        if scoped.passed_over:
            scope = self._device.reported.scope
            log.warning(
                "events_out_of_scope",
                device_id=self._device.device_id,
                scope=scope.value if scope else "",
                count=len(scoped.passed_over),
            )
        return scoped

    async def _hear(self) -> None:
        """Wait a moment for another scope."""
        reported = self._device.reported
        with suppress(TimeoutError):
            async with asyncio.timeout(MOMENT):
                while self._device.reported == reported:
                    self._told.clear()
                    await self._told.wait()
