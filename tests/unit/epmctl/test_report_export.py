"""`epm report export` writes a whole report as a file that other programs read, and that no spreadsheet computes."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2
from epmctl.commands import reportexport
from services._chassis.errors import UnavailableError
from tests.builders.console import Console
from tests.fakes.server import FakeServer


def elevation(number: int, **decided: Any) -> reports_pb2.Elevation:
    told: dict[str, Any] = {
        "user": "alice",
        "file": event_pb2.FileFacts(path="C:\\Setup.exe", version="1.2"),
        "source": event_pb2.SOURCE_RULE,
        "elevation_type": rules_pb2.ELEVATION_TYPE_AUTOMATIC,
        "arguments": ["/a", "b c"],
    }
    return reports_pb2.Elevation(
        attempt_id=f"a{number}", exit_code=-7, decided=event_pb2.Decided(**{**told, **decided})
    )


def attempts(server: FakeServer, *found: reports_pb2.Elevation) -> None:
    """Let the server list attempts, one a page."""

    def page(asked: reports_pb2.ListElevationsRequest) -> reports_pb2.ListElevationsResponse:
        number = int(asked.page_token or 0)
        more = str(number + 1) if number + 1 < len(found) else ""
        return reports_pb2.ListElevationsResponse(elevations=[found[number]], next_page_token=more)

    server.on(reports_pb2.ListElevationsRequest, page)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def test_csv_has_a_column_for_every_field_and_a_row_for_every_entry(
    console: Console, server: FakeServer, tmp_path: Path
) -> None:
    attempts(server, elevation(1), elevation(2, user='bob\n"x",'))
    outcome = console.run("report", "export", "elevations", str(tmp_path / "out.csv"), "--format", "csv")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    first, second = rows(tmp_path / "out.csv")
    assert (first["attemptId"], first["decided.user"], first["decided.file.path"]) == ("a1", "alice", "C:\\Setup.exe")
    assert (first["exitCode"], first["decided.arguments"], first["occurred"]) == ("-7", '["/a", "b c"]', "")
    assert (first["decided.managed"], first["decided.parent.rule"]) == ("false", "")
    assert second["decided.user"] == 'bob\n"x",'
    assert [*tmp_path.glob(".*")] == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "\uff1d1"])
def test_no_text_of_a_device_becomes_a_formula(console: Console, server: FakeServer, tmp_path: Path, text: str) -> None:
    attempts(server, elevation(1, user=text))
    out = tmp_path / "out"
    console.run("report", "export", "elevations", str(out), "--format", "csv")
    assert rows(out)[0]["decided.user"] == f"'{text}"
    console.run("report", "export", "elevations", str(out), "--format", "jsonl")
    assert json.loads(out.read_text())["decided"]["user"] == text


def test_json_lines_hold_what_the_report_holds_in_json(console: Console, server: FakeServer, tmp_path: Path) -> None:
    attempts(server, elevation(1), elevation(2))
    out = tmp_path / "out.jsonl"
    assert console.run("report", "export", "elevations", str(out), "--format", "jsonl").code == 0
    listed = console.run("report", "elevations", "--output", "json").json
    assert [json.loads(line) for line in out.read_text().splitlines()] == listed


def test_every_list_is_exported_with_filters_and_to_standard_output(console: Console, server: FakeServer) -> None:
    user = reports_pb2.UserCount(user="alice", managed=8, unmanaged=1, total=9)
    server.on(reports_pb2.ListUsersRequest, reports_pb2.ListUsersResponse(users=[user]))
    outcome = console.run("report", "export", "users", "-", "--format", "csv", "--managed")
    assert outcome.out.replace("\r\n", "\n") == "user,managed,unmanaged,total\nalice,8,1,9\n"
    assert server.requests(reports_pb2.ListUsersRequest)[0].filter.managed
    for name in ("applications", "publishers"):
        header = console.run("report", "export", name, "-", "--format", "csv").out
        assert header.rstrip().endswith("count")


def test_an_export_that_breaks_off_leaves_the_file_that_was_there(
    console: Console, server: FakeServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.write_text("before")
    first = reports_pb2.ListElevationsResponse(elevations=[elevation(1)], next_page_token="1")
    away = UnavailableError("the database does not answer; try again later")
    server.on(reports_pb2.ListElevationsRequest, lambda asked: away if asked.page_token else first)
    outcome = console.run("report", "export", "elevations", str(out), "--format", "jsonl")
    assert (outcome.code, out.read_text(), [*tmp_path.glob(".*")]) == (1, "before", [])


def test_a_place_that_cannot_be_written_is_told_in_a_line(console: Console, server: FakeServer, tmp_path: Path) -> None:
    attempts(server, elevation(1))
    outcome = console.run("report", "export", "elevations", str(tmp_path / "no" / "out"), "--format", "csv")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "cannot be written" in outcome.err


def test_a_long_export_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for total, bar in ((4000, "[#######.......................] "), (None, "")):
        assert len(list(reportexport.progressing(iter([{}] * 1500), "elevations", total))) == 1500
        end = "" if total is None else f"[{'#' * 30}] "
        assert capsys.readouterr().err == f"\r{bar}1000 elevations\r{end}1500 elevations\n"
