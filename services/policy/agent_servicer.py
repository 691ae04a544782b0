"""Policy to devices: who speaks is who the certificate says."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc.aio

from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.caller import current_caller
from services.policy.streams import OpenStreams, PolicyStream

Admit = Callable[[str], Awaitable[object]]
NewStream = Callable[[str], PolicyStream]
Context = grpc.aio.ServicerContext[agent_pb2.StreamPolicyRequest, agent_pb2.StreamPolicyResponse]


class PolicyStreamServicer(agent_pb2_grpc.PolicyStreamServiceServicer):
    """Answer `epm.policy.v1.PolicyStreamService`."""

    def __init__(self, admit: Admit, new_stream: NewStream, streams: OpenStreams) -> None:
        self._admit = admit
        self._new_stream = new_stream
        self._streams = streams

    async def StreamPolicy(  # type: ignore[override]
        self, request_iterator: AsyncIterator[agent_pb2.StreamPolicyRequest], context: Context
    ) -> None:
        """Hold one device's policy stream."""
        device_id = current_caller().device_id
        await self._admit(device_id)
        stream = self._new_stream(device_id)
        hello = await stream.greet(request_iterator, context.write)
        await self._admit(device_id)  # it may have been retired before it said hello
        with self._streams.entered(stream):
            await stream.run(hello, request_iterator, context.write)
