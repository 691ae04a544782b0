"""Hand attempts over to consumers that acknowledge what they keep safe: at least once, in order, from where they were.

- What is handed over is read as by anybody who watches. Only so many messages are under way unacknowledged; then nothing
  more is read, so that a consumer that hangs costs one message's memory and no intake.
- Acknowledgements are written at most once a second and at the end of the stream: a consumer that acknowledges every message
  does not get in the way of the writer. What was not written yet is handed over again, never left out.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from services._chassis.errors import InvalidError, Problem, UnavailableError
from services.reporting.model.live import Cursor, Passage
from services.reporting.model.reports import Question
from services.reporting.ports import Consumers
from services.reporting.watching import Guests, Tags, Watches

MOST_UNDER_WAY = 4
"""Messages with attempts that may be unacknowledged."""

LONGEST_WAIT = 300.0
"""Seconds after which a consumer that acknowledges nothing is sent away."""

WRITE_EVERY = 1.0
LONGEST_NAME = 64

Write = Callable[[Passage], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Hello:
    """Introduce a consumer, and ask."""

    principal: str
    consumer: str
    question: Question


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a stream begins: behind what is known of the consumer, and what is wrong with its hello."""

    hello: Hello
    known: Cursor | None
    problems: Sequence[Problem]


@dataclass(slots=True)
class _UnderWay:
    """What a consumer was told and has not acknowledged, and what it has acknowledged last."""

    told: deque[Passage] = field(default_factory=deque)
    acknowledged: Cursor | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a message is written: a stream is not ended in the middle of one, which gRPC does not survive."""

    @property
    def full(self) -> bool:
        """Tell whether nothing more may be handed over for now."""
        return sum(bool(passage.elevations) for passage in self.told) >= MOST_UNDER_WAY

    def tell(self, passage: Passage) -> None:
        """Note what is handed over; of messages that only say how far it is the last is enough."""
        if self.told and not passage.elevations and not self.told[-1].elevations:
            self.told.pop()
        self.told.append(passage)

    def acknowledge(self, text: str) -> None:
        """Take an acknowledgement. Raises InvalidError for a cursor that waits for none."""
        cursor = Cursor.read(text)
        if cursor not in {passage.cursor for passage in self.told}:
            raise InvalidError([Problem("ack.cursor", "must be that of a message that waits to be acknowledged")])
        while self.told.popleft().cursor != cursor:
            pass
        self.acknowledged = cursor
        self.changed.set()


class Exports:
    """Serve consumers of exports."""

    def __init__(
        self,
        watches: Watches,
        consumers: Consumers,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        longest_wait: float = LONGEST_WAIT,
    ) -> None:
        self._watches = watches
        self._consumers = consumers
        self._pause = pause
        self._longest_wait = longest_wait
        self.guests = Guests()

    async def close(self) -> None:
        """Wait until everybody has left and what they acknowledged is written."""
        await self.guests.idle()
        await self._watches.guests.idle()

    async def serve(self, hello: Hello, acks: AsyncIterator[str], write: Write, tags: Tags) -> None:
        """Hand over until the consumer has nothing more to say.

        Raises InvalidError for what is wrong with the hello or an acknowledgement, else what a watch raises.
        """
        problems = (
            [] if _is_name(hello.consumer) else [Problem("hello.consumer", "must have 1 to 64 printable characters")]
        )
        known = None if problems else await self._consumers.committed(hello.principal, hello.consumer)
        under_way = _UnderWay()
        tasks = [
            asyncio.ensure_future(self._hand_over(_Start(hello, known, problems), under_way, write, tags)),
            asyncio.ensure_future(_listen(acks, under_way)),
            asyncio.ensure_future(self._write_down(hello, under_way)),
        ]
        with self.guests.entered():
            await self._until_the_end(hello, under_way, tasks)

    async def _until_the_end(self, hello: Hello, under_way: _UnderWay, tasks: Sequence["asyncio.Future[None]"]) -> None:
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            async with under_way.writing:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            if under_way.acknowledged is not None:
                await self._consumers.commit(hello.principal, hello.consumer, under_way.acknowledged)

    async def _hand_over(self, start: _Start, under_way: _UnderWay, write: Write, tags: Tags) -> None:
        hello, cursor = start.hello, "" if start.known is None else str(start.known)
        new = start.known is None
        async with aclosing(self._watches.watch(hello.question, cursor, tags, beside=start.problems)) as watch:
            async for passage in watch:
                if new:
                    await self._consumers.commit(hello.principal, hello.consumer, passage.cursor)
                    new = False
                await self._until_room(under_way)
                under_way.tell(passage)
                async with under_way.writing:
                    await self._watches.taken(write(passage))

    async def _until_room(self, under_way: _UnderWay) -> None:
        try:
            async with asyncio.timeout(self._longest_wait):
                while under_way.full:
                    under_way.changed.clear()
                    await under_way.changed.wait()
        except TimeoutError as error:
            told = "the consumer acknowledges nothing any more; export again"
            raise UnavailableError(told, reason="WATCH_STALLED") from error

    async def _write_down(self, hello: Hello, under_way: _UnderWay) -> None:
        written = None
        while True:
            await self._pause(WRITE_EVERY)
            if under_way.acknowledged is not None and under_way.acknowledged != written:
                written = under_way.acknowledged
                # What is begun is finished: a stream that ends meanwhile writes the same, or more, after it.
                with suppress(UnavailableError):
                    await self._consumers.commit(hello.principal, hello.consumer, written)


async def _listen(acks: AsyncIterator[str], under_way: _UnderWay) -> None:
    async for cursor in acks:
        under_way.acknowledge(cursor)


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()
