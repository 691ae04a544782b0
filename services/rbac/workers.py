"""The access snapshot, read again after every change and confirmed as long as the database answers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from services._chassis.access import AccessControl
from services._chassis.changes import ChangeFeed
from services._chassis.snapshot import AccessSnapshot
from services._chassis.workers import Worker
from services.rbac.model.grants import snapshot_of
from services.rbac.ports import Store
from services.rbac.usecases import read_state


class AccessPublisher:
    """Hold the newest snapshot: for the checks of this process, and for the streams to all other services."""

    def __init__(self, store: Store, changes: ChangeFeed, control: AccessControl, *, heartbeat: timedelta) -> None:
        self._store = store
        self._changes = changes
        self._control = control
        self._heartbeat = heartbeat.total_seconds()
        self._snapshot: AccessSnapshot | None = None
        self._published = asyncio.Event()
        self._closed = False

    def worker(self) -> Worker:
        """Return the worker that publishes."""
        return Worker("publish_access", self.run)

    async def run(self) -> None:
        """Publish for ever; a database that does not answer lets the snapshot grow stale."""
        while True:
            revision = await self.publish()
            await self._changes.wait(revision, timeout=self._heartbeat)

    async def publish(self) -> int:
        """Read the data once, put it in force here and wake the streams; return its revision."""
        state, revision = await read_state(self._store)
        if self._snapshot is not None and self._snapshot.revision == revision:
            self._control.confirm()
        else:
            self._snapshot = snapshot_of(state, revision)
            self._control.replace(self._snapshot)
            self._wake()
        return revision

    async def reached(self, revision: int) -> None:
        """Return once the checks of this process know the revision: who changes access sees the change at once."""
        while not self._closed and (self._snapshot is None or self._snapshot.revision < revision):
            await self._published.wait()

    async def follow(self, known: int) -> AsyncIterator[AccessSnapshot | int]:
        """Give the snapshot at once and after every change, and the revision as a heartbeat while it is fresh."""
        while not self._closed:
            published = self._published
            snapshot = self._snapshot
            if snapshot is not None and snapshot.revision != known:
                known = snapshot.revision
                yield snapshot
            elif snapshot is not None and self._control.fresh():
                yield known
            try:
                async with asyncio.timeout(self._heartbeat):
                    await published.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """End the streams."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._published.set()
        self._published = asyncio.Event()
