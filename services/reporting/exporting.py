"""Hand events over to consumers that acknowledge what they keep safe: at least once, in order, from where they were.

- What is handed over is read as by anybody who watches. Only so many messages are under way unacknowledged; then nothing
  more is read, so that a consumer that hangs costs one message's memory and no intake.
- Acknowledgements are written at most once a second and at the end of the stream: a consumer that acknowledges every message
  does not get in the way of the writer. What was not written yet is handed over again, never left out.
- A consumer that is rewound or deleted loses its stream: at once where this process serves it, else at its next look.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field

from services._chassis.errors import InvalidError, Problem, UnavailableError
from services._chassis.guests import Guests
from services.reporting.model.live import ATTEMPTS_ALONE, Cursor, Passage, Remembered, is_name, overtaken
from services.reporting.model.reports import Question
from services.reporting.ports import Consumers
from services.reporting.watching import Tags, Watches

MOST_UNDER_WAY = 4
"""Messages with events that may be unacknowledged."""

LONGEST_WAIT = 300.0
"""Seconds after which a consumer that acknowledges nothing is sent away."""

WRITE_EVERY = 1.0
LOOK_EVERY = 10
"""Turns of writing after which a consumer that acknowledged nothing new is looked at: it may be no more where it was."""

Write = Callable[[Passage], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Hello:
    """Introduce a consumer, and ask."""

    principal: str
    consumer: str
    question: Question
    kinds: frozenset[str] = ATTEMPTS_ALONE
    problems: tuple[Problem, ...] = ()
    """What of the hello could not be read."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a stream begins: behind what is known of the consumer, and what is wrong with its hello."""

    hello: Hello
    known: Remembered | None
    problems: Sequence[Problem]


@dataclass(slots=True)
class _UnderWay:
    """What a consumer was told and has not acknowledged, and what it has acknowledged last."""

    told: deque[Passage] = field(default_factory=deque)
    acknowledged: Cursor | None = None
    generation: int | None = None
    """That of the consumer's place; None until it has one."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a message is written: a stream is not ended in the middle of one, which gRPC does not survive."""

    @property
    def full(self) -> bool:
        """Tell whether nothing more may be handed over for now."""
        return sum(not passage.empty for passage in self.told) >= MOST_UNDER_WAY

    def tell(self, passage: Passage) -> None:
        """Note what is handed over; of messages that only say how far it is the last is enough."""
        if self.told and passage.empty and self.told[-1].empty:
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

    def place(self) -> Remembered | None:
        """Return what is to be remembered; None where nothing was acknowledged."""
        if self.acknowledged is None or self.generation is None:
            return None
        return Remembered(self.acknowledged, self.generation)


class OpenExports:
    """Know which consumers have streams open in this process."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str], set[asyncio.Future[None]]] = {}

    def __contains__(self, consumer: tuple[str, str]) -> bool:
        """Tell whether a consumer, known by its principal and its name, has a stream open."""
        return consumer in self._ends

    @contextmanager
    def entered(self, consumer: tuple[str, str]) -> Iterator["asyncio.Future[None]"]:
        """Have a stream open while the block runs; the future fails once the stream has to end."""
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.setdefault(consumer, set()).add(end)
        try:
            yield end
        finally:
            self._ends[consumer].discard(end)
            if not self._ends[consumer]:
                del self._ends[consumer]

    def end(self, consumer: tuple[str, str]) -> None:
        """End the streams of a consumer that was set elsewhere, or deleted."""
        for end in self._ends.get(consumer, ()):
            if not end.done():
                end.set_exception(overtaken())


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
        self.open = OpenExports()

    async def close(self) -> None:
        """Wait until everybody has left and what they acknowledged is written."""
        await self.guests.idle()
        await self._watches.guests.idle()

    async def serve(self, hello: Hello, acks: AsyncIterator[str], write: Write, tags: Tags) -> None:
        """Hand over until the consumer has nothing more to say.

        Raises InvalidError for what is wrong with the hello or an acknowledgement, ConflictError for a consumer that is set
        elsewhere or deleted meanwhile, else what a watch raises.
        """
        problems = list(hello.problems)
        if not is_name(hello.consumer):
            problems.append(Problem("hello.consumer", "must have 1 to 64 printable characters"))
        with self.guests.entered(), self.open.entered((hello.principal, hello.consumer)) as end:
            known = None if problems else await self._consumers.known(hello.principal, hello.consumer)
            under_way = _UnderWay(generation=None if known is None else known.generation)
            tasks = [
                asyncio.ensure_future(self._hand_over(_Start(hello, known, problems), under_way, write, tags)),
                asyncio.ensure_future(_listen(acks, under_way)),
                asyncio.ensure_future(self._write_down(hello, under_way)),
                end,
            ]
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
            if (place := under_way.place()) is not None:
                await self._consumers.commit(hello.principal, hello.consumer, place)

    async def _hand_over(self, start: _Start, under_way: _UnderWay, write: Write, tags: Tags) -> None:
        hello, cursor = start.hello, "" if start.known is None else str(start.known.cursor)
        asked = self._watches.watch(
            hello.question, cursor, tags, principal=hello.principal, kinds=hello.kinds, beside=start.problems
        )
        async with aclosing(asked) as watch:
            async for passage in watch:
                if under_way.generation is None:
                    under_way.generation = await self._consumers.begin(hello.principal, hello.consumer, passage.cursor)
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
        written, turn = None, 0
        while True:
            await self._pause(WRITE_EVERY)
            turn += 1
            place = under_way.place()
            # What is begun is finished: a stream that ends meanwhile writes the same, or more, after it.
            with suppress(UnavailableError):
                if place is not None and place != written:
                    written = place
                    await self._consumers.commit(hello.principal, hello.consumer, place)
                elif turn % LOOK_EVERY == 0 and under_way.generation is not None:
                    known = await self._consumers.known(hello.principal, hello.consumer)
                    if known is None or known.generation != under_way.generation:
                        raise overtaken()


async def _listen(acks: AsyncIterator[str], under_way: _UnderWay) -> None:
    async for cursor in acks:
        under_way.acknowledge(cursor)
