"""Write down what devices confirm of outcomes, for many of them by one commit: each would wake everybody who follows."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from services._chassis.workers import Worker
from services.policy.model.told_requests import Outcome
from services.policy.usecases.requests.ports import Outcomes

GATHERING = 0.5
"""Seconds for which confirmations gather; so much later approvers see that a device has heard."""


class KeptOutcomes:
    """Take confirmations at once, and write them soon.

    What a process that dies has not written is told to its device again, which knows it by its number.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        keep_all: Callable[[Mapping[str, int]], Awaitable[None]],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._outcomes = outcomes
        self._keep_all = keep_all
        self._pause = pause
        self._unwritten: dict[str, int] = {}
        self._arrived = asyncio.Event()

    def worker(self) -> Worker:
        """Return the worker that writes."""
        return Worker("keep_request_outcomes", self.run)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._arrived.wait()
            await self._pause(GATHERING)
            await self.write()

    async def write(self) -> None:
        """Write what is not written. Raises UnavailableError; the same is written the next time then."""
        writing = dict(self._unwritten)
        if writing:
            await self._keep_all(writing)
        self._unwritten = {each: number for each, number in self._unwritten.items() if number > writing.get(each, 0)}
        if not self._unwritten:
            self._arrived.clear()

    async def close(self) -> None:
        """Write what there is, because this process ends."""
        await self.write()

    async def waiting(self, after: int) -> tuple[frozenset[str], int]:
        """Return who has something to hear."""
        return await self._outcomes.waiting(after)

    async def of_device(self, device_id: str, after: int) -> Sequence[Outcome]:
        """Return what a device has not confirmed."""
        return await self._outcomes.of_device(device_id, max(after, self._unwritten.get(device_id, 0)))

    async def keep(self, device_id: str, sequence: int) -> None:
        """Note what a device keeps."""
        self._unwritten[device_id] = max(sequence, self._unwritten.get(device_id, 0))
        self._arrived.set()
