"""The directory on its way to the other services.

- Each stream reads the store by itself, and holds no transaction while its reader takes its time: a slow one holds
  nobody up, and finds everything that happened meanwhile in one transfer.
- A transfer is read in parts, each in a transaction of its own, so that a large directory holds nobody up either. What
  changes between two parts comes again in a later one, and the last part leaves nothing that is newer: the caller then
  holds the directory exactly as it was at the revision of that part.
- A caller that knows a revision gets what is newer. One that knows none, or one that this directory never had (as after
  a restored backup), gets everything.
- A heartbeat is an answer of the database: while that does not answer, nobody is told that nothing changed.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from epm.device.v1 import lifecycle_pb2
from services._chassis.changes import ChangeFeed
from services.device.codec.directory import Transfer
from services.device.ports import DirectoryChanges, Store

HEARTBEAT = timedelta(seconds=5)


class DirectoryStreams:
    """Follow the directory for any number of readers."""

    def __init__(self, store: Store, changes: ChangeFeed, *, heartbeat: timedelta = HEARTBEAT) -> None:
        self._store = store
        self._changes = changes
        self._heartbeat = heartbeat.total_seconds()
        self._closed = asyncio.Event()

    async def follow(self, known: int) -> AsyncIterator[lifecycle_pb2.WatchDirectoryResponse]:
        """Give what is newer than `known` at once, then every change, and a heartbeat while nothing changes."""
        held = known or None
        while not self._closed.is_set():
            async for message in self._transfer(held):
                yield message
                held = message.revision if not message.more else held
            await self._next(held or 0)

    async def drain(self) -> None:
        """End the streams, because this process ends."""
        self._closed.set()

    async def _transfer(self, held: int | None) -> AsyncIterator[lifecycle_pb2.WatchDirectoryResponse]:
        """Give the messages of one transfer; it breaks off where the process ends."""
        changes, reset = await self._newer_than(held)
        transfer = Transfer(held=0 if reset else held or 0, reset=reset)
        while True:
            for message in transfer.add(changes):
                yield message
            if changes.rest is None:
                yield transfer.last(changes.revision)
                return
            if self._closed.is_set():
                return
            async with self._store.read() as work:
                changes = await work.changes(changes.rest)

    async def _newer_than(self, held: int | None) -> tuple[DirectoryChanges, bool]:
        """Return the first part of the changes, and whether they will be everything."""
        async with self._store.read() as work:
            if held is None or held > await work.current_revision():
                return await work.changes(0), True
            return await work.changes(held), False

    async def _next(self, known: int) -> None:
        """Wait for a newer revision, the time of the next heartbeat, or the end."""
        waiting = asyncio.create_task(self._changes.wait(known, timeout=self._heartbeat))
        closing = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            closing.cancel()
