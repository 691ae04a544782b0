"""What administrators get from the reporting service, over TLS and with tokens: the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2
from tests.builders.doors import bearer
from tests.builders.refusals import refusal_of
from tests.builders.reportoffice import QUESTIONS, VIEW_REPORTS, Filter, Office, open_office, walk
from tests.fakes.clock import NOW
from tests.fakes.reporting import SHA256, batch, completed, decided, enrolled, unmanaged

OTHER_RIGHTS = ("policy_authoring.read", "elevation_requests.view", "devices.read", "audit.read")


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(database_url, tmp_path) as opened:
        yield opened


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
        absent = await refusal_of(ask("GetElevation", attempt_id=attempt_id))
        assert (set(absent.details), replace(absent, details={})) == (set(hidden.details), replace(hidden, details={}))
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
