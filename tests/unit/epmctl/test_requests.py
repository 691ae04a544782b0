"""`epm requests` shows who asks to elevate what, and carries what approvers say."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from elevation.certificates import parse_pem
from epm.elevation.v1 import event_pb2, rules_pb2
from epm.policy.v1 import requests_pb2
from epmctl import following
from services._chassis.errors import NotFoundError, StateError, UnavailableError
from tests.builders.console import Console
from tests.builders.documents import HASH
from tests.builders.elevation import certificate
from tests.fakes.server import Answer, FakeServer

ID = "0198a000-0000-7000-8000-000000000001"
CHAIN = [certificate("vendor").der, certificate("issuing").der]
FILE = event_pb2.FileFacts(
    path="C:\\Setup.exe",
    sha256=HASH,
    publisher="CN=Vendor",
    product_name="Tool",
    version="1.2",
    company_name="Vendor Ltd",
)


def moment(back: timedelta = timedelta()) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) - back)
    return stamp


def request(
    state: "requests_pb2.ElevationRequestState.ValueType" = requests_pb2.ELEVATION_REQUEST_STATE_PENDING,
    request_id: str = ID,
    user: str = "alice",
) -> requests_pb2.ElevationRequest:
    """Make a request of an hour ago, which can be decided for a bit more than two days."""
    return requests_pb2.ElevationRequest(
        id=request_id,
        state=state,
        device_id="d1",
        device_name="ws-1",
        user=user,
        justification="new driver",
        attempt_id="a1",
        submitted=moment(timedelta(hours=1, minutes=5, seconds=30)),
        review_deadline=moment(-timedelta(days=2, hours=3, minutes=30)),
        platform=rules_pb2.PLATFORM_WINDOWS,
        file=FILE,
        arguments=["/s", "a b"],
        policy="tools",
        rule="setup",
    )


def approved(max_uses: int = 1) -> requests_pb2.ElevationRequest:
    found = request(requests_pb2.ELEVATION_REQUEST_STATE_APPROVED)
    found.review.CopyFrom(requests_pb2.ElevationRequestReview(reviewer="user:carol", reviewed=moment(), reason="fine"))
    found.access.until.FromDatetime(datetime(2099, 1, 1, 20, tzinfo=UTC))
    getattr(found.access, "from").FromDatetime(datetime(2099, 1, 1, 12, tzinfo=UTC))
    found.access.max_uses, found.access.uses = max_uses, 1
    return found


def holds(server: FakeServer, *found: requests_pb2.ElevationRequest) -> None:
    """Let the server list these, and show the first with its certificates."""
    listed = requests_pb2.ListElevationRequestsResponse(requests=found)
    server.on(requests_pb2.ListElevationRequestsRequest, listed)
    shown = requests_pb2.GetElevationRequestResponse(request=found[0], certificates=CHAIN)
    server.on(requests_pb2.GetElevationRequestRequest, shown)


def words(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def test_a_list_says_who_asks_for_what_since_when_and_how_long_there_is(console: Console, server: FakeServer) -> None:
    holds(server, request())
    outcome = console.run("requests", "list")
    assert (outcome.code, outcome.err) == (0, "")
    heading, line = outcome.out.splitlines()
    told = dict(zip(words(heading), words(line), strict=True))
    assert told == {
        "STATE": "PENDING",
        "AGE": "65 min",
        "LEFT": "2 days",
        "USER": "alice",
        "DEVICE": "ws-1",
        "FILE": "C:\\Setup.exe",
        "PUBLISHER": "CN=Vendor",
        "JUSTIFICATION": "new driver",
        "REVIEWER": "-",
        "ID": ID,
    }
    [asked] = server.requests(requests_pb2.ListElevationRequestsRequest)
    assert asked.filter == ""


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_list_fits_the_terminal_and_cuts_no_identifier(console: Console, server: FakeServer, columns: int) -> None:
    long = request(user="somebody-with-a-long-name@example.com")
    long.file.path = "C:\\Users\\somebody\\Downloads\\installers\\of-all-kinds\\setup-of-the-driver-1.2.3.exe"
    holds(server, long)
    console.monkeypatch.setenv("COLUMNS", str(columns))
    lines = console.run("requests", "list").out.splitlines()
    assert all(len(line) <= columns for line in lines)
    assert ID in lines[1]


def test_states_and_filters_narrow_together(console: Console, server: FakeServer) -> None:
    console.run("requests", "list", "--state", "pending", "--state", "DENIED", "--filter", 'user = "a" OR user = "b"')
    [asked] = server.requests(requests_pb2.ListElevationRequestsRequest)
    assert asked.filter == '(state = "PENDING" OR state = "DENIED") AND (user = "a" OR user = "b")'


def test_a_list_goes_over_pages_and_says_that_there_is_more(console: Console, server: FakeServer) -> None:
    def page(asked: requests_pb2.ListElevationRequestsRequest) -> requests_pb2.ListElevationRequestsResponse:
        number = int(asked.page_token or 0)
        return requests_pb2.ListElevationRequestsResponse(
            requests=[request(request_id=f"r{number}")], next_page_token=str(number + 1)
        )

    server.on(requests_pb2.ListElevationRequestsRequest, page)
    outcome = console.run("requests", "list", "--limit", "2", "--output", "json")
    assert [found["id"] for found in outcome.json] == ["r0", "r1"]
    assert "--limit 0 shows all" in outcome.err


def test_what_devices_and_users_say_moves_no_cursor(console: Console, server: FakeServer) -> None:
    evil = approved()
    evil.file.path = evil.justification = evil.user = evil.device_name = evil.arguments[0] = "\x1b[2J\u202e\nx"
    holds(server, evil)
    server.on(requests_pb2.DenyElevationRequestRequest, requests_pb2.DenyElevationRequestResponse(request=evil))
    server.streams(
        requests_pb2.WatchElevationRequestsRequest, [requests_pb2.WatchElevationRequestsResponse(requests=[evil])]
    )
    for command in (("list",), ("show", ID), ("deny", ID, "--reason", "no"), ("watch", "--limit", "1")):
        for output in ("table", "json"):
            outcome = console.run("requests", *command, "--output", output)
            assert outcome.code == 0
            assert not {"\x1b", "\u202e"} & set(outcome.out)
            assert "\nx" not in outcome.out


def test_one_request_is_shown_with_all_there_is_to_know(console: Console, server: FakeServer) -> None:
    found = approved()
    found.end.CopyFrom(requests_pb2.ElevationRequestEnd(ended=moment(), ended_by="user:dave", reason="enough"))
    holds(server, found)
    outcome = console.run("requests", "show", ID)
    assert (outcome.code, outcome.err) == (0, "")
    told = dict(line.split("  ", 1) for line in outcome.out.splitlines())
    told = {heading: value.strip() for heading, value in told.items()}
    expected = {
        "ID": ID,
        "USER": "alice",
        "DEVICE": "ws-1 (d1)",
        "JUSTIFICATION": "new driver",
        "ASKED BY": "tools/setup",
        "FILE": "C:\\Setup.exe",
        "SHA-256": HASH,
        "PUBLISHER": "CN=Vendor",
        "PRODUCT": "Tool",
        "VERSION": "1.2",
        "COMPANY": "Vendor Ltd",
        "ARGUMENTS": '"/s" "a b"',
        "REVIEWER": "user:carol",
        "THEIR REASON": "fine",
        "ACCESS": "2099-01-01T12:00:00Z to 2099-01-01T20:00:00Z, 8 h",
        "USES": "1 of 1",
        "ENDED BY": "user:dave",
        "BECAUSE": "enough",
        "CERTIFICATES": "2, --certificates FILE writes them",
        "DEVICE TOLD": "no",
    }
    assert {heading: told[heading] for heading in expected} == expected
    assert told["STATE"].startswith("APPROVED, ")
    assert told["SUBMITTED"].endswith(", 65 min ago")
    assert console.run("requests", "show", ID, "--output", "json").json["certificates"] == [der.hex() for der in CHAIN]


def test_the_newest_attempts_that_used_an_approval_are_shown_and_where_the_report_has_them(
    console: Console, server: FakeServer
) -> None:
    noon = Timestamp(seconds=1_795_435_200, nanos=5)
    uses = [requests_pb2.ElevationRequestUse(attempt_id=f"u{number}", used=noon) for number in range(12)]
    found = requests_pb2.GetElevationRequestResponse(request=approved(max_uses=20), uses=uses)
    server.on(requests_pb2.GetElevationRequestRequest, found)
    lines = console.run("requests", "show", ID).out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("USED "))
    assert [line[len("JUSTIFICATION") :].strip() for line in lines[start : start + 12]] == [
        *(f"2026-11-23T12:00:00Z by attempt u{number}" for number in range(10)),
        "2 more before that",
        f"epm report elevations --request {ID}",
    ]
    told = console.run("requests", "show", ID, "--output", "json").json["uses"]
    assert [use["attemptId"] for use in told] == [f"u{number}" for number in range(12)]


def test_the_chain_is_written_as_pem_the_signing_certificate_first(
    console: Console, server: FakeServer, tmp_path: Path
) -> None:
    holds(server, request())
    chain = tmp_path / "chain.pem"
    assert console.run("requests", "show", ID, "--certificates", chain).code == 0
    end = "-----END CERTIFICATE-----\n"
    parts = [part + end for part in chain.read_text().split(end)[:-1]]
    assert [parse_pem(part).der for part in parts] == CHAIN
    missing = console.run("requests", "show", ID, "--certificates", tmp_path / "no" / "chain.pem")
    assert (missing.code, missing.err.count("\n")) == (1, 1)
    server.on(requests_pb2.GetElevationRequestRequest, requests_pb2.GetElevationRequestResponse(request=request()))
    unsigned = console.run("requests", "show", ID, "--certificates", tmp_path / "none.pem")
    assert (unsigned.code, (tmp_path / "none.pem").exists()) == (1, False)
    assert "not signed" in unsigned.err


def test_an_approval_carries_what_is_granted_and_says_what_was(console: Console, server: FakeServer) -> None:
    answer = requests_pb2.ApproveElevationRequestResponse(request=approved())
    server.on(requests_pb2.ApproveElevationRequestRequest, answer)
    options = ("--for", "8h", "--uses", "1", "--any-arguments", "--reason", "ticket 7")
    outcome = console.run("requests", "approve", ID, *options)
    [asked] = server.requests(requests_pb2.ApproveElevationRequestRequest)
    assert (asked.id, asked.access.ToTimedelta(), asked.max_uses) == (ID, timedelta(hours=8), 1)
    assert (asked.any_arguments, asked.reason) == (True, "ticket 7")
    assert [line.strip() for line in outcome.out.splitlines()] == [
        "approved  alice on ws-1: C:\\Setup.exe",
        "once with the arguments of the request, until 2099-01-01T20:00:00Z (8 h)",
    ]


def test_an_approval_leaves_to_the_server_what_is_not_said(console: Console, server: FakeServer) -> None:
    answer = requests_pb2.ApproveElevationRequestResponse(request=approved(max_uses=0))
    server.on(requests_pb2.ApproveElevationRequestRequest, answer)
    outcome = console.run("requests", "approve", ID)
    assert server.requests(requests_pb2.ApproveElevationRequestRequest) == [
        requests_pb2.ApproveElevationRequestRequest(id=ID)
    ]
    assert "any number of times" in outcome.out
    assert console.run("requests", "approve", ID, "--output", "json").json["access"]["uses"] == 1


@pytest.mark.parametrize("options", [("--uses", "0"), ("--uses", "-1"), ("--for", "soon"), ("--reason", "x" * 257)])
def test_an_approval_of_nonsense_is_refused_here(
    console: Console, server: FakeServer, options: tuple[str, str]
) -> None:
    assert console.run("requests", "approve", ID, *options).code == 2
    assert server.asked == []


def test_a_denial_needs_a_reason_and_asks_for_it_until_there_is_one(console: Console, server: FakeServer) -> None:
    server.on(requests_pb2.DenyElevationRequestRequest, requests_pb2.DenyElevationRequestResponse(request=request()))
    outcome = console.run("requests", "deny", ID, stdin=f"   \n{'x' * 257}\n not today \n")
    assert (outcome.code, outcome.out) == (0, "denied  alice on ws-1: C:\\Setup.exe\n")
    assert console.run("requests", "deny", ID, "--reason", "no").code == 0
    asked = server.requests(requests_pb2.DenyElevationRequestRequest)
    assert [(each.id, each.reason) for each in asked] == [(ID, "not today"), (ID, "no")]


@pytest.mark.parametrize("options", [(), ("--reason", "  ")])
def test_a_denial_that_nobody_gives_a_reason_for_is_not_sent(
    console: Console, server: FakeServer, options: tuple[str, ...]
) -> None:
    outcome = console.run("requests", "deny", ID, *options)
    assert (outcome.code, server.asked) == (2, [])
    assert "--reason" in outcome.err


def test_an_approval_is_taken_back(console: Console, server: FakeServer) -> None:
    answer = requests_pb2.RevokeElevationRequestResponse(request=approved())
    server.on(requests_pb2.RevokeElevationRequestRequest, answer)
    assert console.run("requests", "revoke", ID, "--reason", "enough").out == "revoked  alice on ws-1: C:\\Setup.exe\n"
    assert server.requests(requests_pb2.RevokeElevationRequestRequest) == [
        requests_pb2.RevokeElevationRequestRequest(id=ID, reason="enough")
    ]


COMMANDS = (("show", ID), ("approve", ID), ("deny", ID, "--reason", "no"), ("revoke", ID))
ASKED = (
    requests_pb2.GetElevationRequestRequest,
    requests_pb2.ApproveElevationRequestRequest,
    requests_pb2.DenyElevationRequestRequest,
    requests_pb2.RevokeElevationRequestRequest,
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_what_the_server_refuses_is_told_in_a_line(
    console: Console, server: FakeServer, command: tuple[str, ...]
) -> None:
    for kind in ASKED:
        server.on(kind, NotFoundError("no such request"))
    outcome = console.run("requests", *command)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == f"there is no request {ID!r}; epm requests list lists those there are\n"
    for kind in ASKED:
        server.on(kind, StateError("user:dave denied it at 12:00", reason="REQUEST_DECIDED"))
    assert console.run("requests", *command).err == "user:dave denied it at 12:00\n"


def told(cursor: str, *found: str) -> requests_pb2.WatchElevationRequestsResponse:
    return requests_pb2.WatchElevationRequestsResponse(
        cursor=cursor, requests=[request(request_id=one) for one in found]
    )


def streams(server: FakeServer, *calls: list[Answer]) -> None:
    server.streams(requests_pb2.WatchElevationRequestsRequest, *calls)


def test_a_watch_prints_a_line_a_change(console: Console, server: FakeServer) -> None:
    streams(server, [told("1"), told("2", "r1", "r2")])
    lines = console.run("requests", "watch", "--limit", "2").out.splitlines()
    assert [line.split()[1:] for line in lines] == [
        ["PENDING", number, "alice", "ws-1", "C:\\Setup.exe"] for number in ("r1", "r2")
    ]


def test_a_watch_goes_on_where_it_broke_off(console: Console, server: FakeServer, tmp_path: Path) -> None:
    console.monkeypatch.setattr(following, "FIRST_PAUSE", 0.0)
    note = tmp_path / "cursor"
    ended = UnavailableError("a watch ends after a quarter of an hour; watch again", reason="WATCH_ENDED")
    streams(server, [told("1", "r1"), ended], [told("2", "r2"), NotFoundError("enough")])
    outcome = console.run("requests", "watch", "--cursor-file", note)
    assert [line.split()[2] for line in outcome.out.splitlines()] == ["r1", "r2"]
    asked = server.requests(requests_pb2.WatchElevationRequestsRequest)
    assert [each.cursor for each in asked] == ["", "1"]
    assert note.read_text() == "2\n"
    both = console.run("requests", "watch", "--cursor-file", note, "--limit", "1")
    assert (both.code, "--limit" in both.err) == (2, True)
