"""Exports for other systems: decode, hand over, encode."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc.aio

from epm.reporting.v1 import export_pb2, export_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_caller, current_permit
from services._chassis.errors import InvalidError, Problem
from services.reporting.codec.exported import consumer_to_proto, exported_to_proto, kinds_from_proto
from services.reporting.codec.intake import time_from_proto
from services.reporting.codec.questions import question_from_proto
from services.reporting.consumers import ConsumerDesk
from services.reporting.exporting import Exports, Hello
from services.reporting.model.groups import NO_GROUPS, Memberships
from services.reporting.model.live import ConsumerState
from services.reporting.reportexport.contract import order_from_proto, portion_to_proto
from services.reporting.reportexport.serving import ReportExports

PATIENCE = 10.0
"""Seconds that the hello is waited for."""

Requests = AsyncIterator[export_pb2.ExportEventsRequest]
Context = grpc.aio.ServicerContext[export_pb2.ExportEventsRequest, export_pb2.ExportEventsResponse]


class ExportServicer(export_pb2_grpc.ExportServiceServicer):
    """Answer `epm.reporting.v1.ExportService`."""

    def __init__(
        self,
        exports: Exports,
        files: ReportExports,
        consumers: ConsumerDesk,
        access: AccessControl,
        *,
        groups: Memberships = NO_GROUPS,
        patience: float = PATIENCE,
    ) -> None:
        self._exports = exports
        self._files = files
        self._consumers = consumers
        self._access = access
        self._groups = groups
        self._patience = patience

    async def ExportEvents(self, request_iterator: Requests, context: Context) -> None:  # type: ignore[override]
        """Hand events over to one consumer, as long as the caller has the right."""
        caller, right = current_caller(), current_permit().right
        said = await self._hello(request_iterator)
        asked = question_from_proto(said.filter, current_permit().visible_tags(), groups=self._groups)
        check = partial(self._access.check, caller.principal, right, caller.groups)
        await self._exports.serve(
            Hello(caller.principal, said.consumer, asked, *kinds_from_proto(said.kinds)),
            _acks(request_iterator),
            lambda passage: context.write(exported_to_proto(passage)),
            lambda: check().visible_tags(),
        )

    async def ListConsumers(
        self, request: export_pb2.ListConsumersRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> export_pb2.ListConsumersResponse:
        """List the caller's consumers by name."""
        principal, tags = current_caller().principal, current_permit().visible_tags()
        page = await self._consumers.listed(principal, tags, page_size=request.page_size, page_token=request.page_token)
        consumers = [self._consumer(principal, state) for state in page.items]
        return export_pb2.ListConsumersResponse(consumers=consumers, next_page_token=page.next_token)

    async def RewindConsumer(
        self, request: export_pb2.RewindConsumerRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> export_pb2.RewindConsumerResponse:
        """Set one of the caller's consumers to a time."""
        principal, tags = current_caller().principal, current_permit().visible_tags()
        time = time_from_proto(request.received_from) if request.HasField("received_from") else None
        state = await self._consumers.rewind(principal, request.name, time, tags=tags)
        return export_pb2.RewindConsumerResponse(consumer=self._consumer(principal, state))

    async def DeleteConsumer(
        self, request: export_pb2.DeleteConsumerRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> export_pb2.DeleteConsumerResponse:
        """Forget one of the caller's consumers."""
        await self._consumers.delete(current_caller().principal, request.name)
        return export_pb2.DeleteConsumerResponse()

    def _consumer(self, principal: str, state: ConsumerState) -> export_pb2.Consumer:
        return consumer_to_proto(state, connected=(principal, state.name) in self._exports.open)

    async def ExportReport(self, request: export_pb2.ExportReportRequest, context: Any) -> None:  # type: ignore[override]
        """Write a report as a file, as long as the caller has the right."""
        caller, right = current_caller(), current_permit().right
        check = partial(self._access.check, caller.principal, right, caller.groups)
        await self._files.serve(
            caller.principal,
            order_from_proto(request, lambda: check().visible_tags(), self._groups),
            lambda portion: context.write(portion_to_proto(portion)),
        )

    async def _hello(self, requests: Requests) -> export_pb2.ExportHello:
        try:
            async with asyncio.timeout(self._patience):
                async for first in requests:
                    if first.HasField("hello"):
                        return first.hello
                    break
        except TimeoutError:
            pass
        raise InvalidError([Problem("hello", "must come first, and soon")])


async def _acks(requests: Requests) -> AsyncIterator[str]:
    async for request in requests:
        if not request.HasField("ack"):
            raise InvalidError([Problem("ack", "is all that may come after the hello")])
        yield request.ack.cursor
