"""What administrators get from the reporting service, over TLS and with tokens: the same on SQLite and PostgreSQL."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from elevation.model import Group, GroupType
from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2, reports_pb2_grpc
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.admin_servicer import ReportingServicer
from services.reporting.model.devices import Directory, KnownGroup
from services.reporting.model.groups import DirectoryMemberships
from services.reporting.model.reports import ALTERNATIVES, MOST_VALUES, ORDERS
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.reports import SqlReports
from services.reporting.store.sink import DurableSink
from services.reporting.store.stored import SqlStored
from services.reporting.watching import Watches
from tests.builders.doors import bearer, open_doors
from tests.builders.refusals import refusal_of
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW
from tests.fakes.reporting import SHA256, batch, completed, decided, enrolled, unmanaged

VIEW_REPORTS = "policy_authoring.view_reports"
OTHER_RIGHTS = ("policy_authoring.read", "elevation_requests.view", "devices.read", "audit.read")
Filter = reports_pb2.ElevationFilter
LISTS: dict[str, Any] = {
    "ListElevations": reports_pb2.ListElevationsRequest,
    "ListApplications": reports_pb2.ListApplicationsRequest,
    "ListPublishers": reports_pb2.ListPublishersRequest,
    "ListUsers": reports_pb2.ListUsersRequest,
}
QUESTIONS: dict[str, Any] = {
    **LISTS,
    "SummarizeElevations": reports_pb2.SummarizeElevationsRequest,
    "GetElevation": partial(reports_pb2.GetElevationRequest, attempt_id="attempt-1"),
}
Call = Callable[..., Awaitable[Any]]


LAB = Group("lab", GroupType.DEVICE, ("name-of-d2",))
PEOPLE = Group("people", GroupType.USER, ("bob",))


def directory(*groups: Group) -> Directory:
    """Return a directory of three devices and these groups, which devices of `emea` and `default` see."""
    known = Directory()
    tags = frozenset({"default", "emea"})
    known.replace(
        {device_id: enrolled(device_id) for device_id in ("d1", "d2", "d3")},
        {group.name: KnownGroup(group, tags) for group in groups},
    )
    return known


@dataclass
class Office:
    """Reporting behind its public door, and who may ask it."""

    access: FakeAccess
    sink: DurableSink
    records: SqlDeviceRecords
    stub: reports_pb2_grpc.ReportingServiceStub

    def reader(self, *tags: str) -> Call:
        """Return how an administrator asks who may view the reports on devices with these tags."""
        return self.caller(self.access.grant(f"user:reader-of-{'-'.join(tags)}", [VIEW_REPORTS], scope_tags=tags))

    def caller(self, token: str) -> Call:
        """Return how the owner of the token asks: by the name of the RPC and the fields of the request."""

        async def ask(rpc: str, **fields: Any) -> Any:
            return await getattr(self.stub, rpc)(QUESTIONS[rpc](**fields), metadata=bearer(token))

        return ask


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    sink, access = DurableSink.on(database.url, database.changes.announce), FakeAccess()
    watches = Watches(SqlStored(database), database.changes, monotonic=time.monotonic)
    groups = DirectoryMemberships(directory(LAB, PEOPLE))
    servicer = ReportingServicer(SqlReports(database), watches, access.control, groups)
    add = partial(reports_pb2_grpc.add_ReportingServiceServicer_to_server, servicer)
    parts = ServiceParts(name="reporting", access=access.control, public=[add])
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        yield Office(access, sink, SqlDeviceRecords(database), reports_pb2_grpc.ReportingServiceStub(channel))
    await watches.guests.idle()
    await sink.close()
    await database.close()


async def walk(ask: Call, rpc: str, items: str, **fields: Any) -> list[Any]:
    """Return everything that a list has, page by page."""
    found: list[Any] = []
    token = ""
    while True:
        page = await ask(rpc, page_token=token, **fields)
        found += getattr(page, items)
        if not (token := page.next_page_token):
            return found


async def test_an_attempt_is_shown_as_its_device_told_it_with_the_exit_code(office: Office) -> None:
    told = decided(1, arguments=["/silent"], justification="needed", reason="rule setup elevates", policy_revision=3)
    await office.sink.store([batch([told, completed(2, "attempt-1", exit_code=-7)], name="ws-17")])
    shown = (await office.reader()("GetElevation", attempt_id="attempt-1")).elevation
    assert shown.decided == told.decided
    assert (shown.attempt_id, shown.device_id, shown.device_name) == ("attempt-1", "d1", "ws-17")
    assert (shown.occurred.ToDatetime(NOW.tzinfo), shown.exit_code) == (NOW, -7)
    assert shown.received.ToDatetime(NOW.tzinfo) == NOW + timedelta(seconds=1)


async def test_an_exit_code_of_zero_is_told_apart_from_an_unknown_one(office: Office) -> None:
    await office.sink.store([batch([decided(1), decided(2), completed(3, "attempt-2", exit_code=0)])])
    found = await walk(office.reader(), "ListElevations", "elevations")
    assert [(one.attempt_id, one.HasField("exit_code")) for one in found] == [("attempt-2", True), ("attempt-1", False)]


@pytest.mark.parametrize("rpc", QUESTIONS)
async def test_every_report_needs_the_right_to_view_reports_and_no_other_will_do(office: Office, rpc: str) -> None:
    await office.sink.store([batch([decided(1)])])
    await office.reader()(rpc)
    refused = await refusal_of(office.caller(office.access.grant("user:author", OTHER_RIGHTS))(rpc))
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")
    assert (await refusal_of(office.caller("epm_nobody")(rpc))).code == "UNAUTHENTICATED"


async def test_a_caller_sees_only_devices_that_share_a_scope_tag(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac"), enrolled("d3")])
    events = [batch([decided(number, user=f"user-{number}")], device=f"d{number}") for number in (1, 2, 3)]
    await office.sink.store(events)
    for tag, number in {"emea": 1, "apac": 2, "default": 3}.items():
        ask = office.reader(tag)
        assert [one.device_id for one in await walk(ask, "ListElevations", "elevations")] == [f"d{number}"]
        assert [one.user for one in await walk(ask, "ListUsers", "users")] == [f"user-{number}"]
        assert [one.count for one in await walk(ask, "ListApplications", "applications")] == [1]
        assert [one.count for one in await walk(ask, "ListPublishers", "publishers")] == [1]
        assert (await ask("SummarizeElevations")).total == 1
    assert (await office.reader()("SummarizeElevations")).total == 3


async def test_the_scope_is_that_of_the_assignment_that_grants_the_right(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    await office.sink.store([batch([decided(number)], device=f"d{number}") for number in (1, 2)])
    office.access.grant("user:alice", ["devices.read"])
    ask = office.caller(office.access.grant("user:alice", [VIEW_REPORTS], scope_tags=["emea"]))
    assert [one.device_id for one in await walk(ask, "ListElevations", "elevations")] == ["d1"]


async def test_what_may_not_be_seen_and_what_is_not_there_look_the_same(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea")])
    await office.sink.store([batch([decided(1)])])
    ask = office.reader("apac")
    hidden = await refusal_of(ask("GetElevation", attempt_id="attempt-1"))
    assert (hidden.code, hidden.reason) == ("NOT_FOUND", "NOT_FOUND")
    for attempt_id in ("attempt-2", "", "a\0b"):
        assert await refusal_of(ask("GetElevation", attempt_id=attempt_id)) == hidden
    assert (await office.reader("emea")("GetElevation", attempt_id="attempt-1")).elevation.device_id == "d1"


async def test_pages_have_the_size_that_was_asked_for_fifty_by_default_and_a_thousand_at_most(office: Office) -> None:
    await office.sink.store([batch([decided(number) for number in range(1, 1003)])])
    ask = office.reader()
    for asked, expected in ((0, 50), (1, 1), (5000, 1000)):
        assert len((await ask("ListElevations", page_size=asked)).elevations) == expected
    found = [one.attempt_id for one in await walk(ask, "ListElevations", "elevations", page_size=400)]
    assert found == [f"attempt-{number}" for number in range(1002, 0, -1)]


async def test_events_too_large_for_one_message_are_spread_over_pages(office: Office) -> None:
    await office.sink.store([batch([decided(number, reason="x" * 250_000) for number in range(1, 31)])])
    found = [one.attempt_id for one in await walk(office.reader(), "ListElevations", "elevations")]
    assert found == [f"attempt-{number}" for number in range(30, 0, -1)]


@pytest.mark.parametrize("rpc", LISTS)
async def test_a_page_token_of_another_question_is_refused(office: Office, rpc: str) -> None:
    files = [{"path": f"C:\\{name}.exe", "publisher": name} for name in ("a", "b")]
    await office.sink.store([batch([decided(1, user="a", file=files[0]), decided(2, user="b", file=files[1])])])
    ask = office.reader()
    token = (await ask(rpc, page_size=1)).next_page_token
    assert token
    others = [(rpc, {"filter": Filter(managed=True)}), *((other, {}) for other in LISTS if other != rpc)]
    for other, fields in others:
        refused = await refusal_of(ask(other, page_size=1, page_token=token, **fields))
        assert (refused.code, refused.reason, [*refused.problems]) == (
            "INVALID_ARGUMENT",
            "PAGE_TOKEN_INVALID",
            ["page_token"],
        )
    for broken in ("nonsense", "!", token[:-4], token + "AAAA"):
        assert [*(await refusal_of(ask(rpc, page_token=broken))).problems] == ["page_token"]


async def test_everything_that_is_wrong_with_a_question_is_told_at_once(office: Office) -> None:
    asked = Filter(
        elevation_types=[99],  # type: ignore[list-item]
        results=[event_pb2.ATTEMPT_RESULT_UNSPECIFIED, 77],  # type: ignore[list-item]
        users=[f"user-{number}" for number in range(MOST_VALUES + 1)],
        devices=["a\0b"],
        policies=["p\0"],
        rules=["r\0"],
        publishers=[f"publisher-{number}" for number in range(MOST_VALUES + 1)],
        sha256s=["ab"],
        file_names=["f\0"],
        sources=[55],  # type: ignore[list-item]
        device_ids=["d\0"],
        internal_names=["i\0"],
        versions=["v\0"],
        company_names=["c\0"],
        device_groups=["nothing"],
        user_groups=["all-devices"],
    )
    asked.occurred_from.seconds = 2**60
    asked.occurred_before.nanos = -1
    ask = office.reader()
    named = {f"filter.{name}" for name in (*ALTERNATIVES, "occurred_from", "occurred_before")}
    for rpc in LISTS:
        fields = {"filter": asked, "page_size": -1, "page_token": "nonsense", "order_by": "colour"}
        refused = await refusal_of(ask(rpc, **fields))
        assert refused.code == "INVALID_ARGUMENT"
        assert refused.problems.keys() == {*named, "page_size", "page_token", "order_by"}
    refused = await refusal_of(ask("ListElevations", filter=asked, drill_down=asked))
    assert refused.problems.keys() == named | {name.replace("filter", "drill_down") for name in named}
    assert (await refusal_of(ask("SummarizeElevations", filter=asked))).problems.keys() == named


@pytest.mark.parametrize("asked", ["filter", "drill_down"])
async def test_a_group_that_the_caller_does_not_see_is_as_unknown_as_one_that_is_not_there(
    office: Office, asked: str
) -> None:
    await office.records.remember([enrolled("d2", "apac", "emea")])
    await office.sink.store([batch([decided(1)], device="d2")])
    narrow = {asked: Filter(device_groups=["lab", "nothing"], user_groups=["people"])}
    refused = await refusal_of(office.reader("apac")("ListElevations", **narrow))
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.problems == {
        f"{asked}.device_groups": 'names device groups that are not there: "lab", "nothing"; list the groups for those there are',
        f"{asked}.user_groups": 'names a user group that is not there: "people"; list the groups for those there are',
    }
    refused = await refusal_of(office.reader("emea")("ListElevations", **narrow))
    assert refused.problems == {
        f"{asked}.device_groups": 'names a device group that is not there: "nothing"; list the groups for those there are',
    }


async def test_a_group_shows_nothing_of_devices_that_the_caller_does_not_see(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    await office.sink.store(
        [batch([decided(1, user="bob")], device="d1"), batch([decided(2, user="bob")], device="d2")]
    )
    ask = office.reader("emea")
    assert (await ask("SummarizeElevations", filter=Filter(device_groups=["lab"]))).total == 0
    assert (await ask("SummarizeElevations", filter=Filter(user_groups=["people"]))).total == 1


async def test_a_span_that_ends_before_it_begins_is_refused(office: Office) -> None:
    asked = Filter()
    asked.occurred_from.FromDatetime(NOW)
    asked.occurred_before.FromDatetime(NOW)
    refused = await refusal_of(office.reader()("SummarizeElevations", filter=asked))
    assert refused.problems == {"filter.occurred_before": "must be later than occurred_from"}


async def test_a_filter_reaches_the_report_field_by_field(office: Office) -> None:
    denied = decided(
        1,
        user="bob",
        outcome=event_pb2.OUTCOME_DENY,
        source=event_pb2.SOURCE_DEFAULT_RESPONSE,
        result=event_pb2.ATTEMPT_RESULT_DENIED,
        elevation_type=rules_pb2.ELEVATION_TYPE_DENY,
        policy="forbidden",
        rule="never",
        file={
            "path": "C:\\other.exe",
            "sha256": "cd" * 32,
            "publisher": "CN=Other",
            "internal_name": "other",
            "version": "9",
            "company_name": "Other Ltd",
        },
    )
    late = decided(2, at=NOW + timedelta(hours=1))
    await office.sink.store([batch([denied, late], device="d1"), batch([unmanaged(3)], device="d2")])
    before, since = Filter(), Filter()
    before.occurred_before.FromDatetime(NOW + timedelta(hours=1))
    since.occurred_from.FromDatetime(NOW + timedelta(hours=1))
    expected: list[tuple[reports_pb2.ElevationFilter, set[int]]] = [
        (Filter(), {1, 2, 3}),
        (before, {1, 3}),
        (since, {2}),
        (Filter(elevation_types=[rules_pb2.ELEVATION_TYPE_DENY]), {1}),
        (Filter(elevation_types=[rules_pb2.ELEVATION_TYPE_UNSPECIFIED]), {3}),
        (Filter(results=[event_pb2.ATTEMPT_RESULT_DENIED, event_pb2.ATTEMPT_RESULT_NOT_MANAGED]), {1, 3}),
        (Filter(managed=False), {3}),
        (Filter(managed=True), {1, 2}),
        (Filter(users=["bob"]), {1}),
        (Filter(devices=["name-of-d2"]), {3}),
        (Filter(governed_by_rule=True), {2}),
        (Filter(policies=["tools"]), {2}),
        (Filter(rules=["never"]), {1}),
        (Filter(publishers=["CN=Other"]), {1}),
        (Filter(sha256s=[SHA256.upper()]), {2, 3}),
        (Filter(file_names=["other.exe"]), {1}),
        (Filter(sources=[event_pb2.SOURCE_DEFAULT_RESPONSE, event_pb2.SOURCE_ADMINISTRATOR]), {1, 3}),
        (Filter(device_ids=["d2", "name-of-d1"]), {3}),
        (Filter(internal_names=["other"]), {1}),
        (Filter(internal_names=[""]), {2, 3}),
        (Filter(versions=["9"]), {1}),
        (Filter(company_names=["Other Ltd", ""]), {1}),
        (Filter(administrator=True), {3}),
        (Filter(administrator=False), {1, 2}),
        (Filter(device_groups=["lab"]), {3}),
        (Filter(device_groups=["all-devices"], user_groups=["people"]), {1}),
        (Filter(user_groups=["people", "all-users"]), {1, 2, 3}),
    ]
    ask = office.reader()
    for asked, numbers in expected:
        found = await walk(ask, "ListElevations", "elevations", filter=asked)
        assert {one.attempt_id for one in found} == {f"attempt-{number}" for number in numbers}, asked
        assert (await ask("SummarizeElevations", filter=asked)).total == len(numbers)


@pytest.mark.parametrize(
    ("rpc", "rows"), [(rpc, rpc.removeprefix("List").lower()) for rpc in LISTS if rpc != "ListElevations"]
)
async def test_a_row_tells_how_to_list_what_it_counted(office: Office, rpc: str, rows: str) -> None:
    bare = {"path": "", "sha256": "", "version": "", "company_name": ""}
    files: list[dict[str, Any]] = [{}, {"company_name": ""}, {"internal_name": "s"}, {"publisher": "CN=Other"}, bare]
    events = [decided(number, file=file) for number, file in enumerate(files, 1)]
    await office.sink.store([batch([*events, unmanaged(6), decided(7, user="bob"), decided(8, policy="else")])])
    ask = office.reader()
    asked = Filter(policies=["tools", ""])
    found = await walk(ask, rpc, rows, filter=asked)
    for row in found:
        behind = await walk(ask, "ListElevations", "elevations", filter=asked, drill_down=row.drill_down)
        assert len(behind) == (row.total if rows == "users" else row.count), row
        shown = {one.attempt_id for one in behind}
        assert shown == {
            one.attempt_id for one in await walk(ask, "ListElevations", "elevations", filter=row.drill_down)
        } - {"attempt-8"}
    assert sum(row.total if rows == "users" else row.count for row in found) == 7


@pytest.mark.parametrize(("rpc", "rows"), [(rpc, rpc.removeprefix("List").lower()) for rpc in LISTS])
async def test_a_page_token_of_another_order_is_refused(office: Office, rpc: str, rows: str) -> None:
    files = [{"path": f"C:\\{name}.exe", "publisher": name} for name in ("a", "b")]
    await office.sink.store([batch([decided(1, user="a", file=files[0]), decided(2, user="b", file=files[1])])])
    ask = office.reader()
    first, *others = ORDERS[rows]
    token = (await ask(rpc, page_size=1)).next_page_token
    assert getattr(await ask(rpc, page_size=1, page_token=token, order_by=f" {first}  desc "), rows)
    for order in (first, *others, *(f"{other} desc" for other in others)):
        refused = await refusal_of(ask(rpc, page_size=1, page_token=token, order_by=order))
        assert [*refused.problems] == ["page_token"]


async def test_an_order_that_there_is_not_is_refused(office: Office) -> None:
    ask = office.reader()
    refused = await refusal_of(ask("ListElevations", order_by="occurred asc"))
    assert refused.problems == {"order_by": "occurred is followed by desc or by nothing (position 10)"}
    refused = await refusal_of(ask("ListUsers", order_by="count"))
    assert refused.problems == {
        "order_by": '"count" is no order; known are total, managed, unmanaged, user (position 1)'
    }


async def test_counts_are_written_as_the_contract_names_them(office: Office) -> None:
    await office.sink.store([batch([decided(1), decided(2, user="bob"), unmanaged(3)])])
    ask = office.reader()
    summary = await ask("SummarizeElevations")
    assert (summary.total, summary.managed, summary.unmanaged) == (3, 2, 1)
    results = {one.result: one.count for one in summary.results}
    assert results == {event_pb2.ATTEMPT_RESULT_ELEVATED: 2, event_pb2.ATTEMPT_RESULT_NOT_MANAGED: 1}
    automatic, none = rules_pb2.ELEVATION_TYPE_AUTOMATIC, rules_pb2.ELEVATION_TYPE_UNSPECIFIED
    assert {one.elevation_type: one.count for one in summary.elevation_types} == {automatic: 2, none: 1}
    [first, second] = await walk(ask, "ListApplications", "applications", page_size=1)
    assert (first.file_name, first.version, first.company_name) == ("setup.exe", "1.2", "Example")
    assert (first.sha256, first.elevation_type, first.count) == (SHA256, automatic, 2)
    assert (second.elevation_type, second.count) == (none, 1)
    publishers = await walk(ask, "ListPublishers", "publishers", page_size=1)
    assert [(one.publisher, one.elevation_type, one.count) for one in publishers] == [
        ("Example", automatic, 2),
        ("Example", none, 1),
    ]
    users = await walk(ask, "ListUsers", "users", page_size=1)
    assert [(one.user, one.managed, one.unmanaged, one.total) for one in users] == [
        ("alice", 1, 1, 2),
        ("bob", 1, 0, 1),
    ]


def watch(office: Office, token: str, **asked: Any) -> Any:
    """Watch as the owner of the token does."""
    return office.stub.WatchElevations(reports_pb2.WatchElevationsRequest(**asked), metadata=bearer(token))


async def watched(call: Any, most: int) -> tuple[list[str], str]:
    """Return the next attempts of a watch, that many at least, and the cursor behind them."""
    found: list[str] = []
    while True:
        message = await call.read()
        found += [one.attempt_id for one in message.elevations]
        if len(found) >= most:
            return found, message.cursor


async def test_a_watch_tells_what_is_stored_and_goes_on_where_another_ended(office: Office) -> None:
    token = office.access.grant("user:watcher", [VIEW_REPORTS])
    await office.sink.store([batch([decided(1)])])
    call = watch(office, token)
    _, cursor = await watched(call, 0)
    await office.sink.store([batch([decided(2), completed(3, "attempt-2", exit_code=4)], first=2)])
    message = await call.read()
    assert [(one.attempt_id, one.exit_code, one.decided.user) for one in message.elevations] == [
        ("attempt-2", 4, "alice")
    ]
    call.cancel()
    await office.sink.store([batch([decided(4)], first=4)])
    assert (await watched(watch(office, token, cursor=message.cursor), 1))[0] == ["attempt-4"]
    assert (await watched(watch(office, token, cursor=cursor), 2))[0] == ["attempt-2", "attempt-4"]


async def test_a_watch_tells_only_what_is_asked_for_of_devices_within_the_scope(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    call = watch(
        office, office.access.grant("user:w", [VIEW_REPORTS], scope_tags=["emea"]), filter=Filter(users=["bob"])
    )
    await watched(call, 0)
    await office.sink.store([batch([decided(1, user="bob")], device="d2")])
    await office.sink.store([batch([decided(2), decided(3, user="bob")])])
    assert (await watched(call, 1))[0] == ["attempt-3"]


async def test_a_watch_since_a_time_begins_with_what_occurred_then(office: Office) -> None:
    await office.sink.store([batch([decided(1, at=NOW - timedelta(hours=1)), decided(2)])])
    since = Filter()
    since.occurred_from.FromDatetime(NOW)
    assert (await watched(watch(office, office.access.grant("user:w", [VIEW_REPORTS]), filter=since), 1))[0] == [
        "attempt-2"
    ]


async def test_a_watch_needs_the_right_and_a_cursor_that_was_told(office: Office) -> None:
    refused = await refusal_of(watch(office, office.access.grant("user:author", OTHER_RIGHTS)).read())
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")
    token = office.access.grant("user:watcher", [VIEW_REPORTS])
    for cursor in ("nonsense", "999.0.0"):
        refused = await refusal_of(watch(office, token, cursor=cursor, filter=Filter(users=["\0"])).read())
        assert (refused.code, sorted(refused.problems)) == ("INVALID_ARGUMENT", ["cursor", "filter.users"])
