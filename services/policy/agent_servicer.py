"""Policy to devices: who speaks is who the certificate says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import grpc.aio

from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.caller import current_caller
from services._chassis.clock import Clock
from services.policy.codec.agent import Speaker
from services.policy.streams import HEARTBEAT, OpenStreams, PolicyStream
from services.policy.usecases.delivery import Conversation

Admit = Callable[[str], Awaitable[object]]
NewConversation = Callable[[str], Conversation]
Context = grpc.aio.ServicerContext[agent_pb2.StreamPolicyRequest, agent_pb2.StreamPolicyResponse]


class PolicyStreamServicer(agent_pb2_grpc.PolicyStreamServiceServicer):
    """Answer `epm.policy.v1.PolicyStreamService`."""

    def __init__(
        self,
        admit: Admit,
        new_conversation: NewConversation,
        streams: OpenStreams,
        *,
        speaker: Speaker,
        on_answer: Callable[[str], None],
        clock: Clock,
        heartbeat: timedelta = HEARTBEAT,
    ) -> None:
        self._admit = admit
        self._new_conversation = new_conversation
        self._streams = streams
        self._speaker = speaker
        self._on_answer = on_answer
        self._clock = clock
        self._heartbeat = heartbeat

    async def StreamPolicy(  # type: ignore[override]
        self, request_iterator: AsyncIterator[agent_pb2.StreamPolicyRequest], context: Context
    ) -> None:
        """Hold one device's policy stream."""
        device_id = current_caller().device_id
        await self._admit(device_id)
        stream = PolicyStream(
            self._new_conversation(device_id),
            speaker=self._speaker,
            clock=self._clock,
            on_answer=self._on_answer,
            heartbeat=self._heartbeat,
        )
        hello = await stream.greet(request_iterator, context.write)
        await self._admit(device_id)  # it may have been retired before it said hello
        with self._streams.entered(stream):
            await stream.run(hello, request_iterator, context.write)
