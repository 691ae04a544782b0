"""`epm requests candidates` lists what is approved again and again, and how to make the rule that ends that."""

import json
import re

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.policy.v1 import lint_pb2, requests_pb2
from tests.builders.console import Console
from tests.builders.documents import HASH
from tests.fakes.server import FakeServer

ID = "0198a000-0000-7000-8000-000000000001"
FILE = event_pb2.FileFacts(path="C:\\Setup.exe", sha256=HASH, publisher="CN=Vendor")
RULE = rules_pb2.Rule(name="Setup", detection=rules_pb2.Detection(file_name="Setup.exe", file_hash=HASH))
FINDINGS = (
    lint_pb2.Finding(id="L3", severity=lint_pb2.SEVERITY_WARNING, message="no certificate"),
    lint_pb2.Finding(id="L7", severity=lint_pb2.SEVERITY_INFO, message="holds anywhere"),
)
PROPOSE = f"epm rule propose --request {ID}"


def candidate(*findings: lint_pb2.Finding, rule: rules_pb2.Rule | None = None) -> requests_pb2.RuleCandidate:
    return requests_pb2.RuleCandidate(
        file=FILE, approvals=7, users=3, devices=2, request_id=ID, rule=rule, findings=findings
    )


def offers(server: FakeServer, *found: requests_pb2.RuleCandidate) -> None:
    """Let the server offer these."""
    server.on(requests_pb2.ListRuleCandidatesRequest, requests_pb2.ListRuleCandidatesResponse(candidates=found))


def test_candidates_come_with_what_lint_says_and_the_command_that_makes_the_rule(
    console: Console, server: FakeServer
) -> None:
    offers(server, candidate(*FINDINGS, rule=RULE), candidate(rule=RULE), candidate())
    outcome = console.run("requests", "candidates")
    assert (outcome.code, outcome.err) == (0, "")
    heading, *lines = outcome.out.splitlines()
    told = [dict(zip(re.split(r" {2,}", heading), re.split(r" {2,}", line.strip()), strict=True)) for line in lines]
    assert [each["LINT"] for each in told] == ["L3 warning, L7 info", "no findings", "-"]
    assert told[0] == {
        "APPROVED": "7",
        "USERS": "3",
        "DEVICES": "2",
        "FILE": "C:\\Setup.exe",
        "PUBLISHER": "CN=Vendor",
        "LINT": "L3 warning, L7 info",
        "COMMAND": PROPOSE,
    }
    [asked] = server.requests(requests_pb2.ListRuleCandidatesRequest)
    assert asked == requests_pb2.ListRuleCandidatesRequest(approvals=2, page_size=20)


def test_candidates_are_asked_for_since_a_time_and_from_so_many_approvals_on(
    console: Console, server: FakeServer
) -> None:
    console.run("requests", "candidates", "--since", "2026-11-01T00:00:00Z", "--approvals", "5", "--limit", "3")
    [asked] = server.requests(requests_pb2.ListRuleCandidatesRequest)
    assert (asked.approvals, asked.page_size) == (5, 3)
    assert asked.reviewed_from.ToJsonString() == "2026-11-01T00:00:00Z"
    for wrong in (("--approvals", "0"), ("--limit", "101"), ("--since", "soon")):
        assert console.run("requests", "candidates", *wrong).code == 2


def test_candidates_in_json_are_whole_with_rule_and_command(console: Console, server: FakeServer) -> None:
    offers(server, candidate(*FINDINGS, rule=RULE), candidate())
    first, second = json.loads(console.run("requests", "candidates", "--output", "json").out)
    assert (first["command"], first["requestId"], first["approvals"]) == (PROPOSE, ID, 7)
    assert first["rule"]["detection"]["fileHash"] == HASH
    assert [finding["id"] for finding in first["findings"]] == ["L3", "L7"]
    assert second["rule"] is None


def test_candidates_fit_the_terminal_and_cut_no_command(console: Console, server: FakeServer) -> None:
    offers(server, candidate(*FINDINGS, rule=RULE))
    console.monkeypatch.setenv("COLUMNS", "80")
    lines = console.run("requests", "candidates").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert PROPOSE in lines[1]
