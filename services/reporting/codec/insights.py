"""Read and write what draws conclusions from attempts."""

from dataclasses import replace

from epm.reporting.v1 import insights_pb2, reports_pb2
from services._chassis.errors import Problem
from services._chassis.times import time_to_proto
from services.reporting.codec.answers import application_to_proto, filter_to_proto, summary_to_proto
from services.reporting.codec.readiness import split_to_proto
from services.reporting.model.insights import Overview, Period, TrendPoint, UserApplicationCount
from services.reporting.model.reports import ApplicationCount, ElevationFilter, Question

_PERIODS = {
    insights_pb2.PERIOD_UNSPECIFIED: Period.DAY,
    insights_pb2.PERIOD_DAY: Period.DAY,
    insights_pb2.PERIOD_MONTH: Period.MONTH,
}
_UNKNOWN = Problem("period", "must be PERIOD_DAY or PERIOD_MONTH")


def period_from_proto(number: int, question: Question) -> tuple[Question, Period]:
    """Read the length of periods; one that cannot be read is told with everything else that is wrong with the question."""
    period = _PERIODS.get(number)  # type: ignore[call-overload]
    if period is None:
        return replace(question, unreadable=(*question.unreadable, _UNKNOWN)), Period.DAY
    return question, period


def overview_to_proto(found: Overview) -> insights_pb2.GetOverviewResponse:
    """Write an overview; what was counted of an application is found again with the kind that its list is about."""
    unmanaged = ElevationFilter(managed=False)
    approved = ElevationFilter(sources=("GRANT",), results=("ELEVATED",))
    denied = ElevationFilter(results=("DENIED",))
    tops = found.tiles.tops
    return insights_pb2.GetOverviewResponse(
        total=found.counts.total,
        managed=found.counts.managed,
        unmanaged=found.counts.unmanaged,
        users=split_to_proto(found.tiles.users),
        devices=split_to_proto(found.tiles.devices),
        frequently_unmanaged=[_among(unmanaged, one) for one in tops.unmanaged],
        frequently_approved=[_among(approved, one) for one in tops.approved],
        frequently_denied=[_among(denied, one) for one in tops.denied],
        trend=map(point_to_proto, found.trend),
    )


def point_to_proto(found: TrendPoint) -> insights_pb2.TrendPoint:
    """Write what was counted in one period."""
    counts = summary_to_proto(found.counts)
    return insights_pb2.TrendPoint(
        start=time_to_proto(found.start),
        total=counts.total,
        managed=counts.managed,
        unmanaged=counts.unmanaged,
        elevation_types=counts.elevation_types,
        results=counts.results,
        drill_down=filter_to_proto(found.window),
    )


def user_application_to_proto(found: UserApplicationCount) -> insights_pb2.UserApplicationCount:
    """Write what one user did with one application on one device in one period."""
    return insights_pb2.UserApplicationCount(
        start=time_to_proto(found.stretch.start),
        user=found.user,
        device_id=found.device_id,
        device_name=found.device_name,
        application=_application(found.application, found.drill_down),
    )


def _among(kind: ElevationFilter, found: ApplicationCount) -> reports_pb2.ApplicationCount:
    return _application(
        found, replace(found.drill_down, managed=kind.managed, sources=kind.sources, results=kind.results)
    )


def _application(found: ApplicationCount, drill_down: ElevationFilter) -> reports_pb2.ApplicationCount:
    message = application_to_proto(found)
    message.drill_down.CopyFrom(filter_to_proto(drill_down))
    return message
