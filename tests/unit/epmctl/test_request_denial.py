"""An approver is told before they approve what denies the file on the device all the same."""

import pytest

from epm.elevation.v1 import event_pb2
from epm.policy.v1 import requests_pb2
from tests.builders.console import Console
from tests.builders.documents import HASH
from tests.fakes.server import FakeServer

ID = "0198a000-0000-7000-8000-000000000001"
FILE = event_pb2.FileFacts(path="/usr/bin/tool", sha256=HASH, version="1.2", product_name="Tool")


def denial(**values: object) -> requests_pb2.StandingDenial:
    """Deny by a rule, unless something else is said."""
    chosen = {"policy": "blocked", "rule": "malware", **values}
    return requests_pb2.StandingDenial(**chosen)  # type: ignore[arg-type]


def holds(server: FakeServer, denied_by: requests_pb2.StandingDenial | None) -> None:
    """Let the server hold a request that is denied so."""
    found = requests_pb2.ElevationRequest(
        id=ID, state=requests_pb2.ELEVATION_REQUEST_STATE_APPROVED, device_id="d1", user="alice", file=FILE
    )
    for stamp in (found.submitted, found.review_deadline, found.access.until, getattr(found.access, "from")):
        stamp.GetCurrentTime()
    server.on(
        requests_pb2.GetElevationRequestRequest,
        requests_pb2.GetElevationRequestResponse(request=found, denied_by=denied_by),
    )
    server.on(requests_pb2.ApproveElevationRequestRequest, requests_pb2.ApproveElevationRequestResponse(request=found))


@pytest.mark.parametrize(
    ("denied_by", "said"),
    [
        (denial(), "blocked/malware, whatever is approved"),
        (denial(policy="", rule=""), "a rule that you may not see, whatever is approved"),
        (denial(policy="", rule="", default_response=True), "the default response, whatever is approved"),
        (denial(root_only=True), "blocked/malware, whatever is approved, where root alone can write the file"),
        (
            denial(signature_trusted=True, root_only=True),
            "blocked/malware, whatever is approved, where the device trusts the signature and root alone can write the file",
        ),
    ],
)
def test_what_denies_the_file_is_shown_with_the_request_and_told_to_whoever_approves_it(
    console: Console, server: FakeServer, denied_by: requests_pb2.StandingDenial, said: str
) -> None:
    holds(server, denied_by)
    told = dict(line.split("  ", 1) for line in console.run("requests", "show", ID).out.splitlines())
    assert told["DENIED BY"].strip() == said
    approved = console.run("requests", "approve", ID)
    assert (approved.code, approved.err.startswith(f"it is denied by {said}; ")) == (0, True)


def test_where_nothing_denies_it_nothing_is_said(console: Console, server: FakeServer) -> None:
    holds(server, None)
    for command in ("show", "approve"):
        outcome = console.run("requests", command, ID)
        assert (outcome.code, outcome.err, "DENIED BY" in outcome.out) == (0, "", False)


def test_candidates_that_a_rule_denies_say_so_and_the_column_stands_there_for_them_alone(
    console: Console, server: FakeServer
) -> None:
    free = requests_pb2.RuleCandidate(file=FILE, approvals=3, request_id="free")
    told: dict[bool, str] = {}
    for denied in (False, True):
        others = [requests_pb2.RuleCandidate(file=FILE, approvals=2, request_id="denied", denied_by=denial())]
        answer = requests_pb2.ListRuleCandidatesResponse(candidates=[free, *(others if denied else [])])
        server.on(requests_pb2.ListRuleCandidatesRequest, answer)
        told[denied] = console.run("requests", "candidates").out
    assert "DENIED BY" not in told[False]
    heading, first, second = told[True].splitlines()
    assert "DENIED BY" in heading
    assert ["blocked/malware" in line for line in (first, second)] == [False, True]
    rows = console.run("requests", "candidates", "--output", "json").json
    assert [row["deniedBy"] and row["deniedBy"]["rule"] for row in rows] == [None, "malware"]
