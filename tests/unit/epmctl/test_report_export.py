"""`epm report export` and `--output csv|parquet` hand through what the server writes, whole or not at all."""

import io
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from epm.reporting.v1 import export_pb2, insights_pb2
from epmctl.reportfile import KINDS, Progress
from services._chassis.errors import UnavailableError
from tests.builders.console import Console
from tests.builders.relay import relay_to
from tests.fakes.server import Answer, FakeServer

EPM = Path(sys.executable).parent / "epm"
ASKED = export_pb2.ExportReportRequest


def piece(data: bytes, written: int = 0, total: int = 0) -> export_pb2.ExportReportResponse:
    return export_pb2.ExportReportResponse(data=data, written=written, total=total)


@pytest.fixture
def written(server: FakeServer) -> FakeServer:
    server.streams(ASKED, [piece(b"", 0, 2), piece(b"user,total\r\n=", 1, 2), piece(b"\xc3\xbc\x00", 2, 2)])
    return server


WHOLE = b"user,total\r\n=\xc3\xbc\x00"


def asked(server: FakeServer) -> export_pb2.ExportReportRequest:
    (request,) = server.requests(ASKED)
    return request


def test_every_report_that_is_a_list_is_exported_as_the_server_writes_it(
    console: Console, written: FakeServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for report, kind in KINDS.items():
        for form, number in (("csv", 1), ("jsonl", 2), ("parquet", 3)):
            outcome = console.run("report", "export", report, out, "--format", form)
            assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
            assert out.read_bytes() == WHOLE
            request = written.requests(ASKED)[-1]
            assert (request.report, request.format) == (kind, number)
    assert [*tmp_path.glob(".*")] == []


def test_filter_order_period_and_subject_are_passed_on(console: Console, written: FakeServer, tmp_path: Path) -> None:
    more = ("--managed", "--order-by", "user desc", "--period", "month", "--by", "device")
    assert console.run("report", "export", "users", tmp_path / "out", "--format", "csv", *more).code == 0
    request = asked(written)
    assert (request.filter.managed, request.order_by) == (True, "user desc")
    assert (request.period, request.subject) == (insights_pb2.PERIOD_MONTH, insights_pb2.READINESS_SUBJECT_DEVICE)


def test_what_a_report_is_about_narrows_its_file(console: Console, written: FakeServer, tmp_path: Path) -> None:
    console.run("report", "export", "denied", tmp_path / "out", "--format", "csv")
    console.run("report", "managed", "--output", "csv")
    denied, managed = written.requests(ASKED)
    assert denied.filter.results
    assert managed.filter.governed_by_rule


@pytest.mark.usefixtures("written")
def test_it_goes_to_standard_output_byte_by_byte(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    assert console.run("report", "export", "users", "-", "--format", "parquet").code == 0
    assert out.getvalue() == WHOLE


@pytest.mark.parametrize("report", [name for name in KINDS if name not in ("readiness", "obstacles")])
def test_lists_print_the_whole_report_as_a_file(
    console: Console, written: FakeServer, monkeypatch: pytest.MonkeyPatch, report: str
) -> None:
    for form in ("csv", "parquet"):
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
        assert console.run("report", report, "--user", "alice", "--output", form).code == 0
        assert out.getvalue() == WHOLE
        request = written.requests(ASKED)[-1]
        assert (request.report, list(request.filter.users)) == (KINDS[report], ["alice"])
        newest_first = KINDS[report] == export_pb2.REPORT_KIND_ELEVATIONS
        assert request.order_by == ("occurred desc" if newest_first else "")


def test_a_list_passes_its_order_and_its_period_on(console: Console, written: FakeServer) -> None:
    console.run("report", "elevations", "--order-by", "occurred", "--output", "csv")
    console.run("report", "trend", "--period", "month", "--output", "csv")
    ordered, trend = written.requests(ASKED)
    assert (ordered.order_by, trend.period) == ("occurred", insights_pb2.PERIOD_MONTH)


@pytest.mark.parametrize("more", [("--limit", "3"), ("--open", "1")])
def test_a_file_is_the_whole_report(console: Console, written: FakeServer, more: tuple[str, str]) -> None:
    outcome = console.run("report", "users", "--output", "csv", *more)
    assert (outcome.code, written.requests(ASKED)) == (2, [])
    assert more[0] in outcome.err


def test_parquet_is_not_shown_on_a_terminal(
    console: Console, written: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    outcome = console.run("report", "users", "--output", "parquet")
    assert (outcome.code, outcome.out, written.requests(ASKED)) == (1, "", [])
    assert "file" in outcome.err


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_devices_sent_moves_no_cursor_where_a_file_is_shown_on_a_terminal(
    console: Console, server: FakeServer, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    server.streams(ASKED, [piece(b"user,total\r\n\x1b[2J\ra\xe2\x80", 1, 2), piece(b"\xae\xc3\xbc,1\r\n", 2, 2)])
    export = ("report", "export", "users", "-", "--format", form)
    assert console.run(*export).out == "user,total\r\n\x1b[2J\ra\u202eü,1\r\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert console.run(*export).out == "user,total\n\\x1b[2J\\ra\\u202eü,1\n"


def test_an_export_that_breaks_off_leaves_the_file_that_was_there(
    console: Console, server: FakeServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.write_text("before")
    server.streams(ASKED, [piece(b"after", 1), UnavailableError("the database does not answer; try again later")])
    outcome = console.run("report", "export", "elevations", out, "--format", "jsonl")
    assert (outcome.code, out.read_text(), [*tmp_path.glob(".*")]) == (1, "before", [])


def test_a_connection_that_breaks_in_the_middle_is_told_as_that(
    console: Console, server: FakeServer, tmp_path: Path
) -> None:
    with relay_to(int(server.address.rpartition(":")[2])) as relay:

        def breaking() -> Iterator[Answer]:
            yield piece(b"half", 1)
            relay.close()

        server.holds(ASKED, cast("Sequence[Answer]", breaking()))
        console.monkeypatch.setenv("EPM_SERVER", relay.address)
        outcome = console.run("report", "export", "elevations", tmp_path / "out", "--format", "jsonl")
    assert outcome.code == 1
    assert outcome.err == f"the connection to {relay.address} broke before all was said; try again\n"


@pytest.mark.usefixtures("console")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_end_leaves_nothing_half_written(
    server: FakeServer, tmp_path: Path, number: signal.Signals
) -> None:
    begun = threading.Event()

    def begin() -> Iterator[Answer]:
        yield piece(b"half", 1)
        begun.set()

    server.holds(ASKED, cast("Sequence[Answer]", begin()))
    command = [str(EPM), "report", "export", "elevations", str(tmp_path / "out"), "--format", "jsonl"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert begun.wait(30)
        assert len([*tmp_path.glob(".epm-*")]) == 1
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (128 + number, "interrupted\n")
    assert [*tmp_path.glob(".epm-*")] == []


@pytest.mark.usefixtures("written")
def test_a_place_that_cannot_be_written_is_told_in_a_line(console: Console, tmp_path: Path) -> None:
    outcome = console.run("report", "export", "elevations", tmp_path / "no" / "out", "--format", "csv")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "cannot be written" in outcome.err


def test_a_long_export_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for total, bar in ((4000, "[#######.......................] "), (0, "")):
        progress = Progress("elevations", live=True)
        for number in (0, 1000, 1000, 1500):
            progress.show(number, total)
        progress.end()
        start = "" if not total else "[###########...................] "
        end = f"[{'#' * 30}] "
        assert capsys.readouterr().err == f"\r{bar}1000 elevations\r{start}1500 elevations\r{end}1500 elevations\n"
    progress = Progress("elevations", live=False)
    progress.show(5, 5)
    progress.end()
    assert capsys.readouterr().err == ""
