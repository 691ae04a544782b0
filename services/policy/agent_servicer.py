"""Policy to devices: who speaks is who the certificate says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import grpc
import grpc.aio

from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.caller import current_caller
from services._chassis.errors import DeniedError, InvalidError
from services._chassis.hello import message_with_hello
from services.policy.open_streams import OpenStreams
from services.policy.streams.manners import Manners
from services.policy.streams.stream import FAREWELL, THROTTLED, PolicyStream, Requests, Send
from services.policy.usecases.admission import NOT_ENROLLED
from services.policy.usecases.delivery import Conversation, is_owed_farewell
from services.policy.usecases.hello import Hello
from services.policy.usecases.sayings import Throttle

COMPRESSED_FROM = 256 * 1024
"""Bytes of a document from which on it is compressed: what is smaller costs more time than it saves."""

Admit = Callable[[str, str], Awaitable[object]]
"""Lets in a device with the certificate of this serial number."""
NewConversation = Callable[[str], Conversation]
Context = grpc.aio.ServicerContext[agent_pb2.StreamPolicyRequest, agent_pb2.StreamPolicyResponse]


class PolicyStreamServicer(agent_pb2_grpc.PolicyStreamServiceServicer):
    """Answer `epm.policy.v1.PolicyStreamService`."""

    def __init__(
        self, admit: Admit, new_conversation: NewConversation, streams: OpenStreams, *, manners: Manners
    ) -> None:
        self._admit = admit
        self._new_conversation = new_conversation
        self._streams = streams
        self._manners = manners

    async def StreamPolicy(  # type: ignore[override]
        self, request_iterator: AsyncIterator[agent_pb2.StreamPolicyRequest], context: Context
    ) -> None:
        """Hold one device's policy stream."""
        device_id, serial = current_caller().device_id, current_caller().certificate_serial
        send = _compressing(context)
        with self._streams.greeting(device_id) as throttle:
            if throttle is not None:
                await self._turn_away(throttle, request_iterator, send)
                return
            refusal = await self._refusal(device_id, serial)
            stream = PolicyStream(self._new_conversation(device_id), self._manners, serial=serial)
            hello = await _heard(stream, request_iterator, refusal)
            refusal = await self._refusal(device_id, serial)  # it may have been retired before it said hello
            if refusal is not None and not is_owed_farewell(hello):
                raise refusal
            await stream.greet(send)
        with self._streams.entered(stream):
            await stream.run(hello, request_iterator, send)

    async def _refusal(self, device_id: str, serial: str) -> DeniedError | None:
        """Return why a retired device is let in no more, for it may be owed a farewell. Raises what refuses any other."""
        try:
            await self._admit(device_id, serial)
        except DeniedError as error:
            if error.reason != NOT_ENROLLED:
                raise
            return error
        return None

    async def _turn_away(
        self, throttle: Throttle, requests: AsyncIterator[agent_pb2.StreamPolicyRequest], send: Send
    ) -> None:
        """Ask the device to come later, and let it finish its hello: a call that ends in mid-sentence tells it less."""
        await send(self._manners.speaker.say(throttle))
        with suppress(InvalidError):
            await message_with_hello(requests, patience=THROTTLED)


async def _heard(stream: PolicyStream, requests: Requests, refusal: DeniedError | None) -> Hello:
    """Hear the hello. Raises the refusal for a device that is to say something and does not."""
    if refusal is None:
        return await stream.hear(requests)
    try:
        return await stream.hear(requests, patience=FAREWELL)
    except InvalidError:
        raise refusal from None


def _compressing(context: Context) -> Send:
    """Return what sends messages: large documents compressed, as far as the device can read that, the rest as it is."""
    context.set_compression(grpc.Compression.Gzip)

    async def send(message: agent_pb2.StreamPolicyResponse) -> None:
        if len(message.offer.document) < COMPRESSED_FROM:
            context.disable_next_message_compression()
        await context.write(message)

    return send
