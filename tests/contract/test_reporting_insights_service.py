"""What administrators get from the service of insights, over TLS and with tokens: the same on SQLite and PostgreSQL."""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from epm.elevation.v1 import event_pb2, rules_pb2
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
from tests.fakes.reporting import SHA256, batch, decided, enrolled, unmanaged

VIEW_REPORTS = "policy_authoring.view_reports"
OTHER_RIGHTS = ("policy_authoring.read", "elevation_requests.view", "devices.read", "audit.read")
ONE_DAY = timedelta(days=1)
Filter = reports_pb2.ElevationFilter
QUESTIONS: dict[str, Any] = {
    "GetOverview": insights_pb2.GetOverviewRequest,
    "GetTrend": insights_pb2.GetTrendRequest,
    "ListUserApplications": insights_pb2.ListUserApplicationsRequest,
    "ListElevations": reports_pb2.ListElevationsRequest,
}
MINE = ("GetOverview", "GetTrend", "ListUserApplications")
Call = Callable[..., Awaitable[Any]]


@dataclass
class Office:
    """Insights and reports behind their public door, and who may ask for them."""

    access: FakeAccess
    sink: DurableSink
    records: SqlDeviceRecords
    stubs: tuple[insights_pb2_grpc.InsightsServiceStub, reports_pb2_grpc.ReportingServiceStub]

    def reader(self, *tags: str) -> Call:
        """Return how an administrator asks who may view the reports on devices with these tags."""
        return self.caller(self.access.grant(f"user:reader-of-{'-'.join(tags)}", [VIEW_REPORTS], scope_tags=tags))

    def caller(self, token: str) -> Call:
        """Return how the owner of the token asks: by the name of the RPC and the fields of the request."""

        async def ask(rpc: str, **fields: Any) -> Any:
            stub = next(stub for stub in self.stubs if hasattr(stub, rpc))
            return await getattr(stub, rpc)(QUESTIONS[rpc](**fields), metadata=bearer(token))

        return ask


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    sink, access = DurableSink.on(database.url, database.changes.announce), FakeAccess()
    watches = Watches(SqlStored(database), database.changes, monotonic=time.monotonic)
    insights = InsightsServicer(SqlInsights(database), SqlReadiness(database), lambda: MIDNIGHT + 2 * ONE_DAY)
    reports = ReportingServicer(SqlReports(database), watches, access.control)
    adding = [
        partial(insights_pb2_grpc.add_InsightsServiceServicer_to_server, insights),
        partial(reports_pb2_grpc.add_ReportingServiceServicer_to_server, reports),
    ]
    parts = ServiceParts(name="reporting", access=access.control, public=adding)
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        stubs = (insights_pb2_grpc.InsightsServiceStub(channel), reports_pb2_grpc.ReportingServiceStub(channel))
        yield Office(access, sink, SqlDeviceRecords(database), stubs)
    await sink.close()
    await database.close()


@pytest.mark.parametrize("rpc", MINE)
async def test_every_insight_needs_the_right_to_view_reports_and_no_other_will_do(office: Office, rpc: str) -> None:
    await office.reader()(rpc)
    refused = await refusal_of(office.caller(office.access.grant("user:author", OTHER_RIGHTS))(rpc))
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")
    assert (await refusal_of(office.caller("epm_nobody")(rpc))).code == "UNAUTHENTICATED"


async def test_a_caller_draws_conclusions_from_devices_within_the_scope_alone(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    mine = [decided(1, user="alice", at=MIDNIGHT), unmanaged(2, user="bob", at=MIDNIGHT)]
    others = [unmanaged(number, user="alice", at=MIDNIGHT - ONE_DAY) for number in (3, 4, 5)]
    await office.sink.store([batch(mine), batch(others, device="d2")])
    ask = office.reader("emea")
    found = await ask("GetOverview")
    assert (found.total, found.managed, found.unmanaged) == (2, 1, 1)
    assert found.users == insights_pb2.ReadinessSplit(managed_only=1, unmanaged_only=1)
    assert found.devices == insights_pb2.ReadinessSplit(both=1)
    assert [one.count for one in found.frequently_unmanaged] == [1]
    assert [point.total for point in (await ask("GetTrend")).points] == [2, 0, 0]
    listed = (await ask("ListUserApplications")).user_applications
    assert [(one.user, one.application.count) for one in listed] == [("alice", 1), ("bob", 1)]
    assert (await office.reader()("GetOverview")).users == insights_pb2.ReadinessSplit(both=1, unmanaged_only=1)


async def test_conclusions_are_written_as_the_contract_names_them(office: Office) -> None:
    granted = decided(
        1, at=MIDNIGHT, source=event_pb2.SOURCE_GRANT, elevation_type=rules_pb2.ELEVATION_TYPE_SUPPORT_APPROVED
    )
    await office.sink.store([batch([granted, unmanaged(2, at=MIDNIGHT + ONE_DAY)], name="ws-17")])
    ask = office.reader()
    found = await ask("GetOverview", top=1, period=insights_pb2.PERIOD_MONTH)
    assert [one.total for one in found.trend] == [2]
    [approved] = found.frequently_approved
    assert (approved.file_name, approved.version, approved.company_name) == ("setup.exe", "1.2", "Example")
    assert (approved.sha256, approved.publisher, approved.count) == (SHA256, "Example", 1)
    assert approved.elevation_type == rules_pb2.ELEVATION_TYPE_SUPPORT_APPROVED
    first, second, third = (await ask("GetTrend", period=insights_pb2.PERIOD_DAY)).points
    assert first.start.ToDatetime(MIDNIGHT.tzinfo) == MIDNIGHT
    assert (first.managed, first.unmanaged, second.managed, second.unmanaged, third.total) == (1, 0, 0, 1, 0)
    assert [(one.result, one.count) for one in second.results] == [(event_pb2.ATTEMPT_RESULT_NOT_MANAGED, 1)]
    assert [(one.elevation_type, one.count) for one in second.elevation_types] == [(0, 1)]
    newest, oldest = (await ask("ListUserApplications")).user_applications
    assert (newest.start.ToDatetime(MIDNIGHT.tzinfo), newest.user) == (MIDNIGHT + ONE_DAY, "alice")
    assert (oldest.device_id, oldest.device_name, oldest.application.publisher) == ("d1", "ws-17", "Example")


async def test_whatever_was_counted_is_listed_by_its_drill_down(office: Office) -> None:
    denied: dict[str, Any] = {"outcome": event_pb2.OUTCOME_DENY, "result": event_pb2.ATTEMPT_RESULT_DENIED}
    blank = {"path": "C:\\b.exe", "sha256": "", "version": "", "company_name": ""}
    events = [
        decided(1, at=MIDNIGHT),
        unmanaged(2, at=MIDNIGHT),
        unmanaged(3, user="bob", at=MIDNIGHT + ONE_DAY, file=blank),
        decided(4, source=event_pb2.SOURCE_GRANT, at=MIDNIGHT + ONE_DAY, file=blank),
        decided(5, source=event_pb2.SOURCE_GRANT, at=MIDNIGHT, file=blank, **denied),
    ]
    await office.sink.store([batch(events), batch([decided(6, at=MIDNIGHT, **denied)], device="d2", name="name-of-d1")])
    ask = office.reader()
    asked = Filter(users=["alice", "bob"])
    asked.occurred_before.FromDatetime(MIDNIGHT + ONE_DAY + timedelta(hours=1))
    overview = await ask("GetOverview", filter=asked)
    tops = (*overview.frequently_unmanaged, *overview.frequently_approved, *overview.frequently_denied)
    listed = (await ask("ListUserApplications", filter=asked)).user_applications
    counted = [(one.drill_down, one.count) for one in (*tops, *(one.application for one in listed))]
    counted += [(point.drill_down, point.total) for point in overview.trend]
    assert len(tops) == 5
    assert len(listed) == 6
    for drill_down, count in counted:
        found = await ask("ListElevations", filter=asked, drill_down=drill_down)
        assert len(found.elevations) == count, drill_down


@pytest.mark.parametrize("rpc", MINE)
async def test_everything_that_is_wrong_with_a_question_is_told_at_once(office: Office, rpc: str) -> None:
    fields: dict[str, Any] = {"filter": Filter(users=["a\0b"]), "period": 9}
    named = {"filter.users", "period"}
    if rpc == "GetOverview":
        fields["top"], named = -1, named | {"top"}
    if rpc == "ListUserApplications":
        fields |= {"page_size": -1, "page_token": "nonsense"}
        named |= {"page_size", "page_token"}
    refused = await refusal_of(office.reader()(rpc, **fields))
    assert (refused.code, set(refused.problems)) == ("INVALID_ARGUMENT", named)


async def test_a_page_token_belongs_to_its_filter_and_period(office: Office) -> None:
    await office.sink.store([batch([decided(1, at=MIDNIGHT), decided(2, at=MIDNIGHT + ONE_DAY)])])
    ask = partial(office.reader(), "ListUserApplications", page_size=1)
    token = (await ask()).next_page_token
    assert [one.application.count for one in (await ask(page_token=token)).user_applications] == [1]
    for other in ({"period": insights_pb2.PERIOD_MONTH}, {"filter": Filter(managed=True)}):
        assert (await refusal_of(ask(page_token=token, **other))).reason == "PAGE_TOKEN_INVALID"


async def test_the_top_is_five_by_default_and_a_hundred_at_most(office: Office) -> None:
    files = [{"path": f"C:\\tool-{number:03}.exe"} for number in range(120)]
    await office.sink.store([batch([unmanaged(number, file=file) for number, file in enumerate(files, 1)])])
    for asked, expected in ((0, 5), (7, 7), (1000, 100)):
        found = (await office.reader()("GetOverview", top=asked)).frequently_unmanaged
        assert [one.file_name for one in found] == [f"tool-{number:03}.exe" for number in range(expected)]


@pytest.mark.parametrize("day", [-1, 10_000_000, 2**63 - 1])
async def test_a_page_token_with_a_day_that_no_calendar_has_is_refused(office: Office, day: int) -> None:
    await office.sink.store([batch([decided(number, user=f"user-{number}") for number in (1, 2)])])
    for period in (insights_pb2.PERIOD_DAY, insights_pb2.PERIOD_MONTH):
        ask = partial(office.reader(), "ListUserApplications", page_size=1, period=period)
        fingerprint, as_of, _, *rest = json.loads(urlsafe_b64decode((await ask()).next_page_token + "==="))
        forged = urlsafe_b64encode(json.dumps([fingerprint, as_of, day, *rest]).encode()).decode()
        assert (await refusal_of(ask(page_token=forged))).reason == "PAGE_TOKEN_INVALID"
