"""ExportReport writes whole reports, as they were when it began, for whoever may see them: on both databases."""

from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import export_pb2, insights_pb2, reports_pb2
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.reportexport.parts import entries_of
from services.reporting.reportexport.walks import Order
from tests.builders.publishing import Publisher, attempts, publishing, rest
from tests.builders.refusals import refusal_of
from tests.builders.reportfiles import csv_rows, json_rows, parquet_rows, parquet_table, walks_on
from tests.fakes.clock import NOW
from tests.fakes.reporting import SHA256, batch, completed, decided, enrolled, unmanaged

KINDS = [value.name for value in export_pb2.ReportKind.DESCRIPTOR.values if value.number]
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Publisher]:
    async with publishing(database_url, tmp_path) as made:
        yield made


async def test_every_attempt_comes_once_oldest_first_or_newest_first(office: Publisher) -> None:
    await office.sink.store([batch([decided(number, at=NOW - MINUTE * (number % 3)) for number in range(1, 8)])])
    expected = [f"attempt-{number}" for number in (2, 5, 1, 4, 7, 3, 6)]
    assert attempts(await office.export()) == expected
    assert attempts(await office.export(order_by="occurred")) == expected
    assert attempts(await office.export(order_by="occurred desc")) == expected[::-1]


async def test_an_attempt_that_is_told_of_twice_is_two_events(office: Publisher) -> None:
    await office.sink.store([batch([decided(1, attempt="a"), decided(2, attempt="a")])])
    rows = json_rows(await office.export())
    assert [row["attemptId"] for row in rows] == ["a", "a"]
    assert len({row["eventId"] for row in rows}) == 2


async def test_a_file_holds_what_there_was_when_it_began(office: Publisher) -> None:
    await office.sink.store([batch([decided(number, at=NOW + timedelta(seconds=number)) for number in range(1, 1001)])])
    call = office.begin(office.reader())
    first = await call.read()
    assert (first.written, first.total) == (0, 1000)
    # What comes in later: other attempts, and how one that was there ended.
    await office.sink.store([batch([completed(3000, "attempt-1000")], first=2000)])
    late = [decided(5000 + number, at=NOW + timedelta(seconds=number * 7)) for number in range(1, 200)]
    await office.sink.store([batch(late, device="d2")])
    rows = json_rows(first.data + b"".join([piece.data for piece in await rest(call)]))
    assert [row["attemptId"] for row in rows] == [f"attempt-{number}" for number in range(1, 1001)]
    assert rows[-1]["exitCode"] is None


async def test_an_attempt_ends_as_the_first_completion_of_its_own_device_says(office: Publisher) -> None:
    ends = [completed(2, "attempt-1", exit_code=5), completed(3, "attempt-1", exit_code=6)]
    await office.sink.store([batch([decided(1)]), batch([completed(4, "attempt-1", exit_code=7)], device="d2")])
    for number, end in enumerate(ends, 1):
        await office.sink.store([batch([end], first=10 + number, received=NOW + MINUTE * number)])
    assert [row["exitCode"] for row in json_rows(await office.export())] == [5]


async def test_large_attempts_among_small_ones_keep_their_place(office: Publisher) -> None:
    sizes = [50_000 if number % 3 == 0 else number for number in range(1, 12)]
    told = [decided(number, reason="x" * size, at=NOW + MINUTE * number) for number, size in enumerate(sizes)]
    await office.sink.store([batch(told)])
    for order, expected in (("occurred", sizes), ("occurred desc", sizes[::-1])):
        rows = json_rows(await office.export(order_by=order))
        assert [len(row["decided"]["reason"]) for row in rows] == expected


async def test_it_says_how_far_it_is(office: Publisher) -> None:
    await office.sink.store([batch([decided(number) for number in range(1, 6)])])
    for form in ("CSV", "JSON_LINES", "PARQUET"):
        pieces = await rest(office.begin(office.reader(), form=form))
        written = [piece.written for piece in pieces]
        assert written == sorted(written)
        assert (written[-1], {piece.total for piece in pieces}) == (5, {5})


async def test_the_three_forms_say_the_same(office: Publisher, tmp_path: Path) -> None:
    told = decided(1, arguments=["/a", "b,c"], justification="needed", at=NOW + timedelta(microseconds=1500))
    told.decided.losers.add(policy="p", rule="r", lost_at=event_pb2.LOST_AT_HASH)
    child = decided(2, trigger=event_pb2.TRIGGER_CHILD, parent={"policy": "tools", "rule": "setup", "path": "C:/p.exe"})
    await office.sink.store([batch([told, completed(3, "attempt-1", exit_code=-7), child, unmanaged(4)])])
    by_id = {row["attemptId"]: row for row in json_rows(await office.export())}
    one = by_id["attempt-1"]
    assert (one["exitCode"], one["decided"]["arguments"], one["decided"]["parent"]) == (-7, ["/a", "b,c"], None)
    assert one["decided"]["losers"] == [{"policy": "p", "rule": "r", "lostAt": "HASH"}]
    assert one["occurred"].endswith(".001500Z")
    assert one["decided"]["file"]["sha256"] == SHA256
    assert (by_id["attempt-4"]["decided"]["elevationType"], by_id["attempt-4"]["exitCode"]) == (None, None)

    cells = {row["attemptId"]: row for row in csv_rows(await office.export(form="CSV"))}
    assert cells["attempt-1"]["decided.arguments"] == '["/a", "b,c"]'
    assert cells["attempt-1"]["decided.losers"] == '[{"policy": "p", "rule": "r", "lostAt": "HASH"}]'
    assert (cells["attempt-1"]["exitCode"], cells["attempt-1"]["decided.parent.rule"]) == ("-7", "")
    assert (cells["attempt-2"]["decided.parent.rule"], cells["attempt-2"]["exitCode"]) == ("setup", "")
    assert (cells["attempt-1"]["occurred"], cells["attempt-4"]["decided.managed"]) == (one["occurred"], "false")

    data = await office.export(form="PARQUET")
    rows = {row["attemptId"]: row for row in parquet_rows(data, tmp_path)}
    assert list(rows["attempt-1"]) == list(cells["attempt-1"])
    assert rows["attempt-1"]["decided.losers"] == [{"policy": "p", "rule": "r", "lostAt": "HASH"}]
    assert rows["attempt-1"]["occurred"].astimezone(UTC) == NOW + timedelta(microseconds=1500)
    assert (rows["attempt-1"]["exitCode"], rows["attempt-1"]["decided.parent.rule"]) == (-7, None)
    assert (rows["attempt-4"]["decided.elevationType"], rows["attempt-4"]["decided.managed"]) == (None, False)
    types = {field.name: str(field.type) for field in parquet_table(data).schema}
    assert (types["occurred"], types["decided.managed"]) == ("timestamp[us, tz=UTC]", "bool")
    assert types["decided.arguments"].startswith("list<")


async def test_a_report_without_entries_is_a_whole_file(office: Publisher, tmp_path: Path) -> None:
    for report in (kind.removeprefix("REPORT_KIND_") for kind in KINDS):
        data = await office.export(report, "PARQUET")
        assert parquet_rows(data, tmp_path) == []
        headings = (await office.export(report, "CSV")).decode()
        assert headings == ",".join(parquet_table(data).column_names) + "\r\n"
        assert await office.export(report, "JSON_LINES") == b""


async def test_no_text_of_a_device_becomes_a_formula(office: Publisher) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "\uff1d1"]
    told = [decided(number, reason=text) for number, text in enumerate(texts)]
    await office.sink.store([batch(told)])
    rows = csv_rows(await office.export(form="CSV"))
    assert [row["decided.reason"] for row in rows] == [f"'{text}" for text in texts]
    assert [row["decided"]["reason"] for row in json_rows(await office.export())] == texts


async def test_texts_come_back_as_they_were(office: Publisher, tmp_path: Path) -> None:
    text = 'bob\r\n"x",;\u202e\x9b\u00fc\U0001f600\\'
    await office.sink.store([batch([decided(1, reason=text)])])
    assert csv_rows(await office.export(form="CSV"))[0]["decided.reason"] == text
    lines = await office.export()
    assert json_rows(lines)[0]["decided"]["reason"] == text
    assert "\u202e" not in lines.decode()
    assert parquet_rows(await office.export(form="PARQUET"), tmp_path)[0]["decided.reason"] == text


async def test_counts_are_those_of_their_lists(office: Publisher, tmp_path: Path) -> None:
    other = {"path": "C:/Tools/other.exe", "publisher": "CN=Other"}
    await office.sink.store([batch([decided(1), decided(2), unmanaged(3, user="bob"), decided(4, file=other)])])
    users = json_rows(await office.export("USERS"))
    assert [(row["user"], row["managed"], row["unmanaged"], row["total"]) for row in users] == [
        ("alice", 3, 0, 3),
        ("bob", 0, 1, 1),
    ]
    assert "drillDown" not in users[0]
    assert [row["user"] for row in json_rows(await office.export("USERS", order_by="user desc"))] == ["bob", "alice"]
    applications = csv_rows(await office.export("APPLICATIONS", "CSV"))
    assert [(row["fileName"], row["count"], row["elevationType"]) for row in applications] == [
        ("setup.exe", "2", "AUTOMATIC"),
        ("other.exe", "1", "AUTOMATIC"),
        ("setup.exe", "1", ""),
    ]
    publishers = parquet_rows(await office.export("PUBLISHERS", "PARQUET"), tmp_path)
    assert sum(row["count"] for row in publishers) == 4


async def test_conclusions_are_exported_too(office: Publisher, tmp_path: Path) -> None:
    today = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    events = [decided(1, at=today), unmanaged(2, at=today), unmanaged(3, user="bob", at=today - timedelta(days=2))]
    await office.sink.store([batch(events)])
    asked = reports_pb2.ElevationFilter()
    asked.occurred_from.FromDatetime(today - timedelta(days=3))
    trend = json_rows(await office.export("TREND", filter=asked, period=insights_pb2.PERIOD_DAY))
    assert [(row["elevationType"], row["managed"], row["unmanaged"], row["total"]) for row in trend] == [
        (None, 0, 0, 0),
        (None, 0, 1, 1),
        (None, 0, 0, 0),
        (None, 0, 1, 1),
        ("AUTOMATIC", 1, 0, 1),
    ]
    assert trend[-1]["start"] == today.isoformat().replace("+00:00", "Z")
    months = parquet_rows(await office.export("TREND", "PARQUET", period=insights_pb2.PERIOD_MONTH), tmp_path)
    assert sum(row["total"] for row in months) == 3
    used = csv_rows(await office.export("USER_APPLICATIONS", "CSV", period=insights_pb2.PERIOD_MONTH))
    assert {(row["user"], row["application.fileName"]) for row in used} == {
        ("alice", "setup.exe"),
        ("bob", "setup.exe"),
    }
    ready = json_rows(await office.export("READINESS"))
    assert [(row["user"], row["readiness"], len(row["obstacles"])) for row in ready] == [
        ("alice", "PARTLY", 1),
        ("bob", "UNMANAGED", 1),
    ]
    assert "drillDown" not in ready[0]["obstacles"][0]
    devices = parquet_rows(
        await office.export("READINESS", "PARQUET", subject=insights_pb2.READINESS_SUBJECT_DEVICE), tmp_path
    )
    assert [(row["deviceId"], row["obstacles"][0]["count"]) for row in devices] == [("d1", 2)]
    obstacles = csv_rows(await office.export("OBSTACLES", "CSV"))
    assert [(row["application.fileName"], row["users"], row["usersFreed"]) for row in obstacles] == [
        ("setup.exe", "2", "2")
    ]


async def test_only_what_the_caller_may_see_and_asks_for_is_in_the_file(office: Publisher) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    await office.sink.store([batch([decided(1), unmanaged(2)]), batch([decided(3)], device="d2")])
    for tag, expected in {"emea": ["attempt-1", "attempt-2"], "apac": ["attempt-3"], "other": []}.items():
        pieces = await rest(office.begin(office.reader(tag, tag)))
        assert attempts(b"".join(piece.data for piece in pieces)) == expected
        assert pieces[0].total == len(expected)
    managed = reports_pb2.ElevationFilter(managed=True)
    assert attempts(await office.export(filter=managed)) == ["attempt-1", "attempt-3"]


async def test_all_problems_are_told_at_once(office: Publisher) -> None:
    asked = reports_pb2.ElevationFilter(sha256s=["no"])
    call = office.stub.ExportReport(
        export_pb2.ExportReportRequest(report=1, filter=asked, order_by="size", period=9, subject=9),  # type: ignore[arg-type]
        metadata=office.reader(),
    )
    refusal = await refusal_of(rest(call))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields == {
        "format",
        "filter.sha256s",
        "order_by",
        "period",
        "subject",
    }
    call = office.stub.ExportReport(export_pb2.ExportReportRequest(), metadata=office.reader())
    assert (await refusal_of(rest(call))).fields == {"report", "format"}
    one_sided = reports_pb2.ElevationFilter(managed=True)
    refusal = await refusal_of(rest(office.begin(office.reader(), "OBSTACLES", order_by="users", filter=one_sided)))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields == {"order_by", "filter.managed"}


async def test_no_more_of_large_events_is_taken_apart_at_a_time_than_a_few(office: Publisher) -> None:
    large = [decided(number, arguments=["x" * 240_000]) for number in range(1, 11)]
    await office.sink.store([batch([*large, *(decided(number) for number in range(11, 15))])])
    order = Order(report="ELEVATIONS", form="CSV", question=Question(ElevationFilter(), None), tags=lambda: None)
    pieces = walks_on(office.database)["ELEVATIONS"].pieces(order)
    sizes = [entries_of(piece.read()) async for piece in pieces]
    assert (sum(sizes), max(sizes)) == (14, 6)
    assert len(json_rows(await office.export())) == 14
