"""What goes on in the background: the access snapshot is published, keys of trusted issuers are fetched, uses of tokens kept.

The snapshot is read again after every change, and confirmed as long as the database answers.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta

from services._chassis.access import AccessControl
from services._chassis.changes import ChangeFeed
from services._chassis.clock import Clock
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.snapshot import AccessSnapshot
from services._chassis.token_use import TokenUseReporter, TokenUses
from services._chassis.workers import Worker
from services.rbac.model.grants import published
from services.rbac.model.issuers import IssuerKeys, TrustedIssuer
from services.rbac.ports import KeySource, Store, TokenUseRecord
from services.rbac.usecases import keep_keys, read_state

log = get_logger("rbac")
RETRY = timedelta(seconds=30)
"""How long to leave an issuer alone whose keys could not be had."""


class TokenUseKeeper:
    """Take in when tokens were shown: to the other services, which report it, and to this one."""

    def __init__(self, record: TokenUseRecord, clock: Clock) -> None:
        self._record = record
        self._clock = clock

    async def keep(self, uses: Mapping[str, datetime]) -> None:
        """Keep the times; clocks differ, and what is still to come counts as now."""
        now = self._clock.now()
        await self._record.note({token_id: min(used, now) for token_id, used in uses.items()})

    def worker(self, uses: TokenUses) -> Worker:
        """Return the worker that keeps what was noted in this process."""
        return TokenUseReporter(uses, self.keep).worker()


class AccessPublisher:
    """Hold the newest snapshot: for the checks of this process, and for the streams to all other services."""

    def __init__(self, store: Store, changes: ChangeFeed, control: AccessControl, *, heartbeat: timedelta) -> None:
        self._store = store
        self._changes = changes
        self._control = control
        self._heartbeat = heartbeat.total_seconds()
        self._snapshot: AccessSnapshot | None = None
        self._login_issuers: tuple[TrustedIssuer, ...] = ()
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
            self._snapshot = published(state, revision, self._control.clock.now())
            issuers = (state.trusted_issuers[name] for name in sorted(state.trusted_issuers))
            self._login_issuers = tuple(issuer for issuer in issuers if issuer.client_id)
            self._control.replace(self._snapshot)
            self._wake()
        return revision

    def login_issuers(self) -> tuple[TrustedIssuer, ...]:
        """Return the issuers at which people can log in, by name; held here, since anybody may ask any number of times."""
        return self._login_issuers

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


class KeyFetcher:
    """Fetch the keys of trusted issuers: now and then, and at once when an issuer is new or names another source.

    What was fetched last stays in force while a source cannot be reached.
    """

    def __init__(self, store: Store, changes: ChangeFeed, source: KeySource, *, clock: Clock, every: timedelta) -> None:
        self._store = store
        self._changes = changes
        self._source = source
        self._clock = clock
        self._every = every.total_seconds()
        self._retry = min(every, RETRY).total_seconds()
        self._due: dict[tuple[str, str], float] = {}

    def worker(self) -> Worker:
        """Return the worker that fetches."""
        return Worker("fetch_issuer_keys", self.run)

    async def run(self) -> None:
        """Fetch for ever."""
        while True:
            revision = await self.fetch_due()
            await self._changes.wait(revision, timeout=self._rest())

    async def fetch_due(self) -> int:
        """Fetch the keys that are due, of all issuers at once; return the revision that was looked at."""
        state, revision = await read_state(self._store)
        issuers = [issuer for issuer in state.trusted_issuers.values() if issuer.key_source]
        now = self._clock.monotonic()
        self._due = {key: self._due.get(key, now) for key in ((each.name, each.key_source) for each in issuers)}
        await asyncio.gather(*(self._fetch(each) for each in issuers if self._due[each.name, each.key_source] <= now))
        return revision

    async def _fetch(self, issuer: TrustedIssuer) -> None:
        pause = self._every
        try:
            fetched = await self._source.key_set_of(issuer)
        except UnavailableError as error:
            pause = self._retry
            log.warning("issuer_keys_unavailable", issuer=issuer.name, error=str(error))
        else:
            keys = IssuerKeys(issuer.name, issuer.key_source, fetched)
            if await keep_keys(self._store, keys, now=self._clock.now()):
                log.info("issuer_keys_replaced", issuer=issuer.name)
        self._due[issuer.name, issuer.key_source] = self._clock.monotonic() + pause

    def _rest(self) -> float | None:
        """Return the seconds until keys are due; None where no issuer has any to fetch."""
        return max(0.0, min(self._due.values()) - self._clock.monotonic()) if self._due else None
