"""`epm report readiness` and `obstacles`: what they ask for, what they show, and what they say to do next."""

import pytest

from epm.reporting.v1 import export_pb2, insights_pb2, reports_pb2
from epmctl.output import width_of
from tests.builders.console import Console
from tests.fakes.server import FakeServer

ATTEMPT = "01930000-0000-7000-8000-000000000001"


def application(name: str, count: int = 1) -> reports_pb2.ApplicationCount:
    return reports_pb2.ApplicationCount(file_name=f"{name}.exe", count=count, version="1.2", publisher="CN=Example")


def entry(**values: object) -> insights_pb2.ReadinessEntry:
    return insights_pb2.ReadinessEntry(**values)  # type: ignore[arg-type]


def readiness(*entries: insights_pb2.ReadinessEntry, token: str = "") -> insights_pb2.ListReadinessResponse:
    split = insights_pb2.ReadinessSplit(managed_only=7, both=2, unmanaged_only=1)
    return insights_pb2.ListReadinessResponse(entries=entries, split=split, next_page_token=token)


ALICE = entry(user="alice", readiness=insights_pb2.READINESS_READY, managed=12)
BOB = entry(
    user="bob",
    readiness=insights_pb2.READINESS_PARTLY,
    administrator=True,
    managed=3,
    unmanaged=9,
    obstacle_count=5,
    obstacles=[application(name) for name in ("one", "two", "three", "four")],
)


def test_readiness_shows_how_all_are_split_then_each_with_what_is_in_the_way(
    console: Console, server: FakeServer
) -> None:
    server.on(insights_pb2.ListReadinessRequest, readiness(ALICE, BOB))
    console.monkeypatch.setenv("COLUMNS", "100")
    outcome = console.run("report", "readiness")
    assert outcome.code == 0
    assert outcome.out == (
        "10 users with attempts\n" + "█" * 42 + "▒" * 12 + "░" * 6 + "\n"
        "█ ready 7 (70 %)  ▒ partly 2 (20 %)  ░ unmanaged 1 (10 %)\n"
        "\n"
        "#  USER   VERDICT  ADMIN  MANAGED  UNMANAGED  IN THE WAY\n"
        "1  alice  READY    no          12          0  -\n"
        "2  bob    PARTLY   yes          3          9  one.exe, two.exe, three.exe, 2 more\n"
    )
    assert "epm report obstacles" in outcome.err


def test_where_everybody_is_ready_nothing_is_left_to_do(console: Console, server: FakeServer) -> None:
    split = insights_pb2.ReadinessSplit(managed_only=1)
    server.on(insights_pb2.ListReadinessRequest, insights_pb2.ListReadinessResponse(entries=[ALICE], split=split))
    outcome = console.run("report", "readiness")
    assert outcome.out.startswith("1 user with attempts\n")
    assert "obstacles" not in outcome.err


def test_nobody_with_attempts_is_no_page_full_of_bars(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.ListReadinessRequest, insights_pb2.ListReadinessResponse())
    outcome = console.run("report", "readiness")
    assert outcome.out.splitlines()[0] == "0 users with attempts"
    assert "%" not in outcome.out


def test_readiness_asks_for_what_the_options_say(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.ListReadinessRequest, readiness())
    console.run(
        "report", "readiness", "--by", "device", "--verdict", "ready", "--verdict", "partly", "--device", "ws-17"
    )
    (request,) = server.requests(insights_pb2.ListReadinessRequest)
    assert request.subject == insights_pb2.READINESS_SUBJECT_DEVICE
    assert list(request.readiness) == [insights_pb2.READINESS_READY, insights_pb2.READINESS_PARTLY]
    assert list(request.filter.devices) == ["ws-17"]


def test_devices_are_shown_by_name(console: Console, server: FakeServer) -> None:
    device = entry(device_id="d-1", device_name="ws-17", readiness=insights_pb2.READINESS_UNMANAGED, unmanaged=1)
    server.on(insights_pb2.ListReadinessRequest, readiness(device))
    outcome = console.run("report", "readiness", "--by", "device")
    assert outcome.out.splitlines()[0] == "10 devices with attempts"
    assert "1  ws-17   UNMANAGED  no           0          1  -" in outcome.out


def test_readiness_in_json_is_the_entries_alone(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.ListReadinessRequest, readiness(BOB))
    (told,) = console.run("report", "readiness", "--output", "json").json
    assert (told["user"], told["readiness"], told["obstacleCount"]) == ("bob", "PARTLY", 5)


def test_a_file_holds_everybody(console: Console, server: FakeServer) -> None:
    server.streams(export_pb2.ExportReportRequest, [export_pb2.ExportReportResponse(data=b"user\nalice\n")])
    outcome = console.run("report", "readiness", "--by", "device", "--output", "csv")
    (request,) = server.requests(export_pb2.ExportReportRequest)
    assert (outcome.code, request.report) == (0, export_pb2.REPORT_KIND_READINESS)
    assert request.subject == insights_pb2.READINESS_SUBJECT_DEVICE
    refused = console.run("report", "readiness", "--verdict", "ready", "--output", "csv")
    assert refused.code == 2
    assert "leave --verdict out" in refused.err


@pytest.mark.parametrize("report", ["readiness", "obstacles"])
@pytest.mark.parametrize("option", ["--managed", "--unmanaged"])
def test_half_of_the_attempts_make_nobody_ready(console: Console, server: FakeServer, report: str, option: str) -> None:
    outcome = console.run("report", report, option)
    assert outcome.code == 2
    assert "leave --managed and --unmanaged out" in outcome.err
    assert not server.asked


def obstacle(name: str, **values: object) -> insights_pb2.Obstacle:
    told = {"users": 3, "devices": 4, "users_freed": 2, "attempt_id": ATTEMPT, **values}
    return insights_pb2.Obstacle(application=application(name, 9), **told)  # type: ignore[arg-type]


def test_obstacles_are_shown_with_whom_they_free_and_an_attempt_to_make_a_rule_from(
    console: Console, server: FakeServer
) -> None:
    answer = insights_pb2.ListObstaclesResponse(obstacles=[obstacle("setup"), obstacle("gone", attempt_id="")])
    server.on(insights_pb2.ListObstaclesRequest, answer)
    console.monkeypatch.setenv("COLUMNS", "120")
    outcome = console.run("report", "obstacles")
    first, *rows = outcome.out.splitlines()
    assert first.split() == ["#", "FREED", "USERS", "DEVICES", "COUNT", "FILE", "VERSION", "PUBLISHER", "ATTEMPT"]
    assert rows[0].split() == ["1", "2", "3", "4", "9", "setup.exe", "1.2", "CN=Example", ATTEMPT]
    assert rows[1].split()[-1] == "-"
    assert "epm rule propose --event ATTEMPT" in outcome.err


def test_without_obstacles_there_is_nothing_to_propose(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.ListObstaclesRequest, insights_pb2.ListObstaclesResponse())
    assert "propose" not in console.run("report", "obstacles").err


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_tables_fit_the_terminal(console: Console, server: FakeServer, columns: int) -> None:
    server.on(insights_pb2.ListReadinessRequest, readiness(ALICE, BOB))
    server.on(insights_pb2.ListObstaclesRequest, insights_pb2.ListObstaclesResponse(obstacles=[obstacle("s" * 90)]))
    console.monkeypatch.setenv("COLUMNS", str(columns))
    for report in ("readiness", "obstacles"):
        outcome = console.run("report", report)
        widths = [width_of(line) for line in outcome.out.splitlines()]
        # The attempt is never cut: it is what the next command needs.
        assert max(widths) <= max(columns, 60 if report == "obstacles" else 0)


def test_a_row_opens_the_attempts_behind_it(console: Console, server: FakeServer) -> None:
    drill_down = reports_pb2.ElevationFilter(users=["bob"])
    opened = insights_pb2.ReadinessEntry()
    opened.CopyFrom(BOB)
    opened.drill_down.CopyFrom(drill_down)
    server.on(insights_pb2.ListReadinessRequest, readiness(ALICE, opened))
    outcome = console.run("report", "readiness", "--open", "2")
    (request,) = server.requests(reports_pb2.ListElevationsRequest)
    assert request.drill_down == drill_down
    assert "row 2: USER bob" in outcome.err
    assert "with attempts" not in outcome.out
