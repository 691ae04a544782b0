"""Conclusions from attempts, for administrators: decode, ask, encode."""

from typing import Any

import grpc.aio

from epm.reporting.v1 import insights_pb2, insights_pb2_grpc
from services._chassis.errors import UnavailableError

Context = grpc.aio.ServicerContext[Any, Any]


class InsightsServicer(insights_pb2_grpc.InsightsServiceServicer):
    """Answer `epm.reporting.v1.InsightsService`."""

    async def GetOverview(
        self, request: insights_pb2.GetOverviewRequest, _context: Context
    ) -> insights_pb2.GetOverviewResponse:
        """Return what a console shows first."""
        raise UnavailableError("not built yet")

    async def GetTrend(self, request: insights_pb2.GetTrendRequest, _context: Context) -> insights_pb2.GetTrendResponse:
        """Count attempts by period."""
        raise UnavailableError("not built yet")

    async def ListUserApplications(
        self, request: insights_pb2.ListUserApplicationsRequest, _context: Context
    ) -> insights_pb2.ListUserApplicationsResponse:
        """Count attempts by user, device and application for each period."""
        raise UnavailableError("not built yet")

    async def ListReadiness(
        self, request: insights_pb2.ListReadinessRequest, _context: Context
    ) -> insights_pb2.ListReadinessResponse:
        """Tell who could do without administrator rights."""
        raise UnavailableError("not built yet")

    async def ListObstacles(
        self, request: insights_pb2.ListObstaclesRequest, _context: Context
    ) -> insights_pb2.ListObstaclesResponse:
        """List the applications that stand in the way."""
        raise UnavailableError("not built yet")
