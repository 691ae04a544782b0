"""Tell devices what became of their requests, on their streams: everything that they have not confirmed."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Protocol

from services._chassis.workers import Worker
from services.policy.model.told_requests import Outcome
from services.policy.usecases.requests.ports import Outcomes

CAPABILITY = "request-outcomes/1"
"""A device that does not say so is told nothing."""

MOST = 1000
"""Outcomes that are told at one look; the rest at the next."""


class Mail(Protocol):
    """Know what devices are to hear of their requests."""

    async def look(self, device_id: str, told: int, *, anew: bool) -> Sequence[Outcome]:
        """Return what the device is to be told behind a number; `anew` on a stream that has told nothing yet."""
        ...

    async def keep(self, device_id: str, sequence: int) -> None:
        """Note that the device keeps everything up to a number."""
        ...


class NoMail:
    """Have nothing for anybody."""

    async def look(self, device_id: str, told: int, *, anew: bool) -> Sequence[Outcome]:  # noqa: ARG002 - as Mail has it
        """Return nothing."""
        return ()

    async def keep(self, device_id: str, sequence: int) -> None:
        """Note nothing."""


class Post:
    """Know which devices have something to hear, so that nobody asks the database for those that have not.

    `wait` returns the newest revision once it is above one, `caught_up` once documents follow from it: a device is told of
    an approval after it was offered the grant. `on_news` hears of the devices with something new.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        *,
        wait: Callable[[int], Awaitable[int]],
        caught_up: Callable[[int], Awaitable[None]],
    ) -> None:
        self.on_news: list[Callable[[Iterable[str]], None]] = []
        self._outcomes = outcomes
        self._wait = wait
        self._caught_up = caught_up
        self._seen: int | None = None
        self._unkept: set[str] = set()
        """Devices that may not have confirmed everything."""
        self._news: set[str] = set()
        """Those of them with something that their stream was not told."""

    def worker(self) -> Worker:
        """Return the worker that follows."""
        return Worker("follow_request_outcomes", self.run)

    async def run(self) -> None:
        """Read after every change, for ever."""
        while True:
            await self.read()
            await self._wait(self._seen or 0)

    async def read(self) -> None:
        """Read what is new, and have the streams look."""
        devices, revision = await self._outcomes.waiting(self._seen or 0)
        self._unkept |= devices
        self._news |= devices
        self._seen = revision
        if not devices:
            return
        try:
            await self._caught_up(revision)
        finally:  # a document that comes late is no reason to be silent
            for hear in self.on_news:
                hear(devices)

    async def look(self, device_id: str, told: int, *, anew: bool) -> Sequence[Outcome]:
        """Return what the device is to be told behind a number; `anew` on a stream that has told nothing yet.

        Raises UnavailableError; the same is told then to whoever comes next.
        """
        if self._seen is not None and device_id not in (self._unkept if anew else self._news):
            return ()
        known = self._unkept if anew else self._news
        known.discard(device_id)  # before it is read: what comes meanwhile is news
        found: list[Outcome] = []
        with ExitStack() as unfinished:
            unfinished.callback(known.add, device_id)
            while more := await self._outcomes.of_device(device_id, found[-1].sequence if found else told):
                found += more
                if len(found) >= MOST:
                    self._news.add(device_id)
                    break
            unfinished.pop_all()
        if found:
            self._unkept.add(device_id)
        return found

    async def keep(self, device_id: str, sequence: int) -> None:
        """Note that a device keeps everything up to a number. Raises UnavailableError."""
        if sequence:
            await self._outcomes.keep(device_id, sequence)
