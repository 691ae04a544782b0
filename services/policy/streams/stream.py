"""One policy stream of a device.

- The device says hello first and is welcomed; what it is offered then is the conversation's business.
- Each stream speaks in its call's own task, so that a device that reads slowly holds nobody up. Changes that come while it
  is busy are one change when it is done. One more task hears the device; thousands of streams are idle in few objects.
- A device that is retired is told so within `LAST_WORDS` of what it is to read or answer, whether or not it does, and within
  `LAST_CALL` where the server is slow itself; one that is cut, at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from epm.policy.v1 import agent_pb2
from services._chassis.errors import InvalidError, Problem, ServiceError, UnavailableError
from services._chassis.hello import message_with_hello
from services._chassis.logging import get_logger
from services.policy.codec.agent import hello_from_proto, welcome_to_proto
from services.policy.codec.requests import outcome_to_proto
from services.policy.model.delivery import GoAwayReason
from services.policy.streams.manners import Manners
from services.policy.usecases.delivery import Conversation
from services.policy.usecases.hello import Hello, check_hello
from services.policy.usecases.requests.post import CAPABILITY as OUTCOMES
from services.policy.usecases.sayings import GoAway, UpToDate

PATIENCE = 30.0
"""Seconds that a device has to say hello: until then its streams do not supersede one another."""

FAREWELL = 5.0
"""Seconds that a device has to read why its stream ends."""

LAST_WORDS = 0.5
"""Seconds that a retired device has to take the document without settings, and to answer it."""

LAST_CALL = 5.0
"""Seconds that a busy server has to make that document, and to keep the answer."""

CUT = 0.2
"""Seconds that a device has to read why its stream ends, if it has lost its credentials."""

THROTTLED = 1.0
"""Seconds that a device has to hang up after it was asked to come later."""

LEAVE = GoAway(GoAwayReason.DRAINING, timedelta(seconds=30))
"""Said by a process that ends; its devices spread their return."""

Send = Callable[[agent_pb2.StreamPolicyResponse], Awaitable[None]]
Requests = AsyncIterator[agent_pb2.StreamPolicyRequest]

log = get_logger("policy.streams")


class PolicyStream:
    """Hold one stream of one device."""

    def __init__(self, conversation: Conversation, manners: Manners, *, serial: str = "") -> None:
        self.conversation = conversation
        self.serial = serial
        """Serial number of the certificate that opened it."""
        self.run_id = ""
        self._manners = manners
        self._woken = asyncio.Event()
        self._confirms = True
        """Whether the device is due a word where it holds the newest document."""
        self._closing = False
        self._talking: asyncio.Timeout | None = None
        self._ending: GoAway | ServiceError = LEAVE
        self._patience = FAREWELL
        self._last_words: asyncio.TimerHandle | None = None
        self._latest: float | None = None
        """When the stream of a retired device ends, whatever there is yet to say."""
        self._sending = False
        self._silent = False
        self._hears = False
        """Whether the device understands what becomes of its requests."""
        self._told: int | None = None
        """Number of the last outcome that it was told. None: nobody has looked yet."""

    def wake(self) -> None:
        """Look soon whether there is something new to say, and confirm what the device holds if there is not."""
        self._confirms = True
        self.look()

    def look(self) -> None:
        """Look soon whether there is something new to say."""
        self._woken.set()
        self._hurry()

    def close(self, ending: GoAway | ServiceError, *, patience: float = FAREWELL) -> None:
        """Say that the stream is to be closed, if the device reads it within so many seconds, and end it."""
        if self._closing:
            return
        self._closing, self._ending, self._patience = True, ending, patience
        self._interrupt()

    async def hear(self, requests: Requests, *, patience: float = PATIENCE) -> Hello:
        """Hear the hello.

        Raises InvalidError where anything else comes first, or nothing in time; DeniedError for another device.
        """
        hello = hello_from_proto((await message_with_hello(requests, patience=patience)).hello)
        check_hello(hello, self.conversation.device_id)
        self.run_id = hello.run_id
        return hello

    async def greet(self, send: Send) -> None:
        """Answer the hello."""
        await send(self._welcome())

    async def run(self, hello: Hello, requests: Requests, send: Send) -> None:
        """Talk until the device or the server ends the stream. Raises a ServiceError for a device that breaks the rules."""
        try:
            await self._begin(hello)
            await self._converse(requests, send)
        finally:  # also of one that broke off while it began; its first step may be on its way to the disk
            with suppress(UnavailableError):
                await self.conversation.end(self._manners.clock.now())

    async def _begin(self, hello: Hello) -> None:
        device_id = self.conversation.device_id
        self._hears = OUTCOMES in hello.capabilities
        if await self.conversation.begin(hello, self._manners.clock.now()):
            log.warning("policy_stream_alternates", device_id=device_id, run_id=hello.run_id)
            self._manners.on_clone(device_id)
        self._manners.on_answer(self.conversation.delivery)  # the hello may tell what an answer that was lost did not
        self._manners.log.debug(
            "policy_stream_opened",
            device_id=device_id,
            agent_version=hello.agent_version,
            revision=hello.revision,
        )

    async def _converse(self, requests: Requests, send: Send) -> None:
        reader = asyncio.create_task(self._read(requests))
        reader.add_done_callback(lambda _: self._interrupt())
        try:
            await self._talk(send, reader)
            if self._closing:
                await self._say_farewell(send)
            else:
                reader.result()
        finally:
            if self._last_words is not None:
                self._last_words.cancel()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, requests: Requests) -> None:
        async for request in requests:
            now = self._manners.clock.now()
            match request.WhichOneof("message"):
                case "ack":
                    await self.conversation.acknowledge(request.ack.nonce, request.ack.revision, now)
                    self._manners.log.debug(
                        "policy_applied", device_id=self.conversation.device_id, revision=request.ack.revision
                    )
                case "nack":
                    nack = request.nack
                    await self.conversation.refuse(
                        nack.nonce, tuple(nack.reasons), now, revision=nack.revision, temporary=nack.temporary
                    )
                    log.warning("policy_refused", device_id=self.conversation.device_id, revision=nack.revision)
                case "outcomes_kept":
                    # A number that was not told here is of another life of the data, and confirms nothing.
                    await self._manners.mail.keep(
                        self.conversation.device_id, min(request.outcomes_kept.sequence, self._told or 0)
                    )
                    continue
                case _:
                    problem = Problem("message", "must be ack, nack or outcomes_kept after hello")
                    raise InvalidError([problem], reason="ANSWER_EXPECTED")
            self._manners.on_answer(self.conversation.delivery)
            if self.conversation.resumes:
                self.look()  # but confirm nothing: what a device has just applied it knows to be the newest

    async def _talk(self, send: Send, reader: "asyncio.Task[None]") -> None:
        """Say what there is to say until the stream is to be closed or nobody is heard any more."""
        try:
            async with asyncio.timeout(None) as self._talking:
                while not self._is_over(reader):
                    self._woken.clear()
                    await self._say_next(send)
                    await self._pause()
        except (TimeoutError, ServiceError):
            if not self._is_over(reader):
                raise
        finally:
            self._talking = None

    def _is_over(self, reader: "asyncio.Task[None]") -> bool:
        return self._closing or reader.done()

    async def _say_next(self, send: Send) -> None:
        confirms, self._confirms = self._confirms, False
        saying = await self.conversation.next(self._manners.clock.now(), confirms=confirms)
        if isinstance(saying, UpToDate) and await self._manners.calm():
            saying = await self.conversation.next(self._manners.clock.now())
        if isinstance(saying, GoAway):
            self.close(saying)
            return
        self._hurry()
        if saying is not None:
            await self._send(send, self._manners.speaker.say(saying))
        elif self._silent:
            await self._send(send, self._welcome())
        if self._hears and not self.conversation.leaving:
            await self._tell_outcomes(send)

    async def _tell_outcomes(self, send: Send) -> None:
        """Tell what became of requests, after the document that follows from it."""
        anew, told = self._told is None, self._told or 0
        found = await self._manners.mail.look(self.conversation.device_id, told, anew=anew)
        self._told = told
        for outcome in found:
            self._told = outcome.sequence
            await self._send(send, outcome_to_proto(outcome))

    async def _send(self, send: Send, message: agent_pb2.StreamPolicyResponse) -> None:
        self._sending = True
        try:
            await send(message)
        finally:
            self._sending = False

    async def _pause(self) -> None:
        """Wait until there may be something to say: something new, or that nothing is."""
        silence = self._manners.silence(self.conversation.stale_after)
        self._silent = False
        alarm = asyncio.get_running_loop().call_later(silence, self._break_silence)
        try:
            await self._woken.wait()
        finally:
            alarm.cancel()

    def _break_silence(self) -> None:
        self._silent = self._confirms = True
        self._woken.set()

    def _welcome(self) -> agent_pb2.StreamPolicyResponse:
        """Greet the device, or show it that the server lives."""
        return welcome_to_proto(self._manners.clock.now(), self._manners.heartbeat)

    def _interrupt(self) -> None:
        """End what is being waited for, also where the device does not read what is being sent."""
        talking, self._talking = self._talking, None
        if talking is not None:
            talking.reschedule(0)

    def _hurry(self) -> None:
        """Give a device that has lost its credentials little time to read and to answer, and more to a server that is slow."""
        if not self.conversation.leaving:
            return
        loop = asyncio.get_running_loop()
        if self._latest is None:
            self._latest = loop.time() + LAST_CALL
        waits = self._sending or self.conversation.waits
        end = min(self._latest, loop.time() + LAST_WORDS) if waits else self._latest
        if self._last_words is not None:
            if waits and self._last_words.when() <= end:
                return
            self._last_words.cancel()
        self._last_words = loop.call_at(end, partial(self.close, GoAway(GoAwayReason.RETIRED), patience=CUT))

    async def _say_farewell(self, send: Send) -> None:
        ending = self._ending
        reason = ending.reason if isinstance(ending, ServiceError) else ending.reason.value
        log.info("policy_stream_closed", device_id=self.conversation.device_id, reason=reason)
        if isinstance(ending, ServiceError):
            raise ending
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await send(self._manners.speaker.say(ending))
