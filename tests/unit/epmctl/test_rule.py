"""`epm rule propose` carries what was seen to the policies, and shows the rule before it saves it."""

from pathlib import Path

import pytest
import yaml

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, lint_pb2, policies_pb2, requests_pb2
from epm.reporting.v1 import reports_pb2
from services._chassis.errors import InvalidError, NotFoundError, Problem
from tests.builders.console import Console
from tests.builders.documents import HASH
from tests.builders.elevation import certificate, pem
from tests.fakes.server import FakeServer

FILE = event_pb2.FileFacts(path="C:\\Setup.exe", sha256=HASH, publisher_fingerprint=HASH)
RULE = rules_pb2.Rule(
    name="Setup",
    elevation_type=rules_pb2.ELEVATION_TYPE_DENY,
    detection=rules_pb2.Detection(file_name="Setup.exe", file_hash=HASH),
)
FINDING = lint_pb2.Finding(
    id="L7", severity=lint_pb2.SEVERITY_INFO, kind="ElevationRulesPolicy", name="Setup", message="holds anywhere"
)


def knows_the_event(server: FakeServer) -> None:
    decided = event_pb2.Decided(file=FILE, platform=rules_pb2.PLATFORM_WINDOWS, arguments=["/s", "a b"])
    seen = reports_pb2.Elevation(attempt_id="a1", decided=decided)
    server.on(reports_pb2.GetElevationRequest, reports_pb2.GetElevationResponse(elevation=seen))


def proposes(server: FakeServer, *, etag: str = "") -> policies_pb2.RulesPolicy:
    other = rules_pb2.Rule(name="other", elevation_type=rules_pb2.ELEVATION_TYPE_DENY)
    policy = policies_pb2.RulesPolicy(
        metadata=policies_pb2.Metadata(name="tools" if etag else "Setup", etag=etag),
        platform=rules_pb2.PLATFORM_WINDOWS,
        rules=[other, RULE] if etag else [RULE],
    )
    answer = analysis_pb2.ProposeRuleResponse(
        rule=RULE,
        rules_policy=policy,
        notes=["fileName: the whole name of the file"],
        findings=[FINDING],
        existing=[lint_pb2.RelatedObject(kind="ElevationRulesPolicy", name="old", rule="r")],
    )
    server.on(analysis_pb2.ProposeRuleRequest, answer)
    return policy


def test_the_evidence_is_carried_with_what_is_wanted(console: Console, server: FakeServer) -> None:
    knows_the_event(server)
    proposes(server, etag="7")
    options = ("--type", "deny", "--same-path", "--same-arguments", "--by-publisher", "--name", "mine")
    outcome = console.run("rule", "propose", "--event", "a1", "--policy", "tools", *options)
    assert outcome.code == 0
    [asked] = server.requests(analysis_pb2.ProposeRuleRequest)
    assert asked == analysis_pb2.ProposeRuleRequest(
        file=FILE,
        platform=rules_pb2.PLATFORM_WINDOWS,
        arguments=["/s", "a b"],
        policy="tools",
        elevation_type=rules_pb2.ELEVATION_TYPE_DENY,
        same_path=True,
        same_arguments=True,
        by_publisher=True,
        rule_name="mine",
        origin="event a1",
    )
    assert not server.requests(policies_pb2.UpdateRulesPolicyRequest)


def test_a_new_policy_is_printed_as_a_document_with_remarks(console: Console, server: FakeServer) -> None:
    knows_the_event(server)
    proposes(server)
    outcome = console.run("rule", "propose", "--event", "a1")
    assert outcome.out.splitlines()[:3] == [
        "# a new rules policy, Setup, for nobody until it is assigned",
        "# fileName: the whole name of the file",
        "# recognised already by the rule r of old",
    ]
    document = yaml.safe_load(outcome.out)
    assert (document["kind"], document["metadata"]["name"]) == ("ElevationRulesPolicy", "Setup")
    assert document["spec"]["rules"][0]["detection"] == {"fileName": "Setup.exe", "fileHash": HASH}
    assert "status" not in document
    assert outcome.err.startswith("info L7  ElevationRulesPolicy Setup: holds anywhere")


def test_of_a_policy_that_is_there_the_rule_alone_is_printed(console: Console, server: FakeServer) -> None:
    knows_the_event(server)
    proposes(server, etag="7")
    rule = yaml.safe_load(console.run("rule", "propose", "--event", "a1", "--policy", "tools").out)
    assert (rule["name"], rule["elevationType"]) == ("Setup", "DENY")


def test_json_has_the_rule_its_policy_and_what_is_to_be_known(console: Console, server: FakeServer) -> None:
    knows_the_event(server)
    proposes(server, etag="7")
    found = console.run("rule", "propose", "--event", "a1", "--policy", "tools", "--output", "json").json
    assert (found["rule"]["name"], len(found["policy"]["spec"]["rules"]), found["etag"]) == ("Setup", 2, "7")
    assert (found["notes"], found["findings"][0]["id"]) == (["fileName: the whole name of the file"], "L7")
    assert found["existing"] == [{"kind": "ElevationRulesPolicy", "name": "old", "rule": "r"}]


def test_a_policy_that_is_there_is_saved_under_its_etag_after_asking(console: Console, server: FakeServer) -> None:
    knows_the_event(server)
    policy = proposes(server, etag="7")
    command = ("rule", "propose", "--event", "a1", "--policy", "tools", "--save")
    refused = console.run(*command, stdin="n\n")
    assert (refused.code, refused.err.endswith("nothing was changed\n")) == (1, True)
    assert not server.requests(policies_pb2.UpdateRulesPolicyRequest)
    saved = console.run(*command, "--reason", "ticket 7", stdin="y\n")
    assert (saved.code, saved.err.splitlines()[-1].endswith("updated  ElevationRulesPolicy tools")) == (0, True)
    assert [asked.rules_policy for asked in server.requests(policies_pb2.UpdateRulesPolicyRequest)] == [policy]
    assert server.reasons[-1] == "ticket 7"


def test_a_new_policy_is_created_under_the_name_that_is_wanted(console: Console, server: FakeServer) -> None:
    knows_the_event(server)
    proposes(server)
    outcome = console.run("rule", "propose", "--event", "a1", "--new-policy", "mine", "--save", "--yes")
    assert outcome.err.splitlines()[-1] == "created  ElevationRulesPolicy mine, assigned to nobody"
    [asked] = server.requests(policies_pb2.CreateRulesPolicyRequest)
    assert asked.rules_policy.metadata.name == yaml.safe_load(outcome.out)["metadata"]["name"] == "mine"
    both = console.run("rule", "propose", "--event", "a1", "--policy", "a", "--new-policy", "b")
    assert both.code == 2


def test_the_certificate_that_signed_the_file_goes_along(console: Console, server: FakeServer, tmp_path: Path) -> None:
    knows_the_event(server)
    proposes(server)
    leaf, issuer, wrong = (tmp_path / name for name in ("leaf.pem", "issuer.pem", "wrong.pem"))
    leaf.write_text(pem("vendor"), encoding="ascii")
    issuer.write_text(pem("issuing"), encoding="ascii")
    wrong.write_bytes(b"\xff")
    command = ("rule", "propose", "--event", "a1", "--by-publisher", "--certificate", leaf)
    assert console.run(*command, "--certificate", issuer).code == 0
    [asked] = server.requests(analysis_pb2.ProposeRuleRequest)
    assert list(asked.certificates) == [certificate("vendor").der, certificate("issuing").der]
    for place in (wrong, tmp_path / "none.pem"):
        refused = console.run(*command, "--certificate", place)
        assert (refused.code, refused.err.startswith(f"{place}: ")) == (2, True)


def test_what_is_refused_names_options_and_writes_nothing(console: Console, server: FakeServer) -> None:
    knows_the_event(server)
    problems = [Problem("by_publisher", "no certificate"), Problem("file.path", "has a wildcard")]
    server.on(analysis_pb2.ProposeRuleRequest, InvalidError(problems))
    outcome = console.run("rule", "propose", "--event", "a1", "--by-publisher", "--save", "--yes")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "--by-publisher: no certificate\nfile.path: has a wildcard\n"
    assert not server.requests(policies_pb2.CreateRulesPolicyRequest)
    server.on(reports_pb2.GetElevationRequest, NotFoundError("no such attempt"))
    missing = console.run("rule", "propose", "--event", "zz")
    assert (missing.code, missing.err) == (
        1,
        "there is no attempt 'zz'; epm report elevations lists those there are\n",
    )


def test_a_request_brings_its_file_and_its_certificates(console: Console, server: FakeServer, tmp_path: Path) -> None:
    asked = requests_pb2.ElevationRequest(
        id="r1", file=FILE, platform=rules_pb2.PLATFORM_WINDOWS, arguments=["/s", "a b"]
    )
    chain = [certificate("vendor").der, certificate("issuing").der]
    found = requests_pb2.GetElevationRequestResponse(request=asked, certificates=chain)
    server.on(requests_pb2.GetElevationRequestRequest, found)
    proposes(server, etag="7")
    command = ("rule", "propose", "--request", "r1", "--elevation-type", "deny", "--by-publisher")
    assert console.run(*command).code == 0
    mine = tmp_path / "mine.pem"
    mine.write_text(pem("vendor"), encoding="ascii")
    assert console.run(*command, "--certificate", mine).code == 0
    proposed = analysis_pb2.ProposeRuleRequest(
        file=FILE,
        certificates=chain,
        platform=rules_pb2.PLATFORM_WINDOWS,
        arguments=["/s", "a b"],
        elevation_type=rules_pb2.ELEVATION_TYPE_DENY,
        by_publisher=True,
        origin="request r1",
    )
    first, second = server.requests(analysis_pb2.ProposeRuleRequest)
    assert first == proposed
    assert list(second.certificates) == chain[:1]


@pytest.mark.parametrize("origins", [(), ("--event", "a1", "--request", "r1")])
def test_a_rule_is_made_of_one_thing(console: Console, server: FakeServer, origins: tuple[str, ...]) -> None:
    assert console.run("rule", "propose", *origins).code == 2
    assert server.asked == []
