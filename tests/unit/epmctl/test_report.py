"""`epm report` asks for the attempts that the options name, page by page, and shows them."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import insights_pb2, reports_pb2
from epmctl.moments import parse_moment
from services._chassis.errors import InvalidError, Problem
from tests.builders.console import Console
from tests.fakes.server import FakeServer

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOON = Timestamp(seconds=1_795_435_200, nanos=5)


Filter = reports_pb2.ElevationFilter
_USERS = (("alice", 9), ("bob", 4))


def elevation(number: int = 1, **decided: object) -> reports_pb2.Elevation:
    told: dict[str, object] = {
        "user": "alice",
        "file": event_pb2.FileFacts(path="C:\\Setup.exe"),
        "source": event_pb2.SOURCE_RULE,
        "policy": "tools",
        "rule": "setup",
        "elevation_type": rules_pb2.ELEVATION_TYPE_AUTOMATIC,
        "result": event_pb2.ATTEMPT_RESULT_ELEVATED,
    }
    return reports_pb2.Elevation(
        attempt_id=f"a{number}",
        device_name="ws-1",
        occurred=NOON,
        decided=event_pb2.Decided(**{**told, **decided}),  # type: ignore[arg-type]
    )


def test_the_summary_counts_in_three_tables(console: Console, server: FakeServer) -> None:
    server.on(reports_pb2.SummarizeElevationsRequest, _summary())

    outcome = console.run("report", "summary")

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "ATTEMPTS   COUNT\ntotal         12\nmanaged       11\nunmanaged      1\n\n"
        "RESULT    COUNT\nDENIED        5\nELEVATED      7\n\n"
        "ELEVATION TYPE  COUNT\n-                   1\nAUTOMATIC          11\n"
    )


def test_the_summary_in_json_names_results(console: Console, server: FakeServer) -> None:
    server.on(reports_pb2.SummarizeElevationsRequest, _summary())

    assert console.run("report", "summary", "--output", "json").json == {
        "total": 12,
        "managed": 11,
        "unmanaged": 1,
        "results": [{"result": "DENIED", "count": 5}, {"result": "ELEVATED", "count": 7}],
        "elevationTypes": [{"elevationType": None, "count": 1}, {"elevationType": "AUTOMATIC", "count": 11}],
    }


def test_elevations_say_who_did_what_where_and_by_which_rule(console: Console, server: FakeServer) -> None:
    by_default = elevation(2, source=event_pb2.SOURCE_DEFAULT_RESPONSE, policy="", rule="")
    answer = reports_pb2.ListElevationsResponse(elevations=[elevation(), by_default])
    server.on(reports_pb2.ListElevationsRequest, answer)

    outcome = console.run("report", "elevations")

    assert [line.split() for line in outcome.out.splitlines()[1:]] == [
        ["2026-11-23T12:00:00Z", "ws-1", "alice", "ELEVATED", "AUTOMATIC", "tools/setup", "C:\\Setup.exe", "a1"],
        ["2026-11-23T12:00:00Z", "ws-1", "alice", "ELEVATED", "AUTOMATIC", "DEFAULT_RESPONSE", "C:\\Setup.exe", "a2"],
    ]


def test_applications_publishers_and_users_are_counted(console: Console, server: FakeServer) -> None:
    application = reports_pb2.ApplicationCount(file_name="Setup.exe", version="1.2", company_name="V", count=3)
    server.on(reports_pb2.ListApplicationsRequest, reports_pb2.ListApplicationsResponse(applications=[application]))
    publisher = reports_pb2.PublisherCount(publisher="CN=V", count=2)
    server.on(reports_pb2.ListPublishersRequest, reports_pb2.ListPublishersResponse(publishers=[publisher]))
    user = reports_pb2.UserCount(user="alice", managed=8, unmanaged=1, total=9)
    server.on(reports_pb2.ListUsersRequest, reports_pb2.ListUsersResponse(users=[user]))

    rows = {name: console.run("report", name).out.splitlines()[1].split() for name in _LISTS}

    assert rows == {
        "applications": ["1", "3", "Setup.exe", "1.2", "V", "-", "-"],
        "publishers": ["1", "2", "-", "CN=V"],
        "users": ["1", "alice", "8", "1", "9"],
    }


@pytest.mark.parametrize("report", ["summary", "elevations", "applications", "publishers", "users"])
def test_every_report_takes_every_filter(console: Console, server: FakeServer, report: str) -> None:
    arguments = [
        "--since",
        "2026-11-22T00:00:00Z",
        "--until",
        "2026-11-23T02:00:00+02:00",
        "--user",
        "alice",
        "--user",
        "bob",
    ]
    arguments += ["--policy", "p", "--rule", "r", "--publisher", "CN=V", "--file", "a.exe", "--sha256", "ab" * 32]
    arguments += ["--source", "rule", "--source", "STALE"]
    arguments += ["--device", "ws-1", "--result", "DENIED", "--result", "refused", "--elevation-type", "DENY"]
    arguments += ["--elevation-type", "none", "--device-id", "d1", "--device-group", "lab", "--user-group", "people"]
    arguments += ["--company", "", "--internal-name", "s", "--file-version", "1.2", "--standard-user"]

    outcome = console.run("report", report, *arguments, "--unmanaged", "--by-rule")

    assert outcome.code == 0
    (request,) = server.asked
    assert getattr(request, "filter") == reports_pb2.ElevationFilter(  # noqa: B009 - every request has one
        occurred_from=Timestamp(seconds=1_795_305_600),
        occurred_before=Timestamp(seconds=1_795_392_000),
        users=["alice", "bob"],
        devices=["ws-1"],
        results=[event_pb2.ATTEMPT_RESULT_DENIED, event_pb2.ATTEMPT_RESULT_REFUSED],
        elevation_types=[rules_pb2.ELEVATION_TYPE_DENY, rules_pb2.ELEVATION_TYPE_UNSPECIFIED],
        managed=False,
        governed_by_rule=True,
        policies=["p"],
        rules=["r"],
        publishers=["CN=V"],
        file_names=["a.exe"],
        sha256s=["ab" * 32],
        sources=[event_pb2.SOURCE_RULE, event_pb2.SOURCE_STALE],
        device_ids=["d1"],
        device_groups=["lab"],
        user_groups=["people"],
        company_names=[""],
        internal_names=["s"],
        versions=["1.2"],
        administrator=False,
    )


@pytest.mark.parametrize("report", ["elevations", "managed", "denied", "applications", "publishers", "users"])
def test_every_list_is_asked_for_in_an_order(console: Console, server: FakeServer, report: str) -> None:
    assert console.run("report", report, "--order-by", "count desc").code == 0
    assert console.run("report", report).code == 0
    assert [getattr(request, "order_by") for request in server.asked] == ["count desc", ""]  # noqa: B009 - each has one


def test_the_attempts_behind_a_row_are_listed(console: Console, server: FakeServer) -> None:
    users = [reports_pb2.UserCount(user=name, total=total, drill_down=Filter(users=[name])) for name, total in _USERS]
    server.on(reports_pb2.ListUsersRequest, reports_pb2.ListUsersResponse(users=users))
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse(elevations=[elevation(7)]))

    table = console.run("report", "users", "--managed", "--order-by", "user")
    outcome = console.run("report", "users", "--managed", "--order-by", "user", "--open", "2", "--limit", "5")

    assert [line.split()[:2] for line in table.out.splitlines()] == [["#", "USER"], ["1", "alice"], ["2", "bob"]]
    assert outcome.out.splitlines()[1].split()[-1] == "a7"
    assert outcome.err == "row 2: USER bob, MANAGED 0, UNMANAGED 0, TOTAL 4\n"
    (_, counted), (listed,) = (
        server.requests(reports_pb2.ListUsersRequest),
        server.requests(reports_pb2.ListElevationsRequest),
    )
    assert (counted.order_by, counted.filter.managed) == ("user", True)
    assert listed == reports_pb2.ListElevationsRequest(
        filter=Filter(managed=True), drill_down=Filter(users=["bob"]), page_size=6
    )


def test_a_row_whose_application_tells_its_attempts_is_opened_too(console: Console, server: FakeServer) -> None:
    application = reports_pb2.ApplicationCount(file_name="a.exe", count=3, drill_down=Filter(device_ids=["d1"]))
    row = insights_pb2.UserApplicationCount(start=NOON, user="alice", application=application)
    answer = insights_pb2.ListUserApplicationsResponse(user_applications=[row])
    server.on(insights_pb2.ListUserApplicationsRequest, answer)
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse(elevations=[elevation(7)]))

    outcome = console.run("report", "user-applications", "--open", "1", "--output", "json")

    assert [entry["attemptId"] for entry in outcome.json] == ["a7"]
    (listed,) = server.requests(reports_pb2.ListElevationsRequest)
    assert listed.drill_down == reports_pb2.ElevationFilter(device_ids=["d1"])


def test_a_row_that_there_is_not_cannot_be_opened(console: Console, server: FakeServer) -> None:
    server.on(reports_pb2.ListUsersRequest, reports_pb2.ListUsersResponse(users=[reports_pb2.UserCount(user="a")]))

    outcome = console.run("report", "users", "--open", "2")

    assert outcome.code == 1
    assert "the report has no row 2 now" in outcome.err
    assert not server.requests(reports_pb2.ListElevationsRequest)
    assert console.run("report", "elevations", "--open", "1").code == 2


@pytest.mark.parametrize("report", ["elevations", "managed", "denied", "applications"])
def test_the_lists_fit_sixty_columns(console: Console, server: FakeServer, report: str) -> None:
    found = elevation(1, user="DOMAIN\\" + "u" * 40)
    found.device_name = "ws-" + "9" * 40
    found.decided.result = event_pb2.ATTEMPT_RESULT_APPROVAL_REQUIRED
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse(elevations=[found]))
    console.monkeypatch.setenv("COLUMNS", "60")
    out = console.run("report", report).out
    assert max(map(len, out.splitlines())) <= 60


def test_the_longest_texts_are_cut_first_and_files_last(console: Console, server: FakeServer) -> None:
    found = elevation(1, user="DOMAIN\\" + "u" * 40)
    found.decided.file.path = "/usr/local/lib/tools/bin/setup.exe"
    found.device_name = "ws-" + "9" * 30
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse(elevations=[found]))
    console.monkeypatch.setenv("COLUMNS", "150")
    out = console.run("report", "elevations").out
    assert "/usr/local/lib/tools/bin/setup.exe" in out
    assert "u" * 40 not in out
    assert max(map(len, out.splitlines())) <= 150


def test_columns_are_left_out_before_a_file_cannot_be_told(console: Console, server: FakeServer) -> None:
    found = elevation(1)
    found.decided.file.path = "C:\\Program Files\\A Vendor\\VendorSetup.exe"
    found.decided.result = event_pb2.ATTEMPT_RESULT_APPROVAL_REQUIRED
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse(elevations=[found]))
    console.monkeypatch.setenv("COLUMNS", "80")
    outcome = console.run("report", "elevations")
    assert outcome.out.splitlines()[1].endswith("\\VendorSetup.exe")
    assert outcome.err.startswith("left out for want of room: ELEVATION TYPE, ATTEMPT, DECIDED BY; ")


def test_an_empty_list_says_so(console: Console, server: FakeServer) -> None:
    server.on(reports_pb2.ListElevationsRequest, reports_pb2.ListElevationsResponse())
    outcome = console.run("report", "elevations")
    assert (outcome.out.splitlines()[0].split()[0], outcome.err) == ("OCCURRED", "none\n")
    assert console.run("report", "elevations", "--output", "json").err == ""


def test_without_filters_nothing_is_restricted(console: Console, server: FakeServer) -> None:
    console.run("report", "summary")

    assert server.requests(reports_pb2.SummarizeElevationsRequest)[0].filter == reports_pb2.ElevationFilter()


def test_managed_and_unmanaged_are_asked_for_apart(console: Console, server: FakeServer) -> None:
    console.run("report", "summary", "--managed")

    (request,) = server.requests(reports_pb2.SummarizeElevationsRequest)
    assert (request.filter.HasField("managed"), request.filter.managed) == (True, True)


@pytest.mark.parametrize(("limit", "shown"), [(3, 3), (7, 7), (8, 8), (0, 8), (100, 8)])
def test_pages_are_fetched_up_to_the_limit(console: Console, server: FakeServer, limit: int, shown: int) -> None:
    server.on(reports_pb2.ListElevationsRequest, _page_of_eight)

    outcome = console.run("report", "elevations", "--limit", str(limit), "--output", "json")

    assert [entry["attemptId"] for entry in outcome.json] == [f"a{number}" for number in range(shown)]
    more = f"there are more than {limit}; --limit 0 shows all of them\n"
    assert outcome.err == (more if 0 < limit < 8 else "")


def test_bad_options_are_bad_input(console: Console, server: FakeServer) -> None:
    outcomes = [
        console.run("report", "summary", *arguments)
        for arguments in (
            ("--since", "yesterday"),
            ("--since", "2026-13-01T00:00:00Z"),
            ("--since", "1h", "--until", "2h"),
            ("--result", "LOST"),
        )
    ]

    assert [outcome.code for outcome in outcomes] == [2, 2, 2, 2]
    forms = "a time such as 2026-11-23T12:00:00Z, a day such as 2026-11-23, or a span such as 24h, 7d or P1D"
    assert f"must be {forms}, not 'yesterday'" in outcomes[0].err
    assert "--since must be earlier than --until" in outcomes[2].err
    assert server.asked == []


def test_everything_that_is_wrong_with_a_filter_is_told_at_once(console: Console, server: FakeServer) -> None:
    wrong = ("--since", "foo", "--until", "bar", "--result", "NOPE", "--sha256", "zz")
    either = ("--managed", "--unmanaged", "--administrator", "--standard-user")
    outcome = console.run("report", "elevations", *wrong, *either)
    assert outcome.code == 2
    for told in (
        "--since: must be a time",
        "--until: must be a time",
        "--result: 'NOPE' is not one of",
        "--sha256: 'zz' is no SHA-256",
        "--managed and --unmanaged leave nothing together",
        "--administrator and --standard-user leave nothing together",
    ):
        assert told in outcome.err
    assert server.asked == []


def test_what_the_server_refuses_is_called_by_the_name_of_its_option(console: Console, server: FakeServer) -> None:
    refused = [Problem("filter.device_groups", "there is no such group"), Problem("order_by", "is no order")]
    refused += [Problem("filter.managed", "must not be set"), Problem("page_size", "is negative")]
    server.on(reports_pb2.ListElevationsRequest, InvalidError(refused))
    outcome = console.run("report", "elevations", "--device-group", "lab")
    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        "--device-group: there is no such group",
        "--order-by: is no order",
        "--managed or --unmanaged: must not be set",
        "page_size: is negative",
    ]


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("24h", timedelta(hours=24)),
        ("30m", timedelta(minutes=30)),
        ("90s", timedelta(seconds=90)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("P1D", timedelta(days=1)),
        ("PT12H", timedelta(hours=12)),
    ],
)
def test_a_span_counts_from_now(text: str, before: timedelta) -> None:
    assert parse_moment(text, now=NOW, direction=-1) == NOW - before
    assert parse_moment(text, now=NOW, direction=+1) == NOW + before


def test_a_day_is_its_beginning_in_utc() -> None:
    assert parse_moment("2026-11-23", now=NOW, direction=-1) == datetime(2026, 11, 23, tzinfo=UTC)


def test_a_day_to_come_is_no_time() -> None:
    with pytest.raises(ValueError, match="must say when on that day, such as 2026-12-01T12:00:00Z"):
        parse_moment("2026-12-01", now=NOW, direction=+1)


@pytest.mark.parametrize(
    "text", ["", "h", "1y", "P1Y", "-1h", "P", "999999999w", "2026-11-31", "2026-11-23T12:00:00", "²h"]
)
def test_what_is_neither_time_nor_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is too far|exists"):
        parse_moment(text, now=NOW, direction=-1)


def _summary() -> reports_pb2.SummarizeElevationsResponse:
    return reports_pb2.SummarizeElevationsResponse(
        total=12,
        managed=11,
        unmanaged=1,
        results=[
            reports_pb2.ResultCount(result=event_pb2.ATTEMPT_RESULT_DENIED, count=5),
            reports_pb2.ResultCount(result=event_pb2.ATTEMPT_RESULT_ELEVATED, count=7),
        ],
        elevation_types=[
            reports_pb2.TypeCount(count=1),
            reports_pb2.TypeCount(elevation_type=rules_pb2.ELEVATION_TYPE_AUTOMATIC, count=11),
        ],
    )


def _page_of_eight(request: reports_pb2.ListElevationsRequest) -> reports_pb2.ListElevationsResponse:
    """Answer as a server would that holds eight attempts and gives at most three a page."""
    first = int(request.page_token or 0)
    after = min(first + min(request.page_size, 3), 8)
    return reports_pb2.ListElevationsResponse(
        elevations=[elevation(number) for number in range(first, after)],
        next_page_token=str(after) if after < 8 else "",
    )


_LISTS = ("applications", "publishers", "users")
