"""The reports that can be written as files, and how to walk over each."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from google.protobuf.message import Message

from epm.reporting.v1 import insights_pb2, reports_pb2
from services._chassis.paging import LARGEST_SIZE, Page
from services.reporting import insights, readiness, usecases
from services.reporting.codec import answers
from services.reporting.codec.insights import user_application_to_proto
from services.reporting.codec.readiness import obstacles_to_proto, readiness_to_proto
from services.reporting.model.readiness import ReadinessQuestion
from services.reporting.model.reports import ORDERS
from services.reporting.ports import Insights, ReadinessReports, Reports
from services.reporting.reportexport.walks import Ask, Order, Walk, attempts_walk, list_walk, trend_walk
from services.reporting.store.snapshots import SqlSnapshots

Entry = TypeVar("Entry")
Verb = Callable[..., Awaitable[Page[Entry]]]
"""Lists counts, page by page, in some order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What answers the questions that reports are made of."""

    snapshots: SqlSnapshots
    reports: Reports
    insights: Insights
    readiness: ReadinessReports
    now: Callable[[], datetime]


def walks_of(sources: Sources) -> Mapping[str, Walk]:
    """Return the walk over each report, by the word of its kind."""
    return {
        "ELEVATIONS": attempts_walk(sources.snapshots),
        "APPLICATIONS": list_walk(
            reports_pb2.ApplicationCount.DESCRIPTOR,
            _counts(sources, usecases.list_applications, answers.application_to_proto),
            ORDERS["applications"],
        ),
        "PUBLISHERS": list_walk(
            reports_pb2.PublisherCount.DESCRIPTOR,
            _counts(sources, usecases.list_publishers, answers.publisher_to_proto),
            ORDERS["publishers"],
        ),
        "USERS": list_walk(
            reports_pb2.UserCount.DESCRIPTOR,
            _counts(sources, usecases.list_users, answers.user_to_proto),
            ORDERS["users"],
        ),
        "USER_APPLICATIONS": list_walk(
            insights_pb2.UserApplicationCount.DESCRIPTOR, partial(_user_applications, sources.insights)
        ),
        "TREND": trend_walk(sources.insights, sources.now),
        "READINESS": list_walk(insights_pb2.ReadinessEntry.DESCRIPTOR, partial(_readiness, sources.readiness)),
        "OBSTACLES": list_walk(insights_pb2.Obstacle.DESCRIPTOR, partial(_obstacles, sources.readiness)),
    }


def _counts(sources: Sources, verb: Verb[Entry], encode: Callable[[Entry], Message]) -> Ask:
    async def ask(order: Order, token: str) -> tuple[Sequence[Message], str]:
        page = await verb(
            sources.reports, order.now(), page_size=LARGEST_SIZE, page_token=token, order_by=order.order_by
        )
        return list(map(encode, page.items)), page.next_token

    return ask


async def _user_applications(source: Insights, order: Order, token: str) -> tuple[Sequence[Message], str]:
    page = await insights.list_user_applications(
        source, order.now(), period=order.period, page_size=LARGEST_SIZE, page_token=token
    )
    return list(map(user_application_to_proto, page.items)), page.next_token


async def _readiness(source: ReadinessReports, order: Order, token: str) -> tuple[Sequence[Message], str]:
    asked = ReadinessQuestion(order.now(), order.subject, frozenset())
    found = await readiness.list_readiness(source, asked, page_size=LARGEST_SIZE, page_token=token)
    return readiness_to_proto(found).entries, found.page.next_token


async def _obstacles(source: ReadinessReports, order: Order, token: str) -> tuple[Sequence[Message], str]:
    page = await readiness.list_obstacles(source, order.now(), page_size=LARGEST_SIZE, page_token=token)
    return obstacles_to_proto(page).obstacles, page.next_token
