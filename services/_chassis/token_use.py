"""When tokens were last shown: noted in memory while calls go on, told to the rbac service in batches.

What is lost with a process is a minute of knowledge, and harms nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from itertools import islice

from services._chassis.workers import Worker

LARGEST_BATCH = 1000
PERIOD = 30.0
"""Seconds between reports."""

Report = Callable[[Mapping[str, datetime]], Awaitable[None]]


class TokenUses:
    """Remember when each token was last shown, to the minute, until it is reported; one entry a token."""

    def __init__(self) -> None:
        self._waiting: dict[str, datetime] = {}

    def note(self, token_id: str, now: datetime) -> None:
        """Note that the token was shown: one entry in a dictionary, since every call does this."""
        self._waiting[token_id] = now

    def take(self, most: int) -> dict[str, datetime]:
        """Take away so many of the noted uses."""
        tokens = list(islice(self._waiting, most))
        return {token_id: self._waiting.pop(token_id).replace(second=0, microsecond=0) for token_id in tokens}

    def put_back(self, uses: Mapping[str, datetime]) -> None:
        """Note what could not be reported again, unless the token was shown since."""
        for token_id, used in uses.items():
            self._waiting.setdefault(token_id, used)


class TokenUseReporter:
    """Report uses again and again; one that is not heard is reported again."""

    def __init__(
        self, uses: TokenUses, report: Report, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._uses = uses
        self._report = report
        self._pause = pause

    def worker(self) -> Worker:
        """Return the worker that reports."""
        return Worker("report_token_use", self.run)

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self._pause(PERIOD)
            await self.report_all()

    async def report_all(self) -> None:
        """Report everything that was noted."""
        while batch := self._uses.take(LARGEST_BATCH):
            try:
                await self._report(batch)
            except BaseException:
                self._uses.put_back(batch)
                raise
