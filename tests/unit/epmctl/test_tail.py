"""`epm report tail` prints attempts as they come, goes on after a lost connection, and misses none."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import export_pb2, reports_pb2
from epmctl import following
from services._chassis.errors import DeniedError, InvalidError, Problem, UnavailableError
from tests.builders.console import Console
from tests.fakes.server import Answer, FakeServer

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ENDED = UnavailableError("a watch ends after a quarter of an hour; watch again", reason="WATCH_ENDED")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.0)


def elevation(number: int, path: str = "C:\\Setup.exe") -> reports_pb2.Elevation:
    decided = event_pb2.Decided(
        user="alice",
        file=event_pb2.FileFacts(path=path),
        source=event_pb2.SOURCE_RULE,
        policy="tools",
        rule="setup",
        elevation_type=rules_pb2.ELEVATION_TYPE_AUTOMATIC,
        result=event_pb2.ATTEMPT_RESULT_ELEVATED,
    )
    occurred = Timestamp()
    occurred.FromDatetime(NOON)
    return reports_pb2.Elevation(attempt_id=f"a{number}", device_name="ws-1", occurred=occurred, decided=decided)


def told(cursor: str, *attempts: int) -> reports_pb2.WatchElevationsResponse:
    return reports_pb2.WatchElevationsResponse(cursor=cursor, elevations=map(elevation, attempts))


def streams(server: FakeServer, *calls: Sequence[Answer]) -> None:
    server.streams(reports_pb2.WatchElevationsRequest, *calls)


def cursors(server: FakeServer) -> list[str]:
    return [request.cursor for request in server.requests(reports_pb2.WatchElevationsRequest)]


def test_an_attempt_is_a_line_that_says_who_did_what_where_and_by_which_rule(
    console: Console, server: FakeServer
) -> None:
    streams(server, [told("1.0.0"), told("2.0.0", 1, 2)])
    outcome = console.run("report", "tail", "--limit", "2")
    assert (outcome.code, outcome.err) == (0, "")
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["2026-11-23T12:00:00Z", "ws-1", "alice", "ELEVATED", "AUTOMATIC", "tools/setup", "C:\\Setup.exe", f"a{number}"]
        for number in (1, 2)
    ]


def test_lines_stand_below_each_other_whatever_became_of_the_attempts(console: Console, server: FakeServer) -> None:
    waits = elevation(2)
    waits.decided.result = event_pb2.ATTEMPT_RESULT_APPROVAL_REQUIRED
    streams(server, [reports_pb2.WatchElevationsResponse(cursor="2.0.0", elevations=[elevation(1), waits])])
    outcome = console.run("report", "tail", "--limit", "2")
    assert len({line.index("C:\\Setup.exe") for line in outcome.out.splitlines()}) == 1


@pytest.mark.parametrize("columns", [60, 80, 120, 250])
def test_lines_fit_the_terminal(console: Console, server: FakeServer, columns: int) -> None:
    long = elevation(1, "C:\\" + "f" * 300 + ".exe")
    long.device_name, long.decided.user = "d" * 80, "u" * 80
    streams(server, [reports_pb2.WatchElevationsResponse(cursor="2.0.0", elevations=[long])])
    console.monkeypatch.setenv("COLUMNS", str(columns))
    outcome = console.run("report", "tail", "--limit", "1")
    (line,) = outcome.out.splitlines()
    assert len(line) <= columns
    assert "f.exe" in line
    assert outcome.err.startswith("left out for want of room: ELEVATION TYPE") == (columns < 190)


def test_an_attempt_is_an_object_a_line_for_programs(console: Console, server: FakeServer) -> None:
    streams(server, [told("2.0.0", 1, 2)])
    outcome = console.run("report", "tail", "--limit", "2", "--output", "json")
    assert [json.loads(line)["attemptId"] for line in outcome.out.splitlines()] == ["a1", "a2"]


def test_what_a_device_says_moves_no_cursor(console: Console, server: FakeServer) -> None:
    message = reports_pb2.WatchElevationsResponse(elevations=[elevation(1, "C:\\\x1b[2J\n.exe")])
    streams(server, [message])
    for output in ("table", "json"):
        out = console.run("report", "tail", "--limit", "1", "--output", output).out
        assert "\x1b" not in out
        assert out.count("\n") == 1


def test_a_watch_that_ended_goes_on_from_its_last_cursor_without_a_word(console: Console, server: FakeServer) -> None:
    streams(server, [told("1.0.0"), told("2.0.0", 1), ENDED], [told("2.0.0"), ENDED], [told("2.0.0"), told("3.0.0", 2)])
    outcome = console.run("report", "tail", "--limit", "2", "--output", "json")
    assert (outcome.code, outcome.err) == (0, "")
    assert [json.loads(line)["attemptId"] for line in outcome.out.splitlines()] == ["a1", "a2"]
    assert cursors(server) == ["", "2.0.0", "2.0.0"]


def test_a_server_that_is_away_is_waited_for(console: Console, server: FakeServer) -> None:
    away = UnavailableError("the database does not answer; try again later", reason="DATABASE_UNAVAILABLE")
    streams(server, [told("1.0.0"), away], [away], [away], [told("1.0.0"), told("2.0.0", 1)])
    outcome = console.run("report", "tail", "--limit", "1")
    assert outcome.code == 0
    assert outcome.err.splitlines() == [
        "waiting for the server: the database does not answer; try again later",
        "the server is back",
    ]
    assert cursors(server) == ["", "1.0.0", "1.0.0", "1.0.0"]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (UnavailableError("not yet; try again"), 1),
        (DeniedError("the right is missing"), 1),
        (InvalidError([Problem("cursor", "is ahead of what is stored")]), 2),
    ],
)
def test_a_server_that_refuses_from_the_start_ends_the_command(
    console: Console, server: FakeServer, refusal: Answer, code: int
) -> None:
    streams(server, [refusal])
    assert console.run("report", "tail").code == code
    assert len(cursors(server)) == 1


def test_a_right_that_is_lost_on_the_way_ends_the_command(console: Console, server: FakeServer) -> None:
    streams(server, [told("1.0.0", 1), ENDED], [DeniedError("the right is missing")])
    outcome = console.run("report", "tail")
    assert (outcome.code, outcome.out.count("\n")) == (1, 1)
    assert "the right is missing" in outcome.err


def test_filters_are_asked_for_and_since_says_where_it_begins(console: Console, server: FakeServer) -> None:
    streams(server, [told("1.0.0", 1)])
    console.run("report", "tail", "--limit", "1", "--since", "2026-11-23T12:00:00Z", "--user", "alice", "--unmanaged")
    [request] = server.requests(reports_pb2.WatchElevationsRequest)
    assert request.filter.occurred_from.ToDatetime(UTC) == NOON
    assert (list(request.filter.users), request.filter.managed, request.cursor) == (["alice"], False, "")


def test_from_now_begins_now_whatever_since_says(console: Console, server: FakeServer) -> None:
    streams(server, [told("7.0.0")], [told("8.0.0", 1)])
    console.run("report", "tail", "--limit", "1", "--since", "1h", "--from-now")
    first, second = server.requests(reports_pb2.WatchElevationsRequest)
    assert (first, second.cursor) == (reports_pb2.WatchElevationsRequest(), "7.0.0")
    assert second.filter.HasField("occurred_from")


def test_a_cursor_file_takes_up_where_another_command_ended(
    console: Console, server: FakeServer, tmp_path: Path
) -> None:
    note = tmp_path / "cursor"
    gone = DeniedError("enough")
    streams(server, [told("1.0.0"), told("2.0.0", 1), gone], [told("3.0.0", 2), gone])
    for number in (1, 2):
        outcome = console.run("report", "tail", "--cursor-file", str(note), "--output", "json")
        assert json.loads(outcome.out)["attemptId"] == f"a{number}"
    assert cursors(server) == ["", "2.0.0"]
    assert note.read_text() == "3.0.0\n"
    assert [*tmp_path.glob(".cursor-*")] == []


def test_a_cursor_file_that_cannot_be_used_is_told_in_a_line(
    console: Console, server: FakeServer, tmp_path: Path
) -> None:
    streams(server, [told("1.0.0", 1)])
    broken = tmp_path / "broken"
    broken.write_bytes(b"\xff\xfe")
    for path in (broken, tmp_path / "nowhere" / "cursor"):
        outcome = console.run("report", "tail", "--cursor-file", str(path))
        assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert console.run("report", "tail", "--limit", "1", "--cursor-file", "x").code == 2


def handed(cursor: str, *attempts: int) -> export_pb2.ExportEventsResponse:
    return export_pb2.ExportEventsResponse(cursor=cursor, elevations=map(elevation, attempts))


def test_a_consumer_acknowledges_what_was_printed_and_comes_back_by_its_name(
    console: Console, server: FakeServer
) -> None:
    enough = DeniedError("enough")
    server.streams(
        export_pb2.ExportEventsRequest,
        [handed("1.0.0"), handed("2.0.0", 1), ENDED],
        [handed("2.0.0"), handed("3.0.0", 2, 3), enough],
    )
    outcome = console.run("report", "tail", "--consumer", "siem", "--user", "alice", "--output", "json")
    assert [json.loads(line)["attemptId"] for line in outcome.out.splitlines()] == ["a1", "a2", "a3"]
    assert (outcome.code, "enough" in outcome.err) == (1, True)
    hello = export_pb2.ExportEventsRequest(
        hello=export_pb2.ExportHello(consumer="siem", filter=reports_pb2.ElevationFilter(users=["alice"]))
    )
    acks = [export_pb2.ExportEventsRequest(ack=export_pb2.ExportAck(cursor=f"{number}.0.0")) for number in (1, 2, 2, 3)]
    assert server.requests(export_pb2.ExportEventsRequest) == [hello, *acks[:2], hello, *acks[2:]]


@pytest.mark.parametrize("other", [("--from-now",), ("--cursor-file", "x"), ("--limit", "1")])
def test_a_consumer_begins_where_it_was_and_nowhere_else(console: Console, other: tuple[str, ...]) -> None:
    assert console.run("report", "tail", "--consumer", "siem", *other).code == 2


def test_a_server_that_is_away_for_days_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the pauses of the product
    pauses = [following.pause_after(failures) for failures in (0, 1, 4, 5, 10_000)]
    assert pauses == [
        following.FIRST_PAUSE,
        2 * following.FIRST_PAUSE,
        16 * following.FIRST_PAUSE,
        *[following.LONGEST_PAUSE] * 2,
    ]
