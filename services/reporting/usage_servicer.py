"""What other services need to know of attempts: decode, ask, encode."""

from typing import Any

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from epm.reporting.v1 import usage_pb2, usage_pb2_grpc
from services._chassis.errors import InvalidError, Problem
from services._chassis.times import time_from_proto, time_to_proto
from services.reporting.model.events import datetime_of, microseconds
from services.reporting.model.rollups import DAY, day_of
from services.reporting.model.usage import Usage
from services.reporting.ports import UsageReports


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    """Answer `epm.reporting.v1.UsageService`."""

    def __init__(self, reports: UsageReports) -> None:
        self._reports = reports

    async def GetUsage(
        self, request: usage_pb2.GetUsageRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> usage_pb2.GetUsageResponse:
        """Return how often rules decided, and which files were approved more than once."""
        if not request.HasField("occurred_from"):
            raise InvalidError([Problem("occurred_from", "must be given: the time from whose day on usage is told")])
        start = time_from_proto("occurred_from", request.occurred_from)
        return _usage_to_proto(await self._reports.usage(day_of(microseconds(start))))


def _usage_to_proto(found: Usage) -> usage_pb2.GetUsageResponse:
    return usage_pb2.GetUsageResponse(
        counted_from=None if found.counted_from is None else _day(found.counted_from),
        rules=(
            usage_pb2.RuleUsage(
                policy=each.policy, rule=each.rule, attempts=each.attempts, last_day=_day(each.last_day)
            )
            for each in found.rules
        ),
        more_rules=found.more_rules,
        approved_files=(
            usage_pb2.ApprovedFile(
                sha256=each.sha256, file_name=each.file_name, attempts=each.attempts, users=each.users
            )
            for each in found.approved_files
        ),
    )


def _day(day: int) -> Timestamp | None:
    return time_to_proto(datetime_of(day * DAY))
