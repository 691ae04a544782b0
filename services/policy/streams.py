"""Policy streams of devices, and which of them are open.

- The device says hello first and is welcomed; what it is offered then is the conversation's business.
- Each stream speaks in a task of its own, so that a device that reads slowly holds nobody up. Changes that come while it is
  busy are one change when it is done.
- The newest stream of a device wins, here at once, and over processes by the name that the deliveries keep.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from epm.policy.v1 import agent_pb2
from services._chassis.clock import Clock
from services._chassis.errors import InvalidError, Problem, UnavailableError
from services._chassis.hello import message_with_hello
from services._chassis.logging import get_logger
from services._chassis.times import time_to_proto
from services._chassis.workers import Worker
from services.policy.codec.agent import Speaker, hello_from_proto
from services.policy.model.delivery import LEASE, GoAwayReason
from services.policy.ports import Deliveries
from services.policy.usecases.delivery import Conversation, GoAway, Hello, check_hello

HEARTBEAT = timedelta(seconds=30)
RECONNECT_WITHIN = timedelta(seconds=30)
"""How far the devices of a process that ends spread their return."""

PATIENCE = 30.0
"""Seconds that a device has to say hello: until then its streams do not supersede one another."""

FAREWELL = 5.0
"""Seconds that a device has to answer its last offer, and to read why its stream ends."""

HELD_AT_ONCE = 500
HOLD_EVERY = LEASE / 3
_LEAVE = GoAway(GoAwayReason.DRAINING, RECONNECT_WITHIN)
Send = Callable[[agent_pb2.StreamPolicyResponse], Awaitable[None]]
Requests = AsyncIterator[agent_pb2.StreamPolicyRequest]

log = get_logger("policy.streams")


class PolicyStream:
    """Hold one stream of one device. `on_answer` hears of every answer after it is durable."""

    def __init__(
        self,
        conversation: Conversation,
        *,
        speaker: Speaker,
        clock: Clock,
        on_answer: Callable[[str], None],
        heartbeat: timedelta,
    ) -> None:
        self.conversation = conversation
        self._speaker = speaker
        self._clock = clock
        self._on_answer = on_answer
        self._heartbeat = heartbeat
        self._woken = asyncio.Event()
        self._closing = asyncio.Event()
        self._farewell = _LEAVE

    def wake(self) -> None:
        """Look soon whether there is something to say."""
        self._woken.set()

    def close(self, farewell: GoAway) -> None:
        """Say that the stream is to be closed, and end it."""
        if not self._closing.is_set():
            self._farewell = farewell
            self._closing.set()

    async def greet(self, requests: Requests, send: Send, *, patience: float = PATIENCE) -> Hello:
        """Hear the hello and answer it.

        Raises InvalidError where anything else comes first, or nothing in time; DeniedError for another device.
        """
        hello = hello_from_proto((await message_with_hello(requests, patience=patience)).hello)
        check_hello(hello, self.conversation.device_id)
        heartbeat = Duration()
        heartbeat.FromTimedelta(self._heartbeat)
        welcome = agent_pb2.Welcome(server_time=time_to_proto(self._clock.now()), heartbeat=heartbeat)
        await send(agent_pb2.StreamPolicyResponse(welcome=welcome))
        return hello

    async def run(self, hello: Hello, requests: Requests, send: Send) -> None:
        """Talk until the device or the server ends the stream. Raises a ServiceError for a device that breaks the rules."""
        await self.conversation.begin(hello, self._clock.now())
        log.info(
            "policy_stream_opened",
            device_id=self.conversation.device_id,
            agent_version=hello.agent_version[:64],
            revision=hello.revision,
        )
        reader = asyncio.create_task(self._read(requests))
        talker = asyncio.create_task(self._talk(send))
        closer = asyncio.create_task(self._say_farewell(send, talker))
        try:
            await asyncio.wait({reader, talker, closer}, return_when=asyncio.FIRST_COMPLETED)
            if self._closing.is_set():
                await closer
            elif reader.done():
                reader.result()
            else:
                talker.result()
        finally:
            for task in (reader, talker, closer):
                task.cancel()
            await asyncio.gather(reader, talker, closer, return_exceptions=True)
            with suppress(UnavailableError):
                await self.conversation.end(self._clock.now())

    async def _read(self, requests: Requests) -> None:
        async for request in requests:
            now = self._clock.now()
            match request.WhichOneof("message"):
                case "ack":
                    await self.conversation.acknowledge(request.ack.nonce, request.ack.revision, now)
                    log.info("policy_applied", device_id=self.conversation.device_id, revision=request.ack.revision)
                case "nack":
                    await self.conversation.refuse(request.nack.nonce, tuple(request.nack.reasons), now)
                    log.warning("policy_refused", device_id=self.conversation.device_id, revision=request.nack.revision)
                case _:
                    problem = Problem("message", "must be ack or nack after hello")
                    raise InvalidError([problem], reason="ANSWER_EXPECTED")
            self._on_answer(self.conversation.device_id)
            self.wake()

    async def _talk(self, send: Send) -> None:
        while not self._closing.is_set():
            self._woken.clear()
            saying = await self.conversation.next(self._clock.now())
            if isinstance(saying, GoAway):
                self.close(saying)
                return
            if saying is not None:
                await send(self._speaker.say(saying))
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(FAREWELL if self.conversation.leaving else self._heartbeat.total_seconds()):
                await self._woken.wait()
        except TimeoutError:
            if self.conversation.leaving:
                self.close(GoAway(GoAwayReason.RETIRED))

    async def _say_farewell(self, send: Send, talker: "asyncio.Task[None]") -> None:
        await self._closing.wait()
        talker.cancel()
        await asyncio.gather(talker, return_exceptions=True)
        log.info("policy_stream_closed", device_id=self.conversation.device_id, reason=self._farewell.reason.value)
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await send(self._speaker.say(self._farewell))


class OpenStreams:
    """Know the one open stream of each device, and keep the data showing that it is open."""

    def __init__(self, deliveries: Deliveries, clock: Clock) -> None:
        self._deliveries = deliveries
        self._clock = clock
        self._streams: dict[str, PolicyStream] = {}
        self._draining = False

    @contextmanager
    def entered(self, stream: PolicyStream) -> Iterator[None]:
        """Count the stream as the device's while the block runs; an older one is sent away."""
        device_id = stream.conversation.device_id
        if older := self._streams.get(device_id):
            older.close(GoAway(GoAwayReason.SUPERSEDED))
        self._streams[device_id] = stream
        if self._draining:
            stream.close(_LEAVE)
        try:
            yield
        finally:
            if self._streams.get(device_id) is stream:
                del self._streams[device_id]

    def wake(self, device_ids: Iterable[str] | None) -> None:
        """Have the streams of these devices look for news; None: all streams."""
        for device_id in list(self._streams) if device_ids is None else device_ids:
            if stream := self._streams.get(device_id):
                stream.wake()

    async def drain(self) -> None:
        """Send everyone away, and everyone who comes yet, because this process ends."""
        self._draining = True
        for stream in list(self._streams.values()):
            stream.close(_LEAVE)

    def worker(self) -> Worker:
        """Return the worker that keeps the data true."""
        return Worker("hold_policy_streams", self.run)

    async def run(self) -> None:
        """Hold all streams well before their lease ends, for ever."""
        while True:
            await asyncio.sleep(HOLD_EVERY.total_seconds())
            await self.hold()

    async def hold(self) -> None:
        """Note of all streams that they are open; those of which a newer one is open in another process end."""
        streams = list(self._streams.values())
        for start in range(0, len(streams), HELD_AT_ONCE):
            part = streams[start : start + HELD_AT_ONCE]
            now = self._clock.now()
            steps = [(stream.conversation.device_id, stream.conversation.hold(now)) for stream in part]
            for stream, found in zip(part, await self._deliveries.change(steps), strict=True):
                if found.stream != stream.conversation.stream:
                    stream.close(GoAway(GoAwayReason.SUPERSEDED))
