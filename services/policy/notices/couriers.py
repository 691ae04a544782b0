"""Who carries the outbox to the channels: a router that says who hears of what, and a courier for each channel.

- Channels do not wait for one another: each courier takes the messages of its own channel, a few at a time.
- INVARIANT: at least once. A message is forgotten after its receiver has it; whoever dies in between leaves it to be sent again
  under the same identifier.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from services._chassis.changes import ChangeFeed
from services._chassis.clock import Clock
from services._chassis.logging import get_logger
from services._chassis.workers import Backoff, Worker
from services.policy.model.notices import Interest, Notice, Parcel, Route, channels_for, reminder_of
from services.policy.notices.channels import Channel, Outbox, UndeliveredError

LEASE = timedelta(minutes=2)
"""For how long nobody else sends a message that was taken: longer than any channel takes."""
AT_ONCE = 4
"""Messages that one channel is sent at a time."""
MOST_ROUTED = 100
MOST_TRIES = 24
"""Tries before a message is given up: about fifteen hours."""
LOOKING = 5.0
"""Seconds after which a courier looks by itself for what others routed."""
FORGETTING = 3600.0
"""Seconds after which the outbox looks for what is too old, though nothing is routed."""
GATHERING = 0.05
"""Seconds between two looks, however many changes there are."""

TagsOf: TypeAlias = "Callable[[], Callable[[str], frozenset[str] | None]]"
"""Returns what tells the tags of devices as they are now; None: there is no such device. Raises UnavailableError."""

log = get_logger("policy.notices")


def half_jitter(_low: float, high: float) -> float:
    """Choose a wait in the upper half, so that it grows from try to try."""
    return random.uniform(high / 2, high)  # noqa: S311 - no secret


BACKOFF = Backoff(base=5.0, cap=3600.0, choose=half_jitter)


@dataclass(frozen=True, slots=True)
class Manners:
    """Say how often and how long a courier tries."""

    backoff: Backoff = BACKOFF
    most_tries: int = MOST_TRIES
    lease: timedelta = LEASE
    looking: float = LOOKING


class Router:
    """Say of each notice which channels hear of it, and wake their couriers."""

    def __init__(
        self,
        outbox: Outbox,
        interests: Sequence[Interest],
        *,
        tags_of: TagsOf,
        changes: ChangeFeed,
        clock: Clock,
        remind_after: timedelta | None = None,
        send_again: datetime | None = None,
    ) -> None:
        self.on_routed: list[Callable[[], None]] = []
        self._outbox = outbox
        self._interests = tuple(interests)
        self._tags_of = tags_of
        self._changes = changes
        self._clock = clock
        self._remind_after = remind_after
        self._send_again = send_again
        self._looked: float | None = None

    def worker(self) -> Worker:
        """Return the worker that routes."""
        return Worker("route_notices", self.run)

    async def run(self) -> None:
        """Route for ever. Raises UnavailableError while the devices' tags are not known."""
        await self.revive()
        while True:
            seen = self._changes.revision
            while await self.route():
                pass
            await asyncio.sleep(GATHERING if self._interests else LOOKING)  # what nobody hears of is in no hurry
            await self._changes.wait(seen, timeout=LOOKING)

    async def revive(self) -> None:
        """Have what was given up before the time of the notices file be sent again; what is given up anew stays so."""
        if self._send_again is None:
            return
        now = self._clock.now()
        if revived := await self._outbox.send_again(min(self._send_again, now), now):
            log.info("notices_sent_again", messages=revived)

    async def route(self) -> int:
        """Route what is due, and return how many notices that were."""
        now = self._clock.now()
        due = await self._outbox.next_due("", now)
        if (due is None or due > now) and not self._forgets():
            return 0
        routed = await self._outbox.route(self._route, now, most=MOST_ROUTED)
        for wake in self.on_routed:
            wake()
        return routed

    def _forgets(self) -> bool:
        """Tell whether the outbox is to look for what is too old, though nothing is to be routed."""
        monotonic = self._clock.monotonic()
        if self._looked is not None and monotonic - self._looked < FORGETTING:
            return False
        self._looked = monotonic
        return True

    def _route(self, notice: Notice) -> Route:
        tags = self._tags_of()(notice.request.device_id)
        channels = channels_for(notice, self._interests, tags, now=self._clock.now())
        return Route(channels, reminder_of(notice, self._remind_after))


class Courier:
    """Send the messages of one channel.

    INVARIANT: a channel that hears of a device no longer is sent nothing more of it, though the message waited for long:
    `interest` and the tags of the device are looked at again before every try.
    """

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        *,
        interest: Interest,
        tags_of: TagsOf,
        clock: Clock,
        new_id: Callable[[], str],
        manners: Manners = Manners(),
    ) -> None:
        self._channel = channel
        self._outbox = outbox
        self._interest = interest
        self._tags_of = tags_of
        self._clock = clock
        self._new_id = new_id
        self._manners = manners
        self._woken = asyncio.Event()

    def worker(self) -> Worker:
        """Return the worker that sends."""
        return Worker("send_notices", self.run)

    def wake(self) -> None:
        """Look at once for what is to be sent."""
        self._woken.set()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._woken.clear()
            while await self.send():
                pass
            with suppress(TimeoutError):
                async with asyncio.timeout(await self._wait()):
                    await self._woken.wait()

    async def send(self) -> int:
        """Send what is due, a few at a time, and return how many messages were tried.

        Raises UnavailableError while the devices' tags are not known.
        """
        now = self._clock.now()
        due = await self._outbox.next_due(self._channel.name, now)
        if due is None or due > now:
            return 0
        tags_of = self._tags_of()
        until = now + self._manners.lease
        taken = await self._outbox.take(self._channel.name, self._new_id(), now=now, until=until, most=AT_ONCE)
        carrying = (self._carry(parcel, tags_of(parcel.notice.request.device_id)) for parcel in taken)
        ended = await asyncio.gather(*carrying, return_exceptions=True)
        for error in filter(None, ended):
            raise error
        return len(taken)

    async def _wait(self) -> float:
        now = self._clock.now()
        due = await self._outbox.next_due(self._channel.name, now)
        left = self._manners.looking if due is None else (due - now).total_seconds()
        return min(max(left, GATHERING), self._manners.looking)

    async def _carry(self, parcel: Parcel, tags: frozenset[str] | None) -> None:
        about = {"notice": parcel.notice.id, "channel": parcel.channel, "tries": parcel.tries}
        if not channels_for(parcel.notice, (self._interest,), tags, now=self._clock.now()):
            await self._outbox.sent(parcel)
            log.info("notice_not_wanted", **about)
            return
        if parcel.tries > self._manners.most_tries:
            await self._keep(parcel, UndeliveredError("whoever sent it ended before it was sent", final=True))
            return
        try:
            await self._channel.send(parcel.notice, self._clock.now())
        except UndeliveredError as error:
            await self._keep(parcel, error)
        else:
            await self._outbox.sent(parcel)
            log.info("notice_sent", **about)

    async def _keep(self, parcel: Parcel, error: UndeliveredError) -> None:
        """Have the message sent again later, or give it up."""
        about = {"notice": parcel.notice.id, "channel": parcel.channel, "tries": parcel.tries, "error": str(error)}
        if error.final or parcel.tries >= self._manners.most_tries:
            log.error("notice_given_up", **about)
            await self._outbox.give_up(parcel, str(error), self._clock.now())
            return
        log.warning("notice_not_sent", **about)
        wait = timedelta(seconds=self._manners.backoff.delay(parcel.tries - 1))
        await self._outbox.put_back(parcel, str(error), self._clock.now() + wait)
