"""Readiness and obstacles, over TLS and with tokens: the same on SQLite and PostgreSQL."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

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
from tests.builders.counts import MIDNIGHT
from tests.builders.doors import bearer, open_doors
from tests.builders.refusals import refusal_of
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.reporting import batch, decided, enrolled, unmanaged

VIEW_REPORTS = "policy_authoring.view_reports"
REQUESTS: dict[str, Any] = {
    "ListReadiness": insights_pb2.ListReadinessRequest,
    "ListObstacles": insights_pb2.ListObstaclesRequest,
    "ListElevations": reports_pb2.ListElevationsRequest,
}
MINE = ("ListReadiness", "ListObstacles")
DEVICE = insights_pb2.READINESS_SUBJECT_DEVICE
Filter = reports_pb2.ElevationFilter
Ask = Callable[..., Awaitable[Any]]


class Office:
    """Insights and reports behind their public door."""

    def __init__(self, database: Database, sink: DurableSink) -> None:
        self.access, self.sink, self.records = FakeAccess(), sink, SqlDeviceRecords(database)
        self.stubs: tuple[Any, ...] = ()

    def reader(self, *tags: str, right: str = VIEW_REPORTS) -> Ask:
        """Return how somebody asks who has the right on devices with these tags."""
        token = self.access.grant(f"user:{right}-{'-'.join(tags)}", [right], scope_tags=tags)

        async def ask(rpc: str, **fields: Any) -> Any:
            stub = next(stub for stub in self.stubs if hasattr(stub, rpc))
            return await getattr(stub, rpc)(REQUESTS[rpc](**fields), metadata=bearer(token))

        return ask


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    made = Office(database, DurableSink.on(database.url, database.changes.announce))
    watches = Watches(SqlStored(database), database.changes, monotonic=time.monotonic)
    insights = InsightsServicer(SqlInsights(database), SqlReadiness(database), lambda: MIDNIGHT)
    reports = ReportingServicer(SqlReports(database), watches, made.access.control)
    adding = [
        partial(insights_pb2_grpc.add_InsightsServiceServicer_to_server, insights),
        partial(reports_pb2_grpc.add_ReportingServiceServicer_to_server, reports),
    ]
    parts = ServiceParts(name="reporting", access=made.access.control, public=adding)
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        made.stubs = (insights_pb2_grpc.InsightsServiceStub(channel), reports_pb2_grpc.ReportingServiceStub(channel))
        yield made
    await made.sink.close()
    await database.close()


async def fill(office: Office) -> None:
    """Store what alice and bob did on two devices, some of it later than the rest."""
    other = {"path": "C:\\Setup\\other.exe", "version": "2"}
    later = MIDNIGHT + timedelta(days=3)
    first = [decided(1, at=MIDNIGHT), unmanaged(2, at=MIDNIGHT, user="bob"), unmanaged(3, at=later, user="bob")]
    second = [unmanaged(4, at=MIDNIGHT, user="bob", file=other), decided(5, at=later, user="bob", file=other)]
    await office.sink.store([batch(first), batch(second, device="d2")])


@pytest.mark.parametrize("rpc", MINE)
async def test_it_takes_the_right_to_view_reports_and_no_other_will_do(office: Office, rpc: str) -> None:
    await office.reader()(rpc)
    refused = await refusal_of(office.reader(right="policy_authoring.read")(rpc))
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")


async def test_entries_say_all_that_there_is_to_say_of_users_and_of_devices(office: Office) -> None:
    await fill(office)
    ask = office.reader()
    alice, bob = (await ask("ListReadiness")).entries
    assert (alice.user, alice.readiness, alice.managed) == ("alice", insights_pb2.READINESS_READY, 1)
    assert (bob.user, bob.readiness, bob.administrator) == ("bob", insights_pb2.READINESS_PARTLY, True)
    assert [(each.file_name, each.version, each.count, each.publisher) for each in bob.obstacles] == [
        ("setup.exe", "1.2", 2, "Example"),
        ("other.exe", "2", 1, "Example"),
    ]
    assert bob.obstacle_count == 2
    listed = await ask("ListReadiness", subject=DEVICE, readiness=[insights_pb2.READINESS_PARTLY], page_size=1)
    (device,) = listed.entries
    assert (device.user, device.device_id, device.device_name) == ("", "d2", "name-of-d2")
    assert listed.split == insights_pb2.ReadinessSplit(both=2)
    assert listed.next_page_token


async def counted(ask: Ask, asked: reports_pb2.ElevationFilter, drill_down: reports_pb2.ElevationFilter) -> int:
    """Return how many attempts both filters list."""
    return len((await ask("ListElevations", filter=asked, drill_down=drill_down)).elevations)


@pytest.mark.parametrize("tags", [(), ("emea",)])
async def test_what_each_row_counted_is_listed_by_its_drill_down(office: Office, tags: tuple[str, ...]) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "emea", "apac")])
    await fill(office)
    ask = office.reader(*tags)
    asked = Filter()
    asked.occurred_before.FromDatetime(MIDNIGHT + timedelta(days=1))
    for about in (asked, Filter()):
        for subject in (DEVICE, insights_pb2.READINESS_SUBJECT_USER):
            for entry in (await ask("ListReadiness", filter=about, subject=subject)).entries:
                assert await counted(ask, about, entry.drill_down) == entry.managed + entry.unmanaged
                for each in entry.obstacles:
                    assert await counted(ask, about, each.drill_down) == each.count
        obstacles = (await ask("ListObstacles", filter=about)).obstacles
        assert len(obstacles) == 2
        for obstacle in obstacles:
            assert await counted(ask, about, obstacle.application.drill_down) == obstacle.application.count


async def test_obstacles_say_whom_they_free_and_continue_where_the_page_before_ended(office: Office) -> None:
    await fill(office)
    ask = office.reader()
    first = await ask("ListObstacles", page_size=1)
    second = await ask("ListObstacles", page_size=1, page_token=first.next_page_token)
    told = [
        (each.application.file_name, each.users, each.devices, each.users_freed, each.attempt_id)
        for each in (*first.obstacles, *second.obstacles)
    ]
    assert told == [("other.exe", 1, 1, 0, "attempt-4"), ("setup.exe", 1, 1, 0, "attempt-3")]
    assert second.next_page_token == ""


async def test_everything_that_is_wrong_is_told_at_once(office: Office) -> None:
    ask = office.reader()
    wrong = {"filter": Filter(managed=False, sha256s=["x"]), "page_size": -1}
    refused = await refusal_of(ask("ListReadiness", subject=9, readiness=[0], **wrong))
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.fields == {"subject", "readiness", "filter.managed", "filter.sha256s", "page_size"}
    refused = await refusal_of(ask("ListObstacles", **wrong))
    assert refused.fields == {"filter.managed", "filter.sha256s", "page_size"}
    refused = await refusal_of(ask("ListReadiness", page_token="forged"))
    assert refused.reason == "PAGE_TOKEN_INVALID"
