"""`epm lint` finds in documents what the server would, says where it stands, and fails where it should."""

from pathlib import Path
from typing import Any

import pytest

from epm.elevation.v1 import rules_pb2
from epm.policy.v1 import analysis_pb2, lint_pb2, policies_pb2
from services._chassis.errors import InvalidError, Problem
from tests.builders.console import Console, Outcome
from tests.builders.documents import GROUP, HASH, SETTINGS, document, write_documents
from tests.fakes.server import FakeServer

RULES = f"""\
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: tools}}
spec:
  platform: WINDOWS
  rules:
    - name: good
      detection: {{fileName: a.exe, filePath: 'C:\\Windows\\System32', fileHash: {HASH}}}
    - name: unsure
      detection: {{fileName: b.exe}}
    - name: anywhere
      detection: {{fileName: c.exe, fileHash: {"b" * 64}}}
"""
SOUND = RULES.replace(
    "{fileName: b.exe}", f"{{fileName: b.exe, filePath: 'C:\\Windows\\System32', fileHash: {'c' * 64}}}"
)
FINE = SOUND.replace("c.exe, ", "c.exe, filePath: 'C:\\Windows\\System32', ")
ACCEPTED = SOUND + '      lint: [{ignore: L7, reason: "lies in many places"}]\n'


def lint(console: Console, *documents: str, more: tuple[str, ...] = ()) -> Outcome:
    return console.run("lint", "-f", write_documents(console.folder, *documents), *more)


def findings(console: Console, *documents: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give findings about the rules policy by their ids."""
    told = lint(console, *documents, more=("--output", "json", *more)).json["findings"]
    return {found["id"]: found for found in told if found["rule"]}


def test_a_problem_that_lint_has_a_name_for_is_an_error_with_its_place(stranger: Console) -> None:
    found = findings(stranger, RULES)["L1"]
    assert (found["severity"], found["rule"], found["path"]) == ("ERROR", "unsure", "rules[1].detection.fileHash")
    assert (Path(found["file"]).name, found["line"]) == ("documents.yaml", 10)
    assert found["message"] == "is missing; a rule needs a file hash or a certificate"
    assert found["why"]
    assert found["remedy"]


def test_rules_beside_one_with_an_error_are_looked_at_and_keep_their_numbers(stranger: Console) -> None:
    found = findings(stranger, RULES)["L7"]
    assert (found["rule"], found["path"], found["line"]) == ("anywhere", "rules[2].detection.filePath", 12)


def test_other_problems_are_bad_input_as_everywhere(stranger: Console) -> None:
    outcome = lint(stranger, RULES.replace("fileHash", "fileHasch"), document("Group", "p\u0430ypal", "{type: USER}"))
    assert (outcome.code, outcome.out) == (2, "")
    assert [line.split(": ")[1] for line in outcome.err.splitlines()] == [
        "spec.rules[0].detection.fileHasch",
        "spec.rules[2].detection.fileHasch",
        "metadata.name",
    ]


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        (RULES, (), 1),
        (SOUND, (), 0),
        (SOUND, ("--strict",), 1),
        (SOUND + "      childProcesses: ALLOW\n", ("--strict",), 1),
        (ACCEPTED, ("--strict",), 0),
        (FINE, ("--strict",), 0),
    ],
)
@pytest.mark.parametrize("output", ["table", "json", "sarif"])
def test_the_exit_code_tells_of_errors_or_of_warnings(
    stranger: Console, *, text: str, options: tuple[str, ...], code: int, output: str
) -> None:
    assert lint(stranger, text, more=(*options, "--output", output)).code == code


def test_what_its_author_accepts_is_left_out_and_shown_on_demand(stranger: Console) -> None:
    assert "L7" not in findings(stranger, ACCEPTED)
    shown = findings(stranger, ACCEPTED, more=("--with-ignored",))["L7"]
    assert shown["ignoredBecause"] == "lies in many places"
    assert "accepted: lies in many places" in lint(stranger, ACCEPTED, more=("--with-ignored",)).out


def test_an_error_is_not_accepted_by_its_author(stranger: Console) -> None:
    text = RULES.replace("b.exe}\n", "b.exe}\n      lint: [{ignore: L1, reason: please}]\n")
    refused = lint(stranger, text)
    assert refused.code == 2
    assert "lint[0].ignore: L1 is an error that nobody can set aside; mend what it finds." in refused.err


def test_the_table_goes_by_object_with_the_worst_first_and_says_why_and_how(stranger: Console) -> None:
    lines = lint(stranger, SETTINGS, GROUP, RULES).out.splitlines()
    assert lines[0].startswith("ElevationRulesPolicy tools  (")
    assert lines[1] == "  ERROR   L1   rule unsure, rules[1].detection.fileHash, line 20"
    assert (lines[3].strip()[:5], lines[4].strip()[:6]) == ("why: ", "mend: ")
    assert lines[-1].startswith("1 error, ")


def test_nothing_found_is_said(stranger: Console) -> None:
    outcome = lint(stranger, GROUP)
    assert (outcome.code, outcome.out.strip()) == (0, "nothing found")


def test_groups_and_policies_of_all_documents_count(stranger: Console) -> None:
    assigned = FINE + "  assignments: {include: [{group: all-devices}]}\n"
    alone = lint(stranger, assigned, more=("--output", "json")).json["findings"]
    enabled = SETTINGS.replace("spec: {", "spec: {defaultResponse: DENY, ")
    together = lint(stranger, assigned, enabled, more=("--output", "json")).json["findings"]
    assert "L26" in {found["id"] for found in alone}
    assert "L26" not in {found["id"] for found in together}


def test_sarif_says_where_and_how_bad_and_what_is_accepted(stranger: Console) -> None:
    accepted = RULES + '      lint: [{ignore: L7, reason: "lies in many places"}]\n'
    log = lint(stranger, accepted, more=("--with-ignored", "--output", "sarif")).json
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    results = {result["ruleId"]: result for result in run["results"]}
    error, warning = results["L1"], results["L7"]
    assert (error["level"], warning["level"], warning["properties"]["severity"]) == ("error", "warning", "WARNING")
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    place = error["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 10}
    assert place["artifactLocation"]["uri"] == (stranger.folder / "documents.yaml").as_uri()
    assert error["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "ElevationRulesPolicy/tools/unsure"
    assert warning["suppressions"] == [{"kind": "inSource", "justification": "lies in many places"}]
    assert "suppressions" not in error
    assert error["message"]["text"].count(". ") >= 1
    assert error["message"]["text"].endswith(".")
    assert ".." not in error["message"]["text"]


def test_what_no_server_accepts_is_told_with_the_other_flaws_whoever_asks(stranger: Console) -> None:
    secret = RULES.replace("metadata: {", "metadata: {nonsense: 1, ") + "      arguments: ['/password:hunter2']\n"
    folder = stranger.folder / "secret"
    write_documents(folder, secret)
    for command in ("lint", "plan", "apply"):
        lines = stranger.run(command, "-f", folder).err.splitlines()
        assert "metadata.nonsense: unknown key" in lines[0]
        assert [line for line in lines if line.endswith("(L15)")], lines
        assert "hunter2" not in "".join(lines)


def test_documents_of_standard_input_have_no_address(stranger: Console) -> None:
    log = stranger.run("lint", "-f", "-", "--output", "sarif", stdin=RULES).json
    assert all("physicalLocation" not in result["locations"][0] for result in log["runs"][0]["results"])


@pytest.mark.parametrize("arguments", [(), ("--all", "--server"), ("--all", "-f", "x")])
def test_there_is_something_to_look_at(stranger: Console, arguments: tuple[str, ...]) -> None:
    assert stranger.run("lint", *arguments).code == 2


def test_no_documents_are_bad_input(stranger: Console) -> None:
    assert lint(stranger, "# nothing\n").code == 2


FOUND = lint_pb2.Finding(
    id="L19",
    severity=lint_pb2.SEVERITY_WARNING,
    kind="ElevationRulesPolicy",
    name="tools",
    rule="anywhere",
    path="rules[2]",
    message="never counts",
    why="w",
    remedy="r",
    related=[lint_pb2.RelatedObject(kind="ElevationRulesPolicy", name="others", rule="x"), lint_pb2.RelatedObject()],
)


def test_a_server_lints_what_it_holds(console: Console, server: FakeServer) -> None:
    worse = lint_pb2.Finding(id="L27", severity=lint_pb2.SEVERITY_ERROR)
    server.streams(
        analysis_pb2.LintRequest,
        [analysis_pb2.LintResponse(findings=[worse], total=2), analysis_pb2.LintResponse(findings=[FOUND])],
    )
    outcome = console.run("lint", "--server", "--with-ignored")
    (asked,) = server.requests(analysis_pb2.LintRequest)
    assert (asked.HasField("draft"), asked.draft_only, asked.with_ignored) == (False, False, True)
    assert outcome.code == 1
    assert outcome.out.startswith("an object that you may not see\n  ERROR   L27")
    assert "with: ElevationRulesPolicy others/x, an object that you may not see" in outcome.out


@pytest.mark.parametrize(("options", "only"), [((), True), (("--all",), False)])
def test_documents_lie_on_top_of_what_a_server_holds(
    console: Console, server: FakeServer, options: tuple[str, ...], *, only: bool
) -> None:
    server.streams(analysis_pb2.LintRequest, [analysis_pb2.LintResponse(findings=[FOUND], total=1)])
    outcome = lint(console, RULES, more=("--server", "--output", "json", *options))
    (asked,) = server.requests(analysis_pb2.LintRequest)
    assert (asked.draft_only, [policy.metadata.name for policy in asked.draft.rules_policies]) == (only, ["tools"])
    (found,) = outcome.json["findings"]
    assert (Path(found["file"]).name, found["line"]) == ("documents.yaml", 11)
    assert outcome.code == 0


def test_what_a_server_does_not_accept_is_told_by_file(console: Console, server: FakeServer) -> None:
    server.streams(
        analysis_pb2.LintRequest, [InvalidError([Problem("draft.rules_policies[0].rules[1].name", "is no name")])]
    )
    outcome = lint(console, RULES, more=("--server",))
    assert outcome.code == 2
    assert outcome.err.endswith("documents.yaml:9: spec.rules[1].name: is no name\n")


def test_the_findings_of_policies_that_are_accepted_reach_the_server(console: Console, server: FakeServer) -> None:
    server.streams(analysis_pb2.LintRequest, [analysis_pb2.LintResponse()])
    lint(console, SETTINGS.replace("spec: {", "spec: {lint: [{ignore: L18, reason: pilot}], "), more=("--server",))
    (asked,) = server.requests(analysis_pb2.LintRequest)
    (policy,) = asked.draft.settings_policies
    assert isinstance(policy, policies_pb2.SettingsPolicy)
    assert list(policy.lint_ignores) == [rules_pb2.LintIgnore(finding="L18", reason="pilot")]
