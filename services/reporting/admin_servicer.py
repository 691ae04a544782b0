"""Reports for administrators: decode, ask, encode."""

from contextlib import aclosing
from functools import partial
from typing import Any, TypedDict

import grpc.aio

from epm.reporting.v1 import reports_pb2, reports_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_caller, current_permit
from services.reporting import usecases
from services.reporting.codec import answers
from services.reporting.codec.questions import question_from_proto
from services.reporting.model.groups import NO_GROUPS, Memberships
from services.reporting.model.reports import Question
from services.reporting.ports import Reports
from services.reporting.turns import Turns, in_turn
from services.reporting.watching import Watches


class ReportingServicer(reports_pb2_grpc.ReportingServiceServicer):
    """Answer `epm.reporting.v1.ReportingService`."""

    def __init__(
        self,
        reports: Reports,
        watches: Watches,
        access: AccessControl,
        groups: Memberships = NO_GROUPS,
        *,
        turns: Turns | None = None,
    ) -> None:
        self._reports = reports
        self._watches = watches
        self._access = access
        self._groups = groups
        self.turns = turns or Turns()

    @in_turn
    async def ListElevations(
        self, request: reports_pb2.ListElevationsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> reports_pb2.ListElevationsResponse:
        """List attempts."""
        drill_down = request.drill_down if request.HasField("drill_down") else None
        asked = self._question(request.filter, drill_down)
        page = await usecases.list_elevations(self._reports, asked, **_paged(request))
        return reports_pb2.ListElevationsResponse(
            elevations=map(answers.elevation_to_proto, page.items), next_page_token=page.next_token
        )

    async def WatchElevations(  # type: ignore[override]
        self, request: reports_pb2.WatchElevationsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Stream attempts as they are stored, as long as the caller has the right."""
        caller = current_caller()
        check = partial(self._access.check, caller.principal, current_permit().right, caller.groups)
        asked = self._question(request.filter)
        watching = self._watches.watch(
            asked, request.cursor, lambda: check().visible_tags(), principal=caller.principal
        )
        async with aclosing(watching) as watch:
            async for passage in watch:
                await self._watches.taken(context.write(answers.passage_to_proto(passage)))

    @in_turn
    async def GetElevation(
        self, request: reports_pb2.GetElevationRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> reports_pb2.GetElevationResponse:
        """Return one attempt."""
        found = await usecases.get_elevation(self._reports, request.attempt_id, current_permit().visible_tags())
        return reports_pb2.GetElevationResponse(elevation=answers.elevation_to_proto(found))

    @in_turn
    async def SummarizeElevations(
        self, request: reports_pb2.SummarizeElevationsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> reports_pb2.SummarizeElevationsResponse:
        """Count attempts."""
        return answers.summary_to_proto(await usecases.summarize(self._reports, self._question(request.filter)))

    @in_turn
    async def ListApplications(
        self, request: reports_pb2.ListApplicationsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> reports_pb2.ListApplicationsResponse:
        """Count attempts by application."""
        page = await usecases.list_applications(self._reports, self._question(request.filter), **_paged(request))
        return reports_pb2.ListApplicationsResponse(
            applications=map(answers.application_to_proto, page.items), next_page_token=page.next_token
        )

    @in_turn
    async def ListPublishers(
        self, request: reports_pb2.ListPublishersRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> reports_pb2.ListPublishersResponse:
        """Count attempts by publisher."""
        page = await usecases.list_publishers(self._reports, self._question(request.filter), **_paged(request))
        return reports_pb2.ListPublishersResponse(
            publishers=map(answers.publisher_to_proto, page.items), next_page_token=page.next_token
        )

    @in_turn
    async def ListUsers(
        self, request: reports_pb2.ListUsersRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> reports_pb2.ListUsersResponse:
        """Count attempts by user."""
        page = await usecases.list_users(self._reports, self._question(request.filter), **_paged(request))
        return reports_pb2.ListUsersResponse(
            users=map(answers.user_to_proto, page.items), next_page_token=page.next_token
        )

    def _question(
        self, message: reports_pb2.ElevationFilter, drill_down: reports_pb2.ElevationFilter | None = None
    ) -> Question:
        return question_from_proto(message, current_permit().visible_tags(), drill_down, groups=self._groups)


class _Paged(TypedDict):
    page_size: int
    page_token: str
    order_by: str


def _paged(
    request: reports_pb2.ListElevationsRequest
    | reports_pb2.ListApplicationsRequest
    | reports_pb2.ListPublishersRequest
    | reports_pb2.ListUsersRequest,
) -> _Paged:
    return {"page_size": request.page_size, "page_token": request.page_token, "order_by": request.order_by}
