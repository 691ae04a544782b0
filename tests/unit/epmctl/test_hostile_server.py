"""A server that means harm says nothing that moves a terminal's cursor, and has nothing written beside the folder."""

import json
import re

import pytest
import yaml

from epm.device.v1 import devices_pb2, groups_pb2
from epm.policy.v1 import analysis_pb2, lint_pb2, policies_pb2
from epm.rbac.v1 import rbac_pb2
from epmctl.output import to_yaml
from epmctl.simulation.decisions import json_line
from services._chassis.errors import DeniedError, InvalidError, Problem, ServiceError
from tests.builders.console import Console
from tests.builders.documents import GROUP, RULES, document, write_documents
from tests.fakes.server import Answer, FakeServer

ESCAPE = "\x1b]0;owned\x07\x9b2J\u202e"
ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")
"""What a terminal acts upon, the end of a line apart."""


def hostile(text: str) -> str:
    return text + ESCAPE


FINDING = lint_pb2.Finding(
    id=hostile("L7"),
    severity=lint_pb2.SEVERITY_HIGH,
    kind=hostile("ElevationRulesPolicy"),
    name=hostile("tools"),
    rule=hostile("rule"),
    path=hostile("rules[0]"),
    message=hostile("message"),
    why=hostile("why"),
    remedy=hostile("remedy"),
    related=[lint_pb2.RelatedObject(kind=hostile("Kind"), name=hostile("other"), rule=hostile("rule"))],
)


@pytest.fixture(autouse=True)
def _finds(server: FakeServer) -> None:
    server.streams(analysis_pb2.LintRequest, [analysis_pb2.LintResponse(findings=[FINDING])])


@pytest.mark.parametrize("output", ["table", "json"])
def test_findings_move_no_cursor(console: Console, output: str) -> None:
    outcome = console.run("lint", "--server", "--output", output)
    assert "owned" in outcome.out
    assert ACTS.search(outcome.out) is None


def test_plans_and_what_became_of_objects_move_no_cursor(console: Console, server: FakeServer) -> None:
    applied = policies_pb2.AppliedObject(kind=hostile("Kind"), name=hostile("name"))
    answer = policies_pb2.ApplyPoliciesResponse(objects=[applied], findings=[FINDING])
    server.on(policies_pb2.ApplyPoliciesRequest, answer)
    folder = write_documents(console.folder / "documents", RULES)
    for command in ("plan", "apply"):
        outcome = console.run(command, "-f", folder)
        assert "owned" in outcome.out
        assert ACTS.search(outcome.out + outcome.err) is None


@pytest.mark.parametrize(
    "refusal", [DeniedError(hostile("no")), InvalidError([Problem(hostile("field"), hostile("is wrong"))])]
)
def test_refusals_move_no_cursor(console: Console, server: FakeServer, refusal: ServiceError) -> None:
    refused: Answer = refusal
    server.on(groups_pb2.ListGroupsRequest, refused)
    outcome = console.run("get", "groups")
    assert outcome.code in {1, 2}
    assert ACTS.search(outcome.err) is None


def test_a_place_that_is_nowhere_has_the_line_of_what_is_around_it(console: Console, server: FakeServer) -> None:
    finding = lint_pb2.Finding(
        id="L7", kind="ElevationRulesPolicy", name="developer-tools", path=f"rules[{'9' * 5000}]"
    )
    server.streams(analysis_pb2.LintRequest, [analysis_pb2.LintResponse(findings=[finding])])
    outcome = console.run("lint", "--server", "-f", write_documents(console.folder, RULES), "--output", "json")
    (found,) = outcome.json["findings"]
    assert 0 < found["line"] < 10


def test_what_a_plan_could_not_ask_moves_no_cursor(console: Console, server: FakeServer) -> None:
    server.streams(analysis_pb2.LintRequest, [DeniedError(hostile("no"))])
    folder = write_documents(console.folder / "documents", document("Group", "g", "{type: USER}"))
    outcome = console.run("plan", "-f", folder)
    assert "what lint finds is not known" in outcome.err
    assert ACTS.search(outcome.err) is None


def test_decisions_move_no_cursor() -> None:
    line = json_line({"reason": hostile("why")}, indented=False)
    assert ACTS.search(line.decode()) is None
    assert json.loads(line) == {"reason": hostile("why")}


def test_new_tokens_move_no_cursor(console: Console, server: FakeServer) -> None:
    token = rbac_pb2.Token(token_id=hostile("t1"), principal=hostile("user:carol"))
    server.on(rbac_pb2.IssueTokenRequest, rbac_pb2.IssueTokenResponse(token=token, secret=hostile("epm_secret")))
    enrolment = devices_pb2.EnrolmentToken(token_id=hostile("e1"), quota=3)
    created = devices_pb2.CreateEnrolmentTokenResponse(enrolment_token=enrolment, secret=hostile("epmenr_secret"))
    server.on(devices_pb2.CreateEnrolmentTokenRequest, created)
    for arguments in (("token", "create", "--principal", "p"), ("enrolment-token", "create", "--quota", "3")):
        outcome = console.run(*arguments)
        assert "secret" in outcome.out
        assert ACTS.search(outcome.out + outcome.err) is None


@pytest.mark.parametrize("text", ["a\x85b", "\u202e", "two\nlines \u2066 x", "\x9b", "key: \u200f"])
def test_yaml_moves_no_cursor_and_says_the_same(text: str) -> None:
    written = to_yaml({"name": text, "labels": {text: text}})
    assert not re.search("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", written)
    assert yaml.safe_load(written) == {"name": text, "labels": {text: text}}


def test_nothing_is_written_or_removed_where_a_link_leads_out_of_the_folder(
    console: Console, server: FakeServer
) -> None:
    outside, folder = console.folder / "outside", console.folder / "out"
    outside.mkdir()
    folder.mkdir()
    (outside / "gone.yaml").write_text(GROUP.replace("developers", "gone"))
    (folder / "groups").symlink_to(outside)

    cleaned = console.run("export", folder, "--clean", "--kind", "groups")
    server.on(
        groups_pb2.ListGroupsRequest,
        groups_pb2.ListGroupsResponse(groups=[groups_pb2.Group(name="g", type=groups_pb2.GROUP_TYPE_USER)]),
    )
    written = console.run("export", folder, "--kind", "groups")

    assert cleaned.code == 0
    assert (written.code, "is a link to another place" in written.err) == (1, True)
    assert [path.name for path in outside.iterdir()] == ["gone.yaml"]
