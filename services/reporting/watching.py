"""Read along while events are stored: every watcher at its own pace, from the database, without a queue.

- A watcher holds a cursor and one message at most. One that does not take its message reads nothing meanwhile; what is
  stored waits in the database, where it is anyway. So no watcher slows the intake or fills the memory.
- A commit of this process wakes the watchers, a look at the database now and then tells of those of others.
- Whoever watches is asked again before every read whether they may, and is sent away after a quarter of an hour.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from services._chassis.errors import InvalidError, Problem, UnavailableError
from services._chassis.guests import Full, Places
from services.reporting.model.live import ATTEMPTS_ALONE, Cursor, Passage
from services.reporting.model.reports import Question
from services.reporting.ports import Stored
from services.reporting.usecases import problems_of

MOST_WATCHERS = 50
"""Watchers of one process."""

MOST_OF_ONE = 10
"""Watchers of one principal: nobody takes all places alone."""

LONGEST = 900.0
"""Seconds after which a watcher is sent away; whoever comes back is who they say still."""

HEARTBEAT = 15.0
"""Seconds after which a watcher is told how far it is, though there was nothing for it."""

PACE = 0.25
"""Seconds between two reads of a watcher that has read everything: under load it gets many attempts at once."""

LOOK = 1.0
"""Seconds that a watcher waits for something new before it looks whether it may watch on."""

PATIENCE = 60.0
"""Seconds that a watcher may take over one message."""

Tags = Callable[[], frozenset[str] | None]
"""Returns what the watcher may see now. Raises DeniedError once that is nothing."""


class Changes(Protocol):
    """Know the newest position."""

    async def wait(self, after: int, *, timeout: float | None = None) -> int:  # noqa: ASYNC109 - part of the question
        """Return the newest position as soon as it is above `after`, or as it is once the time is up."""
        ...


class Watches:
    """Serve those who watch."""

    def __init__(
        self,
        stored: Stored,
        changes: Changes,
        *,
        monotonic: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most: int = MOST_WATCHERS,
        most_of_one: int = MOST_OF_ONE,
        patience: float = PATIENCE,
    ) -> None:
        self._stored = stored
        self._changes = changes
        self._monotonic = monotonic
        self._pause = pause
        self._patience = patience
        full = Full(
            reason="TOO_MANY_WATCHERS",
            of_all=f"{most} watch already; try again when one of them has ended",
            of_one=f"you have {most_of_one} watches already; try again when one of them has ended",
        )
        self._places = Places(most, most_of_one, full)
        self.guests = self._places.guests
        self._closed = False

    async def close(self) -> None:
        """Send everybody away, because this process ends."""
        self._closed = True

    async def watch(
        self,
        question: Question,
        cursor: str,
        tags: Tags,
        *,
        principal: str,
        kinds: frozenset[str] = ATTEMPTS_ALONE,
        beside: Sequence[Problem] = (),
    ) -> AsyncGenerator[Passage, None]:
        """Give where the watcher stands at once, then what is stored, and now and then how far it is.

        Raises InvalidError with everything that is wrong with the question, and `beside` it; LimitError; DeniedError once the right is gone;
        UnavailableError at the end of the time.
        """
        with self._places.entered(principal):
            reached = await self._start(question, cursor, kinds, beside)
            yield Passage((), reached, more=True)
            end = self._monotonic() + LONGEST
            told = self._monotonic()
            while self._monotonic() < end:
                self._stay()
                passage = await self._stored.passage(replace(question, tags=tags()), reached, kinds)
                reached = passage.cursor
                if not passage.empty or self._monotonic() - told >= HEARTBEAT:
                    yield passage
                    told = self._monotonic()
                if not passage.more:
                    await self._pause(PACE)
                    await self._changes.wait(reached.position, timeout=LOOK)
        raise UnavailableError("a watch ends after a quarter of an hour; watch again", reason="WATCH_ENDED")

    async def taken(self, message: Awaitable[object]) -> None:
        """Hand a message over. Raises UnavailableError where the watcher does not take it: the place is for others then."""
        try:
            async with asyncio.timeout(self._patience):
                await message
        except TimeoutError as error:
            told = "the watcher takes nothing any more; watch again from its last cursor"
            raise UnavailableError(told, reason="WATCH_STALLED") from error

    def _stay(self) -> None:
        if self._closed:
            raise UnavailableError("the server is about to end; watch again", reason="DRAINING")

    async def _start(self, question: Question, cursor: str, kinds: frozenset[str], beside: Sequence[Problem]) -> Cursor:
        problems = [*beside, *problems_of(question)]
        given = Cursor.read(cursor) if cursor else None
        if cursor and given is None:
            problems.append(Problem("cursor", "is not one that a watch told; leave it out to begin anew"))
        if given is not None and given.position > await self._stored.newest():
            told = "is ahead of what is stored, as after a restore; leave it out to begin anew"
            problems.append(Problem("cursor", told))
        if problems:
            raise InvalidError(problems)
        return given or await self._stored.before(question, kinds)
