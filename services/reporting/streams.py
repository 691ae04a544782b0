"""Event streams of devices.

- The device says hello first and is greeted with its credit: how many events may be in flight, unacknowledged. It hears of
  another one behind the acknowledgement that changed it.
- Batches go to the writer in the order they came; acknowledgements go back in the order of each journal, each after its
  commit: none waits for another journal's.
- A stream that brought more than the writer has room for reads nothing more. One batch of diagnostics may wait aside, so that
  attempts behind it do not.
- When a stream fails, what was not acknowledged is sent again by the device and stored once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter

from epm.reporting.v1 import agent_pb2
from services._chassis.clock import Clock
from services._chassis.errors import DeniedError, InvalidError, Problem, ServiceError
from services._chassis.hello import message_with_hello
from services._chassis.logging import get_logger
from services._chassis.times import time_to_proto
from services.reporting.codec.incoming import ack_to_proto, batch_from_proto
from services.reporting.model.backlog import Waiting
from services.reporting.model.credit import START, Ramp
from services.reporting.model.devices import Device
from services.reporting.model.events import Priority, microseconds
from services.reporting.model.flight import Durable, Flight
from services.reporting.scoping import Scoping
from services.reporting.workers import Answer, GroupCommitWriter

PATIENCE = 30.0
"""Seconds that a device has to say hello: until then its streams do not supersede one another."""

FAREWELL = 5.0
"""Seconds that a device has to read why its stream ends."""

_SEQ = attrgetter("seq")
Send = Callable[[agent_pb2.StreamEventsResponse], Awaitable[None]]
Requests = AsyncIterator[agent_pb2.StreamEventsRequest]

log = get_logger("reporting.streams")


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
        self, device: Device, *, serial: str = "", writer: GroupCommitWriter, clock: Clock, credit: int = START
    ) -> None:
        self.device = device
        self.serial = serial
        """Serial number of the certificate that opened it."""
        self._writer = writer
        self._clock = clock
        self._scoping = Scoping(device, clock)
        self._flight: Flight[Answer] = Flight(Ramp.welcoming(credit, writer.pressure))
        self._aside: Waiting[Answer] | None = None
        """The batch of diagnostics that the writer may not have room for yet."""
        self._changed = asyncio.Event()
        self._last_read = False
        self._sending = asyncio.Lock()
        self._closing = _Closing()

    def close(self, reason: str, error: ServiceError | None = None, *, patience: float = FAREWELL) -> None:
        """End the stream: say GoAway, if the device reads it within so many seconds, or fail with the error, if one is given."""
        self._closing.reason, self._closing.error, self._closing.patience = reason, error, patience
        self._closing.asked.set()

    def follow(self, device: Device) -> None:
        """Go by what the directory tells of the device from now on."""
        self.device = device
        self._scoping.follow(device)

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
        welcome = agent_pb2.EventsWelcome(server_time=time_to_proto(self._clock.now()), credit=self._flight.credit)
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
        if not self._flight.has_room(size):
            problem = Problem(
                "batch.entries", f"must leave at most {self._flight.limit} events in flight; wait for the ack"
            )
            raise InvalidError([problem], reason="CREDIT_EXCEEDED")
        scoped = await self._scoping.taken(message)
        batch = batch_from_proto(
            scoped.message,
            device_id=self.device.device_id,
            device_name=self.device.name,
            received=microseconds(self._clock.now()),
            passed_over=scoped.passed_over,
        )
        self._flight.reserve(size)
        self._writer.sends(self, still=True)
        aside = batch.priority is Priority.DIAGNOSTIC
        if self._aside is not None and (aside or self._aside.batch.journal_id == batch.journal_id):
            await self._writer.admitted(self._aside)
        if (before := self._flight.newest(batch.journal_id)) is not None and before.done():
            before.result()  # else what came behind a batch that was not stored would be, if this stream hears of it later
        waiting = self._writer.queue(batch)
        through = max(map(_SEQ, message.entries), default=0)
        self._flight.board(batch.journal_id, through, size, waiting.answer)
        waiting.answer.add_done_callback(self._notice)
        if aside:
            self._aside = waiting
        else:
            await self._writer.admitted(waiting)

    def _notice(self, _answer: Answer) -> None:
        self._changed.set()

    async def _acknowledge(self, send: Send) -> None:
        while not (self._last_read and not self._flight):
            self._changed.clear()
            if landed := self._flight.land():
                await self._send_acks(send, landed)
            else:
                await self._changed.wait()

    async def _send_acks(self, send: Send, landed: list[Durable]) -> None:
        """Acknowledge what is durable by now, in one message for each journal, and tell of another credit."""
        self._writer.sends(self, still=len(self._flight) > 0)
        async with self._sending:
            for durable in landed:
                if durable.rejected:
                    log.warning("events_rejected", device_id=self.device.device_id, count=len(durable.rejected))
                await send(ack_to_proto(durable.journal_id, durable.through, durable.rejected))
            if self._flight.adjusted(self._writer.pressure):
                await send(agent_pb2.StreamEventsResponse(credit=agent_pb2.EventsCredit(credit=self._flight.credit)))

    def _forget(self) -> None:
        """Wait for no more answers. Batches that were admitted may still be stored; the device sends them again."""
        self._writer.sends(self, still=False)
        if self._aside is not None:
            self._writer.withdraw(self._aside)
        for answer in self._flight.answers():
            answer.remove_done_callback(self._notice)
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # seen by now: the device is told of the first failure alone

    async def _say_farewell(self, send: Send, acker: "asyncio.Task[None]") -> None:
        if self._closing.error is not None:
            raise self._closing.error
        with suppress(TimeoutError):
            async with asyncio.timeout(self._closing.patience):
                async with self._sending:  # an acknowledgement that is being written is not broken off
                    acker.cancel()
                await asyncio.gather(acker, return_exceptions=True)
                await send(agent_pb2.StreamEventsResponse(go_away=agent_pb2.EventsGoAway(reason=self._closing.reason)))
