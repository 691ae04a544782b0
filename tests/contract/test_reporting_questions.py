"""What administrators ask of reports: filters, orders, pages, and what a row counted; the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2
from services.reporting.model.reports import ALTERNATIVES, MOST_ATTEMPTS, MOST_VALUES, ORDERS
from tests.builders.refusals import refusal_of
from tests.builders.reportoffice import LISTS, Filter, Office, open_office, walk
from tests.fakes.clock import NOW
from tests.fakes.reporting import SHA256, batch, decided, enrolled, unmanaged


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(database_url, tmp_path) as opened:
        yield opened


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
        attempt_ids=["a\0"],
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


async def test_a_thousand_attempts_are_asked_for_by_name_and_no_more(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    await office.sink.store([batch([decided(1)], device="d1"), batch([decided(2), decided(3)], device="d2")])
    asked = Filter(attempt_ids=[f"attempt-{number}" for number in range(2, MOST_ATTEMPTS + 2)])
    assert (await office.reader()("SummarizeElevations", filter=asked)).total == 2
    assert (await office.reader("emea")("SummarizeElevations", filter=asked)).total == 0
    both = {"filter": asked, "drill_down": Filter(attempt_ids=["attempt-1", "attempt-2"])}
    assert [one.attempt_id for one in await walk(office.reader(), "ListElevations", "elevations", **both)] == [
        "attempt-2"
    ]
    asked.attempt_ids.append("attempt-1")
    refused = await refusal_of(office.reader()("SummarizeElevations", filter=asked))
    assert refused.problems == {"filter.attempt_ids": "must have at most 1000 values; ask several times"}


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
        (Filter(attempt_ids=["attempt-1", "attempt-3", "", "name-of-d1"]), {1, 3}),
        (Filter(attempt_ids=["attempt-1", "attempt-3"], users=["bob"]), {1}),
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
