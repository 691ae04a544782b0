"""Follow how far policies have come: one look at the deliveries serves everybody who watches."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from services._chassis.errors import UnavailableError
from services._chassis.permits import Permit
from services.policy.model.rollout import Picture, Rollout, SubjectWanted
from services.policy.ports import Pictures
from services.policy.usecases.rollout import Convergence

PERIOD = 0.5
"""Seconds between two looks."""

READ_EVERY = 4
"""Looks after which the deliveries are read though this process changed none: others may have."""

SPEAK_EVERY = 30
"""Looks after which a watcher is told the same again."""

LONGEST = 1800
"""Looks after which a watcher is sent away; whoever comes back is who they say still."""

Check = Callable[[], Permit]
"""Returns the watcher's permit as it is now. Raises DeniedError once there is none."""


class PictureFeed:
    """Take pictures of the deliveries while somebody watches; nobody watching, it sleeps.

    `changes` returns a number that moves with every delivery that this process changes.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        changes: Callable[[], int],
        now: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pictures = pictures
        self._changes = changes
        self._now = now
        self._pause = pause
        self._watchers = 0
        self._watched = asyncio.Event()
        self._looked = asyncio.Event()
        self._looks = self._told = 0
        self._seen_changes = 0
        self._picture: Picture | None = None
        self._failure: UnavailableError | None = None
        self._closed = False

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._watched.wait()
            await self._look()
            await self._pause(PERIOD)

    async def close(self) -> None:
        """Send everybody away, because this process ends."""
        self._closed = True
        self._fail(UnavailableError("the server is about to end; watch again", reason="DRAINING"))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have pictures taken while the block runs; the first watcher waits for a new one."""
        if not self._watchers and not self._closed:
            self._picture = self._failure = None
            self._watched.set()
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched.clear()

    async def pictures(self) -> AsyncIterator[Picture]:
        """Give the newest picture after every look, the same one while nothing changes. Raises UnavailableError."""
        while True:
            if self._failure is not None:
                raise self._failure
            told = self._told
            if self._picture is not None:
                yield self._picture
            while self._told == told:
                await self._looked.wait()

    async def _look(self) -> None:
        changes = self._changes()
        if self._picture is None or changes != self._seen_changes or self._looks % READ_EVERY == 0:
            try:
                self._picture = await self._pictures.picture(self._now())
            except UnavailableError as error:
                self._fail(error)
                return
            self._seen_changes = changes
        self._looks += 1
        self._tell()

    def _fail(self, error: UnavailableError) -> None:
        """Tell everybody who watches; whoever is first to come later may find it mended."""
        self._failure = error
        self._picture = None
        self._tell()

    def _tell(self) -> None:
        self._told += 1
        self._looked.set()
        self._looked = asyncio.Event()


async def watch_rollout(
    convergence: Convergence, feed: PictureFeed, wanted: SubjectWanted, *, check: Check, until_converged: bool
) -> AsyncIterator[Rollout]:
    """Give how far a policy has come: at once, after changes, and now and then without.

    Raises NotFoundError, also once the policy is deleted; DeniedError once the right is gone; InvalidError, UnavailableError.
    """
    await convergence.find(wanted, check())
    told: Rollout | None = None
    quiet = looks = 0
    with feed.watching():
        async for picture in feed.pictures():
            permit = check()
            subject = convergence.follow(wanted, permit)
            rollout = await convergence.shared_count(subject, permit.visible_tags(), picture)
            if told is None or replace(rollout, time=told.time) != told or quiet >= SPEAK_EVERY:
                told, quiet = rollout, 0
                yield rollout
            if until_converged and rollout.converged:
                return
            quiet, looks = quiet + 1, looks + 1
            if looks >= LONGEST:
                raise UnavailableError("a watch ends after a quarter of an hour; watch again", reason="WATCH_ENDED")
