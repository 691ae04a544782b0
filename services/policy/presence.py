"""The process that holds the streams says that it lives, and hears of those that live no more."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from services._chassis.clock import Clock
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.policy.ports import Holders

BEAT = 10.0
"""Seconds between two signs of life, of which three may fail."""

log = get_logger("policy.presence")


class Presence:
    """Say at every beat that this process lives.

    `on_missed` hears that it was taken for gone: others may have closed its streams. `on_closed` hears of devices whose
    streams were left open by processes that are gone.
    """

    def __init__(self, holders: Holders, clock: Clock) -> None:
        self.on_missed: list[Callable[[], None]] = []
        self.on_closed: list[Callable[[Iterable[str]], None]] = []
        self._holders = holders
        self._clock = clock

    def worker(self) -> Worker:
        """Return the worker that beats."""
        return Worker("tell_presence", self.run)

    async def run(self) -> None:
        """Beat for ever. Raises UnavailableError; what was missed then is found at the next beat."""
        while True:
            await self.beat()
            await asyncio.sleep(BEAT)

    async def beat(self) -> None:
        """Say once that this process lives, and see who does not."""
        missed, closed = await self._holders.beat(self._clock.now())
        if missed:
            log.warning("policy_streams_taken_for_gone")
            for hear in self.on_missed:
                hear()
        if closed:
            log.info("policy_streams_closed_for_others", devices=len(closed))
            for listener in self.on_closed:
                listener(closed)

    async def close(self) -> None:
        """Close what is still open here, because the process ends; where that cannot be written, others find it."""
        with suppress(UnavailableError):
            await self._holders.end(self._clock.now())
