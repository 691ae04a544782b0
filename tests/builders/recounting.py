"""Ask every report over gRPC, and hold it against a recount in another engine: row by row."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from epm.reporting.v1 import insights_pb2, insights_pb2_grpc, reports_pb2, reports_pb2_grpc
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.admin_servicer import ReportingServicer
from services.reporting.insights_servicer import InsightsServicer
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.insights import SqlInsights
from services.reporting.store.readiness import SqlReadiness
from services.reporting.store.reports import SqlReports
from services.reporting.store.stored import SqlStored
from services.reporting.watching import Watches
from tests.builders.doors import bearer, open_doors
from tests.builders.randomreports import TAGS
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW
from tests.fakes.reporting import enrolled
from tests.reference.reports import FILE, Asked, Recount

VIEW_REPORTS = "policy_authoring.view_reports"
PERIODS = {"day": insights_pb2.PERIOD_DAY, "month": insights_pb2.PERIOD_MONTH}
SUBJECTS = {"user": insights_pb2.READINESS_SUBJECT_USER, "device": insights_pb2.READINESS_SUBJECT_DEVICE}
VERDICTS = (insights_pb2.READINESS_READY, insights_pb2.READINESS_PARTLY, insights_pb2.READINESS_UNMANAGED)
MOST_PERIODS, MOST_TREND = 1000, 400
Filter = reports_pb2.ElevationFilter
Tags = frozenset[str] | None


@dataclass
class Desk:
    """Reporting behind its public door, with the sink beside it."""

    database: Database
    sink: DurableSink
    access: FakeAccess
    reports: Any
    insights: Any
    tokens: dict[Tags, str] = field(default_factory=dict)

    def metadata(self, tags: Tags) -> tuple[tuple[str, str], ...]:
        """Return what the calls of somebody carry who sees devices with these tags; None: all."""
        if tags not in self.tokens:
            name = f"user:reader-{len(self.tokens)}"
            self.tokens[tags] = self.access.grant(name, [VIEW_REPORTS], scope_tags=tags or ())
        return bearer(self.tokens[tags])


@asynccontextmanager
async def open_desk(url: str, folder: Path) -> AsyncIterator[Desk]:
    """Serve the reports on a database."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    await SqlDeviceRecords(database).remember([enrolled(name, *tags) for name, tags in TAGS.items()])
    sink, access = DurableSink.on(database.url), FakeAccess()
    watches = Watches(SqlStored(database), database.changes, monotonic=lambda: 0.0)
    reports = ReportingServicer(SqlReports(database), watches, access.control)
    insights = InsightsServicer(SqlInsights(database), SqlReadiness(database), lambda: NOW)
    add = [
        partial(reports_pb2_grpc.add_ReportingServiceServicer_to_server, reports),
        partial(insights_pb2_grpc.add_InsightsServiceServicer_to_server, insights),
    ]
    parts = ServiceParts(name="reporting", access=access.control, public=add)
    async with open_doors(folder, parts) as doors, doors.public() as channel:
        yield Desk(
            database,
            sink,
            access,
            reports_pb2_grpc.ReportingServiceStub(channel),
            insights_pb2_grpc.InsightsServiceStub(channel),
        )
    await sink.close()
    await database.close()


@dataclass
class Comparison:
    """One question of one administrator, and what the recount says to it."""

    desk: Desk
    everything_sent: Recount
    asked: Filter
    tags: Tags
    die: random.Random
    kept: bool = True
    """Whether all of the events are kept still, so that what was counted can be listed."""

    def __post_init__(self) -> None:
        """Ask the other engine."""
        self.recount: Asked = self.everything_sent.asked(self.asked, self.tags)

    async def everything(self) -> None:
        """Compare every report."""
        await self.lists()
        await self.overview()
        await self.trends()
        await self.user_applications()
        if not self.asked.HasField("managed"):
            await self.readiness()
            await self.obstacles()

    async def lists(self) -> None:
        """Compare attempts, the summary and the three counts, in every order."""
        await self._elevations()
        told = await self._call(self.desk.reports.SummarizeElevations, reports_pb2.SummarizeElevationsRequest())
        assert _summary(told) == self.recount.summary()
        for rpc, request, items, expected in (
            ("ListApplications", reports_pb2.ListApplicationsRequest, "applications", self.recount.applications()),
            ("ListPublishers", reports_pb2.ListPublishersRequest, "publishers", self.recount.publishers()),
            ("ListUsers", reports_pb2.ListUsersRequest, "users", self.recount.users()),
        ):
            order = self.die.choice(_ORDERS[rpc])
            rows = await self._walk(getattr(self.desk.reports, rpc), request(order_by=order), items)
            assert Counter(map(_ROWS[items], rows)) == Counter(expected), (rpc, order)
            _assert_ordered(rows, order or _ORDERS[rpc][-1])
            await self._drill(rows)

    async def overview(self) -> None:
        """Compare the tiles."""
        top, period = self.die.choice((1, 5, 100)), self.die.choice(list(PERIODS))
        request = insights_pb2.GetOverviewRequest(top=top, period=PERIODS[period])
        told = await self._call(self.desk.insights.GetOverview, request)
        total, managed, unmanaged, *_ = self.recount.summary()
        assert (told.total, told.managed, told.unmanaged) == (total, managed, unmanaged)
        assert managed + unmanaged == total
        assert _split(told.users) == self.recount.split('"user"')
        assert _split(told.devices) == self.recount.split("device_id")
        for kind in ("unmanaged", "approved", "denied"):
            rows, counts = getattr(told, f"frequently_{kind}"), self.recount.top(kind)
            assert [row.count for row in rows] == sorted(counts.values(), reverse=True)[:top], kind
            assert all(counts[_file(row), row.elevation_type] == row.count for row in rows), kind
            await self._drill(rows)
        self._assert_trend(told.trend, period, MOST_TREND)

    async def trends(self) -> None:
        """Compare both trends."""
        for period, number in PERIODS.items():
            told = await self._call(self.desk.insights.GetTrend, insights_pb2.GetTrendRequest(period=number))
            self._assert_trend(told.points, period, MOST_PERIODS)
            await self._drill(told.points)

    async def user_applications(self) -> None:
        """Compare counts by user, device and application."""
        period = self.die.choice(list(PERIODS))
        request = insights_pb2.ListUserApplicationsRequest(period=PERIODS[period])
        rows = await self._walk(self.desk.insights.ListUserApplications, request, "user_applications")
        told = [
            (
                _time(row.start), row.user, row.device_id, row.device_name, *_file(row.application),
                row.application.elevation_type, row.application.count,
            )
            for row in rows
        ]  # fmt: skip
        assert Counter(told) == Counter(self.recount.user_applications(period)), period
        order = [(-row[0].timestamp(), row[1].encode(), row[3].encode()) for row in told]
        assert order == sorted(order)
        await self._drill([row.application for row in rows])

    async def readiness(self) -> None:
        """Compare who could do without administrator rights."""
        for subject, number in SUBJECTS.items():
            verdicts = self.die.sample(VERDICTS, self.die.choice((0, 0, 1, 2)))
            request = insights_pb2.ListReadinessRequest(subject=number, readiness=verdicts)
            rows = await self._walk(self.desk.insights.ListReadiness, request, "entries")
            expected = [row for row in self.recount.readiness(subject) if not verdicts or _verdict(row) in verdicts]
            told = [
                (row.user or row.device_id, row.managed, row.unmanaged, row.administrator, row.obstacle_count)
                for row in rows
            ]
            assert told == [(row[0], *row[2:]) for row in expected], subject
            assert [row.readiness for row in rows] == [_verdict(row) for row in expected]
            for row in rows:
                assert not row.device_id or row.device_name in self.recount.last_names(row.device_id)
                assert len(row.obstacles) == min(row.obstacle_count, 5)
            page = await self._call(self.desk.insights.ListReadiness, request)
            assert _split(page.split) == self.recount.split('"user"' if subject == "user" else "device_id")
            await self._drill(rows)
            await self._drill([obstacle for row in rows for obstacle in row.obstacles])

    async def obstacles(self) -> None:
        """Compare what stands in the way."""
        rows = await self._walk(self.desk.insights.ListObstacles, insights_pb2.ListObstaclesRequest(), "obstacles")
        told = [
            (*_file(row.application), row.application.count, row.users, row.devices, row.users_freed) for row in rows
        ]
        assert told == self.recount.obstacles()
        for row in rows[: 3 if self.kept else 0]:
            assert row.attempt_id == self.recount.newest_of(_file(row.application))
        await self._drill([row.application for row in rows])

    async def _elevations(self) -> None:
        if not self.kept:
            return
        expected, order = self.recount.elevations(), self.die.choice(("", "occurred", "occurred desc"))
        rows = await self._walk(
            self.desk.reports.ListElevations, reports_pb2.ListElevationsRequest(order_by=order), "elevations"
        )
        told = [(row.attempt_id, row.device_id, row.device_name) for row in rows]
        assert told == (expected if order == "occurred" else expected[::-1]), order

    async def _drill(self, rows: Sequence[Any]) -> None:
        """Hold what some rows counted against the attempts that they lead to."""
        for row in self.die.sample(list(rows), min(2, len(rows)) if self.kept else 0):
            request = reports_pb2.ListElevationsRequest(drill_down=row.drill_down)
            found = await self._walk(self.desk.reports.ListElevations, request, "elevations")
            assert len(found) == _counted(row) == self.recount.within(row.drill_down), row

    def _assert_trend(self, points: Sequence[Any], period: str, most: int) -> None:
        counted = self.recount.periods(period)
        starts = self._starts(counted, period)[-most:]
        told = [(_time(one.start), one.total, one.managed, one.unmanaged) for one in points]
        assert told == [(start, *counted.get(start, (0, 0, 0))) for start in starts], period
        for one in points:
            assert one.managed + one.unmanaged == one.total
            assert (
                sum(each.count for each in one.results) == sum(each.count for each in one.elevation_types) == one.total
            )

    def _starts(self, counted: Iterable[datetime], period: str) -> list[datetime]:
        """Return every period from the first attempt, or the window's start, to the window's end, today or the last attempt."""
        starts = sorted(counted)
        first = _time(self.asked.occurred_from) if self.asked.HasField("occurred_from") else min(starts, default=None)
        if first is None:
            return []
        last = max([NOW, *starts])
        if self.asked.HasField("occurred_before"):
            last = min(last, _time(self.asked.occurred_before) - timedelta(microseconds=1))
        found, start = [], _start_of(first, period)
        while start <= last:
            found.append(start)
            start = _start_of(start + timedelta(days=1 if period == "day" else 31), period)
        return found

    async def _walk(self, rpc: Any, request: Any, items: str) -> list[Any]:
        request.page_size = self.die.choice((1000, 1000, 7, 100))
        found: list[Any] = []
        while True:
            page = await self._call(rpc, request)
            found += getattr(page, items)
            if not page.next_page_token:
                return found
            request.page_token, request.page_size = page.next_page_token, 1000

    async def _call(self, rpc: Any, request: Any) -> Any:
        request.filter.CopyFrom(self.asked)
        return await rpc(request, metadata=self.desk.metadata(self.tags))


_ORDERS = {
    "ListApplications": ("", "count", "file_name", "file_name desc", "company_name", "version desc", "count desc"),
    "ListPublishers": ("", "count", "publisher", "publisher desc", "count desc"),
    "ListUsers": ("", "total", "managed", "unmanaged desc", "user", "user desc", "total desc"),
}
"""The orders of each list; the last is that of an empty text."""

_ROWS: dict[str, Any] = {
    "applications": lambda row: (*_file(row), row.elevation_type, row.count),
    "publishers": lambda row: (row.publisher, row.elevation_type, row.count),
    "users": lambda row: (row.user, row.managed, row.unmanaged, row.total),
}


def _assert_ordered(rows: Sequence[Any], order: str) -> None:
    name, _, direction = order.partition(" ")
    values = [getattr(row, name) for row in rows]
    plain = [value.encode() if isinstance(value, str) else value for value in values]
    assert plain == sorted(plain, reverse=direction == "desc"), order


def _summary(told: Any) -> tuple[Any, ...]:
    results = {one.result: one.count for one in told.results}
    types = {one.elevation_type: one.count for one in told.elevation_types}
    return (told.total, told.managed, told.unmanaged, results, types)


def _counted(row: Any) -> int:
    """Return how many attempts a row tells of, whatever it calls that."""
    return int(
        row.count
        if isinstance(row, reports_pb2.ApplicationCount | reports_pb2.PublisherCount)
        else row.managed + row.unmanaged
    )


def _verdict(row: tuple[Any, ...]) -> int:
    managed, unmanaged = row[2], row[3]
    return VERDICTS[(0 if not unmanaged else 1) if managed else 2]


def _file(row: Any) -> tuple[str, ...]:
    return tuple(getattr(row, name) for name in FILE)


def _split(told: Any) -> tuple[int, int, int]:
    return (told.managed_only, told.both, told.unmanaged_only)


def _time(stamp: Any) -> datetime:
    found: datetime = stamp.ToDatetime(UTC)
    return found


def _start_of(time: datetime, period: str) -> datetime:
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if period == "day" else midnight.replace(day=1)
