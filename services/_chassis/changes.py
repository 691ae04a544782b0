"""Waking those who wait for a service's next revision: in this process at once, across replicas through the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from sqlalchemy.engine import URL

from services._chassis.errors import UnavailableError
from services._chassis.workers import Worker


class ChangeFeed:
    """Know the newest revision and wake who waits for a newer one.

    A commit of this process announces its revision directly. Others' commits arrive by the worker `watch`: LISTEN on
    PostgreSQL, and on both databases a poll every `poll` seconds as a net under it.
    """

    def __init__(
        self, read_revision: Callable[[], Awaitable[int]], listen_on: URL | None, channel: str, *, poll: float = 1.0
    ) -> None:
        self.revision = 0
        self._read_revision = read_revision
        self._listen_on = listen_on
        self._channel = channel
        self._poll = poll
        self._changed = asyncio.Event()

    def announce(self, revision: int) -> None:
        """Note a committed revision and wake everybody, unless a newer one is known."""
        if revision > self.revision:
            self.revision = revision
            self._changed.set()
            self._changed = asyncio.Event()

    async def wait(self, after: int, *, timeout: float | None = None) -> int:  # noqa: ASYNC109 - part of the question
        """Return the newest revision as soon as it is above `after`, or as it is once the time is up."""
        try:
            async with asyncio.timeout(timeout):
                while self.revision <= after:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.revision

    def worker(self) -> Worker:
        """Return the worker that hears of other processes' commits."""
        return Worker("watch_changes", self.watch)

    async def watch(self) -> None:
        """Follow the database's revision for ever."""
        if self._listen_on is None:
            while True:
                self.announce(await self._read_revision())
                await asyncio.sleep(self._poll)
        await self._listen(self._listen_on)

    async def _listen(self, url: URL) -> None:
        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
                await connection.execute(f'LISTEN "{self._channel}"'.encode())
                while True:
                    self.announce(await self._read_revision())
                    while await self._hear(connection):
                        pass
        except psycopg.OperationalError as error:
            raise UnavailableError("the database's notifications cannot be heard") from error

    async def _hear(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Hear one notification, and tell whether any came: while they do, nobody has to ask."""
        heard = False
        async for notice in connection.notifies(timeout=self._poll, stop_after=1):
            self.announce(int(notice.payload))
            heard = True
        return heard
