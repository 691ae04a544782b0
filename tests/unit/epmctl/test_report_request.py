"""`epm report --request` is about the attempts of one request for approval: policy says which they are."""

from pathlib import Path

import pytest
from google.protobuf.message import Message

from epm.policy.v1 import requests_pb2
from epm.reporting.v1 import export_pb2, reports_pb2
from services._chassis.errors import InvalidError, NotFoundError, Problem
from tests.builders.console import Console
from tests.fakes.server import FakeServer

ID = "0197a1f0-0000-7000-8000-000000000001"
OWN = reports_pb2.ElevationFilter(attempt_ids=["a1", "u1", "u2"], device_ids=["d1"])


def holds(server: FakeServer, uses: int = 2) -> None:
    """Let the server have a request of `a1`, which was used so often, twice of which it tells."""
    request = requests_pb2.ElevationRequest(id=ID, attempt_id="a1", device_id="d1")
    request.access.uses = uses
    told = [requests_pb2.ElevationRequestUse(attempt_id=name) for name in ("u2", "u1")]
    shown = requests_pb2.GetElevationRequestResponse(request=request, uses=told)
    server.on(requests_pb2.GetElevationRequestRequest, shown)
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse())
    server.on(reports_pb2.SummarizeElevationsRequest, reports_pb2.SummarizeElevationsResponse())


def asked(server: FakeServer, kind: type[Message]) -> reports_pb2.ElevationFilter:
    """Return the filter of the one question of a kind."""
    [request] = [each for each in server.asked if isinstance(each, kind)]
    found: reports_pb2.ElevationFilter = getattr(request, "filter")  # noqa: B009 - every question has one
    return found


@pytest.mark.parametrize("device", [(), ("--device-id", "d2", "--device-id", "d1")])
def test_a_request_stands_for_the_attempts_that_led_to_it_and_used_it_on_its_device(
    console: Console, server: FakeServer, device: tuple[str, ...]
) -> None:
    holds(server)
    outcome = console.run("report", "elevations", "--request", ID, "--user", "alice", *device)
    assert (outcome.code, outcome.err) == (0, "none\n")
    expected = reports_pb2.ElevationFilter(users=["alice"])
    expected.MergeFrom(OWN)
    assert asked(server, reports_pb2.ListElevationsRequest) == expected


def test_it_narrows_counts_and_files_alike(console: Console, server: FakeServer, tmp_path: Path) -> None:
    holds(server)
    server.on(export_pb2.ExportReportRequest, export_pb2.ExportReportResponse())
    assert console.run("report", "summary", "--request", ID).code == 0
    assert asked(server, reports_pb2.SummarizeElevationsRequest) == OWN
    export = ("report", "export", "elevations", tmp_path / "file.csv", "--format", "csv")
    assert console.run(*export, "--request", ID).code == 0
    assert asked(server, export_pb2.ExportReportRequest) == OWN


def test_what_cannot_be_asked_is_said_before_the_report_is(console: Console, server: FakeServer) -> None:
    holds(server)
    other = console.run("report", "elevations", "--request", ID, "--device-id", "d2")
    assert (other.code, "the request is of the device d1; leave --device-id out" in other.err) == (2, True)
    server.on(requests_pb2.GetElevationRequestRequest, NotFoundError("no such request"))
    missing = console.run("report", "elevations", "--request", ID)
    assert missing.code == 1
    assert f"there is no request '{ID}'; epm requests list lists those there are" in missing.err
    assert not [each for each in server.asked if isinstance(each, reports_pb2.ListElevationsRequest)]
    assert console.run("report", "tail", "--request", ID).code == 2


def test_uses_that_are_left_out_are_spoken_of(console: Console, server: FakeServer) -> None:
    holds(server, uses=5)
    outcome = console.run("report", "elevations", "--request", ID)
    assert (outcome.code, "of 5 uses only the newest 2 are looked for" in outcome.err) == (0, True)


def test_what_the_server_says_of_the_attempts_is_said_of_the_option(console: Console, server: FakeServer) -> None:
    holds(server)
    server.on(reports_pb2.ListElevationsRequest, InvalidError([Problem("filter.attempt_ids", "is too much")]))
    outcome = console.run("report", "elevations", "--request", ID)
    assert (outcome.code, outcome.err) == (2, "--request: is too much\n")


def test_attempts_that_an_approval_elevated_name_its_request(
    console: Console, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    led, used = (reports_pb2.Elevation(attempt_id=name) for name in ("a1", "u1"))
    led.decided.user, used.decided.grant_id = "alice", ID
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse(elevations=[used, led]))
    heading, first, second = console.run("report", "elevations").out.splitlines()
    assert (heading.split()[-1], first.split()[-1], ID in second) == ("REQUEST", ID, False)
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse(elevations=[led]))
    monkeypatch.setenv("COLUMNS", "60")
    narrow = console.run("report", "elevations")
    assert ("REQUEST" in narrow.out, "REQUEST" in narrow.err) == (False, False)
