"""Event streams of devices, and which of them are open.

- The device says hello first and is greeted with its credit: how many events may be in flight, unacknowledged.
- Batches go to the writer in the order they came; acknowledgements go back in that order, each after its commit.
- The newest stream of a device wins. A device that loses its credentials loses its stream at once.
- When a stream fails, what was not acknowledged is sent again by the device and stored once.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from epm.reporting.v1 import agent_pb2
from services._chassis.certificates import replaced
from services._chassis.clock import Clock
from services._chassis.errors import DeniedError, InvalidError, LimitError, Problem, ServiceError
from services._chassis.hello import message_with_hello
from services._chassis.logging import get_logger
from services._chassis.times import time_to_proto
from services.reporting.codec.incoming import ack_to_proto, batch_from_proto
from services.reporting.model.devices import Device
from services.reporting.model.events import Rejection, microseconds
from services.reporting.usecases import not_enrolled
from services.reporting.workers import Answer, GroupCommitWriter

CREDIT = 1000
PATIENCE = 30.0
"""Seconds that a device has to say hello: until then its streams do not supersede one another."""

GREETED_OF_ONE = 4
"""Streams of one device that may be in greeting."""

COME_BACK = timedelta(seconds=5)
"""When a device that has more of them may try again."""

FAREWELL = 5.0
"""Seconds that a device has to read why its stream ends."""

Send = Callable[[agent_pb2.StreamEventsResponse], Awaitable[None]]
Requests = AsyncIterator[agent_pb2.StreamEventsRequest]

log = get_logger("reporting.streams")


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A batch that the writer has and the device waits for."""

    journal_id: str
    through: int
    size: int
    answer: Answer


@dataclass(slots=True)
class _Closing:
    """Why the server ends a stream: with a farewell, or with an error."""

    reason: str = ""
    error: ServiceError | None = None
    patience: float = FAREWELL
    asked: asyncio.Event = field(default_factory=asyncio.Event)


class EventStream:
    """Hold one conversation with one device."""

    def __init__(
        self, device: Device, *, serial: str = "", writer: GroupCommitWriter, clock: Clock, credit: int = CREDIT
    ) -> None:
        self.device = device
        self.serial = serial
        """Serial number of the certificate that opened it."""
        self._writer = writer
        self._clock = clock
        self._credit = credit
        self._in_flight: deque[_InFlight] = deque()
        self._events_in_flight = 0
        self._changed = asyncio.Event()
        self._last_read = False
        self._sending = asyncio.Lock()
        self._closing = _Closing()

    def close(self, reason: str, error: ServiceError | None = None, *, patience: float = FAREWELL) -> None:
        """End the stream: say GoAway, if the device reads it within so many seconds, or fail with the error, if one is given."""
        self._closing.reason, self._closing.error, self._closing.patience = reason, error, patience
        self._closing.asked.set()

    async def run(self, requests: Requests, send: Send) -> None:
        """Talk until the device or the server ends the stream. Raises a ServiceError for a device that breaks the rules."""
        reader = asyncio.create_task(self._read(requests))
        acker = asyncio.create_task(self._acknowledge(send))
        closer = asyncio.create_task(self._closing.asked.wait())
        try:
            await asyncio.wait({reader, acker, closer}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()  # the device has said everything; its acknowledgements may be outstanding
                await asyncio.wait({acker, closer}, return_when=asyncio.FIRST_COMPLETED)
            if acker.done():
                acker.result()
            else:
                await self._say_farewell(send, acker)
        finally:
            for task in (reader, acker, closer):
                task.cancel()
            await asyncio.gather(reader, acker, closer, return_exceptions=True)
            self._forget()

    async def greet(self, requests: Requests, send: Send, *, patience: float = PATIENCE) -> None:
        """Hear the hello and answer it.

        Raises InvalidError where anything else comes first, or nothing in time; DeniedError for another device.
        """
        first = await message_with_hello(requests, patience=patience)
        if first.hello.device_id not in ("", self.device.device_id):
            raise DeniedError("hello names another device than the certificate; enrol again", reason="OTHER_DEVICE")
        welcome = agent_pb2.EventsWelcome(server_time=time_to_proto(self._clock.now()), credit=self._credit)
        await send(agent_pb2.StreamEventsResponse(welcome=welcome))
        log.info("event_stream_opened", device_id=self.device.device_id, agent_version=first.hello.agent_version[:64])

    async def _read(self, requests: Requests) -> None:
        async for request in requests:
            if request.WhichOneof("message") != "batch":
                problem = Problem("batch", "must be the only kind of message after hello")
                raise InvalidError([problem], reason="BATCH_EXPECTED")
            await self._take(request.batch)
        self._last_read = True
        self._changed.set()

    async def _take(self, message: agent_pb2.EventBatch) -> None:
        # An empty batch counts as one event: each message costs, whatever it holds.
        size = max(len(message.entries), 1)
        if self._events_in_flight + size > self._credit:
            problem = Problem("batch.entries", f"must leave at most {self._credit} events in flight; wait for the ack")
            raise InvalidError([problem], reason="CREDIT_EXCEEDED")
        batch = batch_from_proto(
            message,
            device_id=self.device.device_id,
            device_name=self.device.name,
            received=microseconds(self._clock.now()),
        )
        self._events_in_flight += size
        answer = await self._writer.submit(batch)
        through = max((entry.seq for entry in message.entries), default=0)
        self._in_flight.append(_InFlight(message.journal_id, through, size, answer))
        self._changed.set()

    async def _acknowledge(self, send: Send) -> None:
        while not (self._last_read and not self._in_flight):
            if not self._in_flight:
                self._changed.clear()
                await self._changed.wait()
                continue
            await asyncio.shield(self._in_flight[0].answer)
            await self._send_ack(send)

    async def _send_ack(self, send: Send) -> None:
        """Acknowledge all batches of one journal that are durable by now, in one message."""
        first = self._in_flight[0]
        through, rejected, released = 0, list[Rejection](), 0
        while (
            self._in_flight and self._in_flight[0].answer.done() and self._in_flight[0].journal_id == first.journal_id
        ):
            durable = self._in_flight.popleft()
            rejected += durable.answer.result()
            through, released = max(through, durable.through), released + durable.size
        if rejected:
            log.warning("events_rejected", device_id=self.device.device_id, count=len(rejected))
        # Before the send: the device may answer an ack faster than `send` returns.
        self._events_in_flight -= released
        async with self._sending:
            await send(ack_to_proto(first.journal_id, through, rejected))

    def _forget(self) -> None:
        """Wait for no more answers. Batches that were queued may still be stored; the device sends them again."""
        for waiting in self._in_flight:
            if not waiting.answer.cancel() and not waiting.answer.cancelled():
                waiting.answer.exception()  # seen by now: the device is told of the first failure alone

    async def _say_farewell(self, send: Send, acker: "asyncio.Task[None]") -> None:
        if self._closing.error is not None:
            raise self._closing.error
        with suppress(TimeoutError):
            async with asyncio.timeout(self._closing.patience):
                async with self._sending:  # an acknowledgement that is being written is not broken off
                    acker.cancel()
                await asyncio.gather(acker, return_exceptions=True)
                await send(agent_pb2.StreamEventsResponse(go_away=agent_pb2.EventsGoAway(reason=self._closing.reason)))


class OpenStreams:
    """Know the one open stream of each device."""

    def __init__(self) -> None:
        self._streams: dict[str, EventStream] = {}
        self._greeting: dict[str, int] = {}
        self._draining = False

    @contextmanager
    def greeting(self, device_id: str) -> Iterator[None]:
        """Count a stream as one in greeting while the block runs. Raises LimitError where the device has too many of them."""
        before = self._greeting.get(device_id, 0)
        if before >= GREETED_OF_ONE:
            raise LimitError(
                "the device has opened more streams than it says hello on; close some",
                reason="TOO_MANY_STREAMS",
                retry_after=COME_BACK,
            )
        self._greeting[device_id] = before + 1
        try:
            yield
        finally:
            self._greeting[device_id] -= 1
            if not self._greeting[device_id]:
                del self._greeting[device_id]

    @contextmanager
    def entered(self, stream: EventStream) -> Iterator[None]:
        """Count the stream as the device's while the block runs; an older one is sent away."""
        device_id = stream.device.device_id
        if older := self._streams.get(device_id):
            older.close("SUPERSEDED")
        self._streams[device_id] = stream
        if self._draining:
            stream.close("DRAINING")
        try:
            yield
        finally:
            if self._streams.get(device_id) is stream:
                del self._streams[device_id]

    def follow(self, device: Device) -> None:
        """Cut the stream of a device that lost its credentials, or its certificate; record any other's new name from now on."""
        stream = self._streams.get(device.device_id)
        if stream is None:
            return
        if not device.enrolled:
            refusal = not_enrolled(device)
            stream.close(refusal.reason, refusal)
        elif not device.counts(stream.serial):
            stream.close("CERTIFICATE_REPLACED", replaced())
        else:
            stream.device = device

    async def drain(self) -> None:
        """Send everyone away, and everyone who still comes, because this process ends."""
        self._draining = True
        for stream in list(self._streams.values()):
            stream.close("DRAINING")
