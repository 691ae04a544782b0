"""Conclusions from attempts, for administrators: decode, ask, encode."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import grpc.aio

from epm.reporting.v1 import insights_pb2, insights_pb2_grpc, reports_pb2
from services._chassis.caller import current_permit
from services.reporting import insights
from services.reporting.codec import insights as codec
from services.reporting.codec.questions import question_from_proto
from services.reporting.codec.readiness import (
    obstacles_to_proto,
    readiness_question_from_proto,
    readiness_to_proto,
)
from services.reporting.model.groups import NO_GROUPS, Memberships
from services.reporting.model.insights import Period
from services.reporting.model.reports import Question
from services.reporting.ports import Insights, ReadinessReports
from services.reporting.readiness import list_obstacles, list_readiness
from services.reporting.turns import Turns, in_turn

Context = grpc.aio.ServicerContext[Any, Any]


class InsightsServicer(insights_pb2_grpc.InsightsServiceServicer):
    """Answer `epm.reporting.v1.InsightsService`."""

    def __init__(
        self,
        insights: Insights,
        readiness: ReadinessReports,
        now: Callable[[], datetime],
        groups: Memberships = NO_GROUPS,
        *,
        turns: Turns | None = None,
    ) -> None:
        self._insights = insights
        self._readiness = readiness
        self._now = now
        self._groups = groups
        self.turns = turns or Turns()

    @in_turn
    async def GetOverview(
        self, request: insights_pb2.GetOverviewRequest, _context: Context
    ) -> insights_pb2.GetOverviewResponse:
        """Return what a console shows first."""
        question, period = self._asked(request.filter, request.period)
        found = await insights.get_overview(self._insights, question, top=request.top, period=period, now=self._now())
        return codec.overview_to_proto(found)

    @in_turn
    async def GetTrend(self, request: insights_pb2.GetTrendRequest, _context: Context) -> insights_pb2.GetTrendResponse:
        """Count attempts by period."""
        question, period = self._asked(request.filter, request.period)
        points = await insights.get_trend(self._insights, question, period=period, now=self._now())
        return insights_pb2.GetTrendResponse(points=map(codec.point_to_proto, points))

    @in_turn
    async def ListUserApplications(
        self, request: insights_pb2.ListUserApplicationsRequest, _context: Context
    ) -> insights_pb2.ListUserApplicationsResponse:
        """Count attempts by user, device and application for each period."""
        question, period = self._asked(request.filter, request.period)
        page = await insights.list_user_applications(
            self._insights, question, period=period, page_size=request.page_size, page_token=request.page_token
        )
        return insights_pb2.ListUserApplicationsResponse(
            user_applications=map(codec.user_application_to_proto, page.items), next_page_token=page.next_token
        )

    @in_turn
    async def ListReadiness(
        self, request: insights_pb2.ListReadinessRequest, _context: Context
    ) -> insights_pb2.ListReadinessResponse:
        """Tell who could do without administrator rights."""
        found = await list_readiness(
            self._readiness,
            readiness_question_from_proto(request, current_permit().visible_tags(), self._groups),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return readiness_to_proto(found)

    @in_turn
    async def ListObstacles(
        self, request: insights_pb2.ListObstaclesRequest, _context: Context
    ) -> insights_pb2.ListObstaclesResponse:
        """List the applications that stand in the way."""
        found = await list_obstacles(
            self._readiness,
            self._question(request.filter),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return obstacles_to_proto(found)

    def _asked(self, message: reports_pb2.ElevationFilter, period: int) -> tuple[Question, Period]:
        return codec.period_from_proto(period, self._question(message))

    def _question(self, message: reports_pb2.ElevationFilter) -> Question:
        return question_from_proto(message, current_permit().visible_tags(), groups=self._groups)
