"""Events from devices: who speaks is who the certificate says."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc.aio

from epm.reporting.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.caller import current_caller
from services._chassis.clock import Clock
from services.reporting.model.devices import Device
from services.reporting.streams import CREDIT, EventStream, OpenStreams
from services.reporting.workers import GroupCommitWriter

Admit = Callable[[str, str], Awaitable[Device]]
"""Lets in a device with the certificate of this serial number."""
Context = grpc.aio.ServicerContext[agent_pb2.StreamEventsRequest, agent_pb2.StreamEventsResponse]


class EventStreamServicer(agent_pb2_grpc.EventStreamServiceServicer):
    """Answer `epm.reporting.v1.EventStreamService`."""

    def __init__(
        self, admit: Admit, streams: OpenStreams, writer: GroupCommitWriter, clock: Clock, *, credit: int = CREDIT
    ) -> None:
        self._admit = admit
        self._streams = streams
        self._writer = writer
        self._clock = clock
        self._credit = credit

    async def StreamEvents(  # type: ignore[override]
        self, request_iterator: AsyncIterator[agent_pb2.StreamEventsRequest], context: Context
    ) -> None:
        """Hold one device's event stream."""
        device_id, serial = current_caller().device_id, current_caller().certificate_serial
        with self._streams.greeting(device_id):
            device = await self._admit(device_id, serial)
            stream = EventStream(device, serial=serial, writer=self._writer, clock=self._clock, credit=self._credit)
            await stream.greet(request_iterator, context.write)
        with self._streams.entered(stream):
            stream.device = await self._admit(device_id, serial)  # it may have been retired before it said hello
            await stream.run(request_iterator, context.write)
