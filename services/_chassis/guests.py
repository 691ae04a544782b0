"""Know who is being served for long: how many at a time, how many of one principal, and when nobody is any more."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from services._chassis.errors import LimitError

LONGEST_GOODBYE = 5.0
"""Seconds that the end of the process waits for those who are being sent away."""


class Guests:
    """Count who is being served, and wait at the end until nobody is."""

    def __init__(self) -> None:
        self.number = 0
        self._gone = asyncio.Event()
        self._gone.set()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be served while the block runs."""
        self.number += 1
        self._gone.clear()
        try:
            yield
        finally:
            self.number -= 1
            if not self.number:
                self._gone.set()

    async def idle(self) -> None:
        """Wait until nobody is served any more, for as long as ending one may take."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_GOODBYE):
                await self._gone.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """What is said where there is no place: to everybody, or to a principal who has enough of them."""

    reason: str
    of_all: str
    of_one: str
    retry_after: timedelta | None = None
    """When it is worth trying again, where that is known."""


class Places:
    """Let in so many at a time, and fewer of one principal: nobody takes all places alone."""

    def __init__(self, most: int, most_of_one: int, full: Full) -> None:
        self.guests = Guests()
        self._most = most
        self._most_of_one = most_of_one
        self._full = full
        self._of: Counter[str] = Counter()

    @contextmanager
    def entered(self, principal: str) -> Iterator[None]:
        """Have a place while the block runs. Raises LimitError where there is none."""
        if self.guests.number >= self._most:
            raise self._refusal(self._full.of_all)
        if self._of[principal] >= self._most_of_one:
            raise self._refusal(self._full.of_one)
        with self.guests.entered():
            self._of[principal] += 1
            try:
                yield
            finally:
                self._of[principal] -= 1
                self._of += Counter()

    def _refusal(self, told: str) -> LimitError:
        return LimitError(told, reason=self._full.reason, retry_after=self._full.retry_after)
