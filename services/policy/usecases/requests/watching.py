"""Read along while requests change: every watcher at its own pace, from the database, without a queue.

- A watcher holds a place and one message at most. It begins with all that wait, in the order of their changes, so that
  whoever comes back in the midst of that goes on where they were.
- What waits and comes into sight, because a device got another tag or the watcher another scope, is told too; the place stays.
- Whoever watches is asked again before every read whether they may, and is sent away after a quarter of an hour, or when they
  take nothing for a minute.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services._chassis.errors import InvalidError, Problem, UnavailableError
from services._chassis.guests import Full, Places
from services._chassis.permits import Permit
from services.policy.model.told_requests import Place, Told
from services.policy.usecases.requests.ports import RequestChanges
from services.policy.usecases.requests.sight import Sight, TagChanges, Visible

LONGEST = 900.0
"""Seconds after which a watcher is sent away; whoever comes back is who they say still."""

HEARTBEAT = 15.0
"""Seconds after which a watcher is told how far it is, though there was nothing for it."""

LOOK = 1.0
"""Seconds that a watcher waits for something new before it looks whether it may watch on."""

AT_ONCE = 40
"""Requests in one message; the largest ones fit."""

_LAST = "f" * 36
"""Behind the identifier of every request."""

Check = Callable[[], Permit]
"""Returns the watcher's permit as it is now. Raises DeniedError once there is none."""


class Revisions(Protocol):
    """Know the newest revision."""

    async def wait(self, after: int, *, timeout: float | None = None) -> int:  # noqa: ASYNC109 - part of the question
        """Return the newest revision as soon as it is above `after`, or as it is once the time is up."""
        ...


@dataclass(frozen=True, slots=True)
class Passage:
    """Hold what was read in one go, and where that ends."""

    requests: tuple[Told, ...]
    reached: Place


@dataclass(frozen=True, slots=True)
class Bounds:
    """Say how many may watch, and how long one may take over a message."""

    most: int = 200
    """Watchers of one process."""
    most_of_one: int = 10
    """Watchers of one principal: nobody takes all places alone."""
    patience: float = 60.0
    """Seconds in which a watcher has to take a message."""


class RequestWatches:
    """Serve those who watch."""

    def __init__(
        self,
        changes: RequestChanges,
        revisions: Revisions,
        sees: Callable[[Permit], Visible],
        *,
        tags: TagChanges,
        monotonic: Callable[[], float],
        bounds: Bounds = Bounds(),
    ) -> None:
        self._changes = changes
        self._revisions = revisions
        self._sees = sees
        self._tags = tags
        self._monotonic = monotonic
        self._patience = bounds.patience
        full = Full(
            reason="TOO_MANY_WATCHERS",
            of_all=f"{bounds.most} watch already; try again when one of them has ended",
            of_one=f"you have {bounds.most_of_one} watches already; try again when one of them has ended",
        )
        self._places = Places(bounds.most, bounds.most_of_one, full)
        self._closed = False

    async def close(self) -> None:
        """Send everybody away, because this process ends."""
        self._closed = True

    async def watch(self, cursor: str, check: Check, *, principal: str) -> AsyncGenerator[Passage, None]:
        """Give requests as they change, and now and then how far the watcher is.

        Raises InvalidError for a cursor that no watch told; LimitError; DeniedError once the right is gone; UnavailableError
        at the end of the time.
        """
        with self._places.entered(principal):
            place, newest = Place(), await self._changes.newest()
            if cursor:
                place = _read(cursor, newest)
            sight = Sight(self._sees, self._tags, check())
            if not cursor:
                async for passage in self._read_on(self._changes.pending, place, newest, check):
                    place = passage.reached
                    yield passage
            told = self._monotonic()
            end = told + LONGEST
            while self._monotonic() < end:
                self._stay()
                newest = await self._revisions.wait(place.revision, timeout=LOOK)
                async for passage in self._news(place, newest, sight, check):
                    place = passage.reached
                    if passage.requests:
                        told = self._monotonic()
                        yield passage
                if self._monotonic() - told >= HEARTBEAT:
                    told = self._monotonic()
                    yield Passage((), place)
        raise UnavailableError("a watch ends after a quarter of an hour; watch again", reason="WATCH_ENDED")

    async def taken(self, message: Awaitable[object]) -> None:
        """Hand a message over. Raises UnavailableError where the watcher does not take it: the place is for others then."""
        try:
            async with asyncio.timeout(self._patience):
                await message
        except TimeoutError as error:
            told = "the watcher takes nothing any more; watch again from its last cursor"
            raise UnavailableError(told, reason="WATCH_STALLED") from error

    async def _read_on(
        self, read: Callable[[Place, int], Awaitable[Sequence[Told]]], place: Place, newest: int, check: Check
    ) -> AsyncGenerator[Passage, None]:
        """Read to the end, which is behind a revision that is known to be whole."""
        while True:
            self._stay()
            visible = self._sees(check())
            found = await read(place, AT_ONCE)
            place = found[-1].place if found else place
            ended = len(found) < AT_ONCE
            if ended:
                place = max(place, Place(newest, _LAST))
            yield Passage(tuple(told for told in found if visible(told.request)), place)
            if ended:
                return

    async def _news(self, place: Place, newest: int, sight: Sight, check: Check) -> AsyncGenerator[Passage, None]:
        """Read what came into sight, and what changed."""
        if came := sight.look(check()):
            async for passage in self._in_sight(came, place, check):
                yield passage
        if newest > place.revision:
            async for passage in self._read_on(self._changes.changed, place, newest, check):
                yield passage

    async def _in_sight(self, came: Visible, place: Place, check: Check) -> AsyncGenerator[Passage, None]:
        """Read those that wait and came into sight; what is behind the place is read in its turn."""
        found = await self._changes.pending(Place(), AT_ONCE)
        while found:
            self._stay()
            visible = self._sees(check())
            if told := tuple(
                each for each in found if each.place <= place and came(each.request) and visible(each.request)
            ):
                yield Passage(told, place)
            found = await self._changes.pending(found[-1].place, AT_ONCE)

    def _stay(self) -> None:
        if self._closed:
            raise UnavailableError("the server is about to end; watch again", reason="DRAINING")


def _read(cursor: str, newest: int) -> Place:
    place = Place.read(cursor)
    if place is None:
        raise InvalidError([Problem("cursor", "is not one that a watch told; leave it out to begin anew")])
    if place.revision > newest:
        told = "is ahead of what is stored, as after a restore; leave it out to begin anew"
        raise InvalidError([Problem("cursor", told)])
    return place
