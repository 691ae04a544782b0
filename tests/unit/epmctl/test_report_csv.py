"""Reports and lists that the server writes no file of print CSV too, that no spreadsheet computes."""

import csv
import io
import sys
from typing import Any

import pytest
from google.protobuf.message import Message

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import export_pb2, insights_pb2, intake_pb2, reports_pb2
from tests.builders.console import Console
from tests.fakes.server import FakeServer


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_summary_is_a_row_a_number(console: Console, server: FakeServer) -> None:
    answer = reports_pb2.SummarizeElevationsResponse(
        total=3,
        managed=2,
        unmanaged=1,
        results=[reports_pb2.ResultCount(result=event_pb2.ATTEMPT_RESULT_DENIED, count=3)],
        elevation_types=[reports_pb2.TypeCount(elevation_type=rules_pb2.ELEVATION_TYPE_UNSPECIFIED, count=3)],
    )
    server.on(reports_pb2.SummarizeElevationsRequest, answer)
    assert rows(console.run("report", "summary", "--output", "csv").out) == [
        ["by", "value", "count"],
        ["attempts", "total", "3"],
        ["attempts", "managed", "2"],
        ["attempts", "unmanaged", "1"],
        ["result", "DENIED", "3"],
        ["elevationType", "", "3"],
    ]


def test_an_overview_is_a_row_a_number(console: Console, server: FakeServer) -> None:
    point = insights_pb2.TrendPoint(total=4)
    point.start.seconds = 86400
    answer = insights_pb2.GetOverviewResponse(
        total=4,
        unmanaged=4,
        users=insights_pb2.ReadinessSplit(unmanaged_only=2),
        frequently_unmanaged=[reports_pb2.ApplicationCount(file_name="=cmd.exe", count=4)],
        trend=[point],
    )
    server.on(insights_pb2.GetOverviewRequest, answer)
    found = rows(console.run("report", "overview", "--output", "csv").out)
    assert found[:4] == [
        ["part", "name", "count"],
        ["attempts", "total", "4"],
        ["attempts", "managed", "0"],
        ["attempts", "unmanaged", "4"],
    ]
    assert ["users", "unmanagedOnly", "2"] in found
    assert ["devices", "both", "0"] in found
    assert found[-2:] == [["frequentlyUnmanaged", "'=cmd.exe", "4"], ["trend", "1970-01-02T00:00:00Z", "4"]]


@pytest.mark.parametrize(
    ("command", "asked", "answer", "expected"),
    [
        (
            ("gaps",),
            intake_pb2.ListGapsRequest,
            intake_pb2.ListGapsResponse(gaps=[intake_pb2.Gap(device_id="d", first_seq=3, last_seq=5)]),
            {"deviceId": "d", "firstSeq": "3", "missing": "3", "noticed": ""},
        ),
        (
            ("diagnostics",),
            intake_pb2.ListDiagnosticsRequest,
            intake_pb2.ListDiagnosticsResponse(
                diagnostics=[export_pb2.DeviceDiagnostic(diagnostic=event_pb2.Diagnostic(message="+1", count=7))]
            ),
            {"diagnostic.message": "'+1", "diagnostic.count": "7"},
        ),
        (
            ("dead-letters", "list"),
            intake_pb2.ListDeadLettersRequest,
            intake_pb2.ListDeadLettersResponse(dead_letters=[intake_pb2.DeadLetter(reason='a "reason", told')]),
            {"reason": 'a "reason", told'},
        ),
        (
            ("consumers", "list"),
            export_pb2.ListConsumersRequest,
            export_pb2.ListConsumersResponse(consumers=[export_pb2.Consumer(name="@siem", connected=True)]),
            {"name": "'@siem", "connected": "true", "oldest": ""},
        ),
    ],
)
def test_lists_have_a_column_for_every_field(
    console: Console, server: FakeServer, *, command: Any, asked: type[Message], answer: Message, expected: Any
) -> None:
    server.on(asked, answer)
    outcome = console.run("report", *command, "--output", "csv")
    (found,) = csv.DictReader(io.StringIO(outcome.out, newline=""))
    assert {name: found[name] for name in expected} == expected


def test_lists_as_csv_move_no_cursor_of_a_terminal(
    console: Console, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = intake_pb2.DeadLetter(id="1-ab", device_name="\x9b2Jx", reason="no message")
    server.on(intake_pb2.ListDeadLettersRequest, intake_pb2.ListDeadLettersResponse(dead_letters=[letter]))
    listed = ("report", "dead-letters", "list", "--output", "csv")
    assert "\x9b2Jx" in console.run(*listed).out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = console.run(*listed).out
    assert "\\x9b2Jx" in shown
    assert "\x9b" not in shown
