"""`epm report overview`, `trend`, `user-applications`, `managed` and `denied`: what they ask for, and how they are drawn."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import insights_pb2, reports_pb2
from epmctl.chart import Pen, gathered, share
from epmctl.output import width_of
from tests.builders.console import Console
from tests.fakes.server import FakeServer

FIRST = datetime(2026, 10, 28, tzinfo=UTC)
SUBJECT = "CN=Example Corporation, O=Example Corporation, L=Redmond, S=Washington, C=US"


def stamp(time: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(time)
    return made


def points(*counts: tuple[int, int]) -> list[insights_pb2.TrendPoint]:
    return [
        insights_pb2.TrendPoint(start=stamp(FIRST + timedelta(days=day)), managed=m, unmanaged=u, total=m + u)
        for day, (m, u) in enumerate(counts)
    ]


def overview(**values: object) -> insights_pb2.GetOverviewResponse:
    told: dict[str, object] = {
        "total": 1200,
        "managed": 1199,
        "unmanaged": 1,
        "users": insights_pb2.ReadinessSplit(managed_only=8, both=1, unmanaged_only=1),
        "devices": insights_pb2.ReadinessSplit(managed_only=4),
        "frequently_unmanaged": [reports_pb2.ApplicationCount(count=812, file_name="setup.exe", publisher=SUBJECT)],
        "trend": points((1, 0), (0, 0), (7, 1)),
    }
    return insights_pb2.GetOverviewResponse(**{**told, **values})  # type: ignore[arg-type]


def test_the_overview_is_a_page_of_figures_lists_and_a_trend(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.GetOverviewRequest, overview())
    console.monkeypatch.setenv("COLUMNS", "60")
    outcome = console.run("report", "overview", "--since", "2026-10-28T00:00:00Z")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "ATTEMPTS since 2026-10-28: 1,200\n" + "█" * 59 + "▒\n"
        "  █ managed    1,199   99 %\n"
        "  ▒ unmanaged      1   <1 %\n"
        "\n"
        "USERS with attempts: 10\n" + "█" * 48 + "▒" * 6 + "░" * 6 + "\n"
        "  █ managed alone: ready  8   80 %\n"
        "  ▒ both                  1   10 %\n"
        "  ░ unmanaged alone       1   10 %\n"
        "\n"
        "DEVICES with attempts: 4\n" + "█" * 60 + "\n"
        "  █ managed alone: ready  4  100 %\n"
        "  ▒ both                  0    0 %\n"
        "  ░ unmanaged alone       0    0 %\n"
        "\n"
        "FREQUENTLY UNMANAGED\n"
        "COUNT  FILE       VERSION  PUBLISHER          ELEVATION TYPE\n"
        "  812  setup.exe  -        CN=Ex…ngton, C=US  -\n"
        "\n"
        "FREQUENTLY APPROVED: none\n"
        "\n"
        "FREQUENTLY DENIED: none\n"
        "\n"
        "TREND 2026-10-28 to 2026-10-30\n"
        "▁·█\n"
        "0 to 8 a day\n"
    )


def test_the_overview_asks_for_what_the_options_say(console: Console, server: FakeServer) -> None:
    console.run("report", "overview", "--until", "2026-11-23T00:00:00Z", "--top", "7", "--period", "month")
    (request,) = server.requests(insights_pb2.GetOverviewRequest)
    assert (request.top, request.period, request.filter.HasField("occurred_from")) == (
        7,
        insights_pb2.PERIOD_MONTH,
        False,
    )
    assert request.filter.occurred_before == stamp(datetime(2026, 11, 23, tzinfo=UTC))


def test_without_a_window_the_overview_is_of_thirty_whole_days(console: Console, server: FakeServer) -> None:
    console.run("report", "overview", "--user", "alice")
    (request,) = server.requests(insights_pb2.GetOverviewRequest)
    since = request.filter.occurred_from.ToDatetime(UTC)
    assert (since.hour, since.minute, since.second, since.microsecond) == (0, 0, 0, 0)
    assert timedelta(days=29) <= datetime.now(UTC) - since < timedelta(days=30, minutes=1)
    assert list(request.filter.users) == ["alice"]


def test_the_overview_in_json_is_the_answer(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.GetOverviewRequest, overview())
    told = console.run("report", "overview", "--output", "json").json
    assert (told["total"], told["users"]) == (1200, {"managedOnly": 8, "both": 1, "unmanagedOnly": 1})
    assert [point["total"] for point in told["trend"]] == [1, 0, 8]


def test_an_overview_of_nothing_is_readable(console: Console, server: FakeServer) -> None:
    outcome = console.run("report", "overview", "--since", "2026-10-28T00:00:00Z")
    assert server.asked
    assert outcome.out.startswith("ATTEMPTS since 2026-10-28: 0\n  ")
    assert "FREQUENTLY DENIED: none\n" in outcome.out
    assert "TREND" not in outcome.out


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_no_line_of_the_pages_is_wider_than_the_terminal(console: Console, server: FakeServer, columns: int) -> None:
    long = reports_pb2.ApplicationCount(
        count=3, file_name="a" * 90 + ".exe", version="1.2.3.4", publisher=SUBJECT, company_name="\u5b57" * 50
    )
    trend = points(*((number, 1) for number in range(400)))
    answer = overview(frequently_unmanaged=[long], frequently_denied=[long], trend=trend)
    server.on(insights_pb2.GetOverviewRequest, answer)
    server.on(insights_pb2.GetTrendRequest, insights_pb2.GetTrendResponse(points=trend))
    counted = insights_pb2.UserApplicationCount(
        start=stamp(FIRST), user="DOMAIN\\" + "u" * 50, device_name="ws-" + "9" * 50, application=long
    )
    server.on(
        insights_pb2.ListUserApplicationsRequest,
        insights_pb2.ListUserApplicationsResponse(user_applications=[counted]),
    )
    console.monkeypatch.setenv("COLUMNS", str(columns))
    for report in ("overview", "trend", *(["user-applications"] if columns > 60 else [])):
        out = console.run("report", report, "--since", "2026-10-28T00:00:00Z").out
        assert max(map(width_of, out.splitlines())) <= columns, report


def test_nothing_that_a_device_sent_moves_the_cursor(console: Console, server: FakeServer) -> None:
    evil = reports_pb2.ApplicationCount(count=1, file_name="\x1b[2Jevil\r\n\u202e.exe", publisher="\x07")
    server.on(insights_pb2.GetOverviewRequest, overview(frequently_unmanaged=[evil]))
    out = console.run("report", "overview").out
    assert "\\x1b[2Jevil\\r\\n\\u202e.exe" in out
    assert not {"\x1b", "\r", "\u202e", "\x07"} & set(out)


def test_a_trend_has_a_row_and_a_bar_for_each_period_the_newest_last(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.GetTrendRequest, insights_pb2.GetTrendResponse(points=points((3, 1), (0, 0), (6, 2))))
    console.monkeypatch.setenv("COLUMNS", "76")
    outcome = console.run("report", "trend")
    assert outcome.out == (
        "DAY         MANAGED  UNMANAGED  TOTAL  █ managed, ▒ unmanaged\n"
        "2026-10-28        3          1      4  " + "█" * 13 + "▒" * 5 + "\n"
        "2026-10-29        0          0      0\n"
        "2026-10-30        6          2      8  " + "█" * 27 + "▒" * 10 + "\n"
    )


def test_a_trend_by_month_names_months(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.GetTrendRequest, insights_pb2.GetTrendResponse(points=points((3, 1))))
    lines = console.run("report", "trend", "--period", "month", "--by-rule").out.splitlines()
    assert lines[0].split()[0] == "MONTH"
    assert lines[1].split()[:4] == ["2026-10", "3", "1", "4"]
    (request,) = server.requests(insights_pb2.GetTrendRequest)
    assert (request.period, request.filter.governed_by_rule) == (insights_pb2.PERIOD_MONTH, True)


def test_a_trend_in_json_is_one_list(console: Console, server: FakeServer) -> None:
    server.on(insights_pb2.GetTrendRequest, insights_pb2.GetTrendResponse(points=points((3, 1))))
    assert [point["total"] for point in console.run("report", "trend", "--output", "json").json] == [4]
    server.on(insights_pb2.GetTrendRequest, insights_pb2.GetTrendResponse())
    assert console.run("report", "trend").out == "DAY  MANAGED  UNMANAGED  TOTAL\n"


def test_user_applications_say_who_did_what_where_in_which_period(console: Console, server: FakeServer) -> None:
    counted = insights_pb2.UserApplicationCount(
        start=stamp(FIRST.replace(day=1)),
        user="alice",
        device_id="d1",
        device_name="ws-1",
        application=reports_pb2.ApplicationCount(
            count=4, file_name="setup.exe", version="1.2", elevation_type=rules_pb2.ELEVATION_TYPE_AUTOMATIC
        ),
    )
    server.on(
        insights_pb2.ListUserApplicationsRequest,
        insights_pb2.ListUserApplicationsResponse(user_applications=[counted] * 2),
    )
    outcome = console.run("report", "user-applications", "--period", "month", "--limit", "1", "--user", "alice")
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["#", "MONTH", "USER", "DEVICE", "COUNT", "FILE", "VERSION", "PUBLISHER", "ELEVATION", "TYPE"],
        ["1", "2026-10", "alice", "ws-1", "4", "setup.exe", "1.2", "-", "AUTOMATIC"],
    ]
    assert outcome.err == "there are more than 1; --limit 0 shows all of them\n"
    (request,) = server.requests(insights_pb2.ListUserApplicationsRequest)
    assert (request.period, list(request.filter.users)) == (insights_pb2.PERIOD_MONTH, ["alice"])


def test_managed_and_denied_narrow_what_is_asked_for(console: Console, server: FakeServer) -> None:
    console.run("report", "managed", "--user", "alice", "--managed")
    console.run("report", "denied", "--user", "bob", "--result", "DENIED", "--result", "CANCELLED")
    managed, denied = (request.filter for request in server.requests(reports_pb2.ListElevationsRequest))
    assert managed == reports_pb2.ElevationFilter(users=["alice"], managed=True, governed_by_rule=True)
    assert denied == reports_pb2.ElevationFilter(users=["bob"], results=[event_pb2.ATTEMPT_RESULT_DENIED])


def test_a_report_that_could_show_nothing_is_refused(console: Console, server: FakeServer) -> None:
    for arguments in (("managed", "--unmanaged"), ("denied", "--result", "ELEVATED")):
        outcome = console.run("report", *arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert "leave --" in outcome.err
    assert server.asked == []


def test_a_terminal_that_is_too_narrow_leaves_columns_out_and_says_so(console: Console, server: FakeServer) -> None:
    elevation = reports_pb2.Elevation(
        attempt_id="01a21495-8f52-71c0-a3b4-6d1f0c9e2a71",
        device_name="a-device-with-a-long-name",
        occurred=stamp(FIRST),
        decided=event_pb2.Decided(
            user="alice",
            file=event_pb2.FileFacts(path="C:\\Program Files\\A Vendor\\Product\\setup-of-it.exe"),
            result=event_pb2.ATTEMPT_RESULT_NOT_MANAGED,
            source=event_pb2.SOURCE_ADMINISTRATOR,
        ),
    )
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse(elevations=[elevation]))
    whole = console.run("report", "elevations")
    assert "01a21495-8f52-71c0-a3b4-6d1f0c9e2a71" in whole.out
    console.monkeypatch.setenv("COLUMNS", "80")
    outcome = console.run("report", "elevations")
    heading, row = outcome.out.splitlines()
    assert heading.split() == ["OCCURRED", "DEVICE", "USER", "RESULT", "DECIDED", "BY", "FILE"]
    assert row.endswith("t.exe")
    assert "…" in row
    assert len(row) <= 80
    assert outcome.err.startswith("left out for want of room: ELEVATION TYPE, ATTEMPT; ")


ASCII = Pen("_.:-=+*%#", "#=.", "~")


@pytest.mark.parametrize(
    ("parts", "most", "drawn"),
    [
        ([5, 5], 10, "#####====="),
        ([999, 1], 1000, "#########="),
        ([1, 999, 1], 1001, "#========."),
        ([0, 0], 10, ""),
        ([0, 3], 10, "==="),
        ([1, 0], 1000, "#"),
        ([3, 3], 12, "##==="),
    ],
)
def test_a_bar_is_as_long_as_its_counts_and_hides_none(parts: list[int], most: int, drawn: str) -> None:
    assert ASCII.bar(parts, most, 10) == drawn


def test_a_sparkline_tells_nothing_from_little() -> None:
    assert ASCII.sparkline([0, 1, 500, 1000]) == "_.=#"
    assert ASCII.sparkline([0, 0]) == "__"
    assert ASCII.sparkline([]) == ""


def test_neighbours_are_added_up_where_there_is_no_room_for_all() -> None:
    assert gathered([1, 2, 3], 3) == (1, [1, 2, 3])
    assert gathered([1, 2, 3, 4, 5], 3) == (2, [1, 5, 9])
    assert gathered([], 3) == (1, [])


def test_a_share_is_rounded_but_never_to_all_or_nothing() -> None:
    told = [share(part, 1000) for part in (0, 1, 5, 109, 999, 1000)]
    assert told == ["0 %", "<1 %", "1 %", "11 %", "99 %", "100 %"]
    assert share(0, 0) == "-"
