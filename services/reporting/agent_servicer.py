"""Events from devices: who speaks is who the certificate says."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio

from epm.reporting.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.caller import current_caller
from services._chassis.clock import Clock
from services.reporting.codec.unreadable import request_from_bytes
from services.reporting.model.credit import START
from services.reporting.model.devices import Device
from services.reporting.open_streams import OpenStreams
from services.reporting.streams import EventStream
from services.reporting.workers import GroupCommitWriter

Admit = Callable[[str, str], Awaitable[Device]]
"""Lets in a device with the certificate of this serial number."""
SERVICE_NAME = agent_pb2.DESCRIPTOR.services_by_name["EventStreamService"].full_name
Context = grpc.aio.ServicerContext[agent_pb2.StreamEventsRequest, agent_pb2.StreamEventsResponse]


class EventStreamServicer(agent_pb2_grpc.EventStreamServiceServicer):
    """Answer `epm.reporting.v1.EventStreamService`."""

    def __init__(
        self, admit: Admit, streams: OpenStreams, writer: GroupCommitWriter, clock: Clock, *, credit: int = START
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
            stream.follow(await self._admit(device_id, serial))  # it may have been retired before it said hello
            await stream.run(request_iterator, context.write)


def add_to_server(servicer: EventStreamServicer, server: grpc.aio.Server) -> None:
    """Serve as generated code does, but for how requests are read: one event that cannot be does not block the others."""
    handlers = {
        "StreamEvents": grpc.stream_stream_rpc_method_handler(
            servicer.StreamEvents,
            request_deserializer=request_from_bytes,
            response_serializer=agent_pb2.StreamEventsResponse.SerializeToString,
        )
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))
    server.add_registered_method_handlers(SERVICE_NAME, handlers)
