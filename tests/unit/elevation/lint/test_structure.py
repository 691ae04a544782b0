"""What the checks of documents refuse has the id of the catalogue, and so has what some servers refuse."""

from dataclasses import replace

import pytest

from elevation.checks import check_references, check_rules_policy
from elevation.lint.findings import Severity, Subject
from elevation.lint.rules import lint_rules
from elevation.lint.structure import findings_of
from elevation.model import (
    Assignments,
    ElevationType,
    Exclude,
    GroupType,
    Include,
    LintIgnore,
    Platform,
    Rule,
    RulesPolicy,
)
from tests.builders.elevation import HASH, policy, publisher, rule

SUBJECT = Subject("ElevationRulesPolicy", "policy")
AUTOMATIC = ElevationType.AUTOMATIC


@pytest.mark.parametrize(
    ("check", "path", "wrong", "nearly"),
    [
        ("L1", "fileHash", rule(), rule(certificate=publisher())),
        ("L1", "fileHash", rule(file_path="C:\\Tools"), rule(file_hash=HASH)),
        (
            "L2",
            "fileHash",
            rule(elevation_type=AUTOMATIC, certificate=publisher()),
            rule(elevation_type=AUTOMATIC, file_hash=HASH),
        ),
        (
            "L3",
            "fileName",
            rule(elevation_type=AUTOMATIC, file_hash=HASH, file_name="a*.exe"),
            rule(file_hash=HASH, file_name="a*.exe"),
        ),
        (
            "L3",
            "filePath",
            rule(elevation_type=AUTOMATIC, file_hash=HASH, file_path="C:\\?"),
            rule(elevation_type=AUTOMATIC, file_hash=HASH, file_path="C:\\a"),
        ),
        (
            "L9",
            "filePath",
            rule(file_hash=HASH, file_path="\\\\server\\share"),
            rule(file_hash=HASH, file_path="Z:\\a"),
        ),
        ("L22", "fileName", rule(file_hash=HASH, file_name="setup"), rule(file_hash=HASH, file_name="setup.MSI")),
        ("L22", "fileName", rule(file_hash=HASH, file_name="a.bat"), rule(file_hash=HASH, file_name="a.bat.exe")),
        (
            "L23",
            "minimumVersion",
            rule(file_hash=HASH, minimum_version="1.x"),
            rule(file_hash=HASH, minimum_version="1"),
        ),
    ],
)
def test_what_is_wrong_with_a_rule_has_an_id_and_what_nearly_is_has_none(
    check: str, path: str, wrong: Rule, nearly: Rule
) -> None:
    problems = check_rules_policy(policy(wrong))
    findings = findings_of(problems, SUBJECT, [wrong])
    assert [(found.check, found.severity, found.path) for found in findings] == [
        (check, Severity.ERROR, f"rules[0].detection.{path}")
    ]
    assert findings[0].subject == Subject("ElevationRulesPolicy", "policy", "rule")
    assert findings[0].message == f"{path} {problems[0].message}"
    assert findings_of(check_rules_policy(policy(nearly)), SUBJECT) == []


def test_on_linux_a_rule_needs_a_hash_or_a_folder() -> None:
    def on_linux(folder: str) -> RulesPolicy:
        one = rule(file_name="tool", file_path=folder, elevation_type=ElevationType.DENY)
        return policy(one, platform=Platform.LINUX)

    assert [problem.check for problem in check_rules_policy(on_linux(""))] == ["L1"]
    assert check_rules_policy(on_linux("/opt/tool")) == []


def test_names_of_rules_and_their_number_have_an_id() -> None:
    twice = policy(rule("a", file_hash=HASH), rule("A", file_hash=HASH))
    many = policy(*(rule(f"r{number}", file_hash=HASH) for number in range(101)))
    for wrong, path in ((twice, "rules[1].name"), (many, "rules")):
        assert [(found.check, found.path) for found in findings_of(check_rules_policy(wrong), SUBJECT)] == [
            ("L24", path)
        ]
    assert check_rules_policy(policy(rule("a", file_hash=HASH), rule("b", file_hash=HASH))) == []
    assert check_rules_policy(many, most_rules=101) == []


def test_a_mixed_assignment_has_an_id() -> None:
    groups = {"devices": GroupType.DEVICE, "users": GroupType.USER}

    def excluding(name: str) -> RulesPolicy:
        return RulesPolicy("p", Platform.WINDOWS, (), Assignments((Include("users"),), (Exclude(name),)))

    [problem] = check_references(excluding("devices"), groups, ())
    assert (problem.check, problem.path) == ("L29", "assignments.exclude[0].group")
    assert check_references(excluding("users"), groups, ()) == []


def test_a_problem_that_is_not_in_the_catalogue_is_no_finding() -> None:
    problems = check_rules_policy(policy(rule("", file_hash=HASH)))
    assert problems
    assert findings_of(problems, SUBJECT) == []


@pytest.mark.parametrize(
    ("check", "known"), [("L7", True), ("D22", True), ("D23", True), ("D24", False), ("l7", False)]
)
def test_policies_name_the_checks_that_they_set_aside(check: str, known: bool) -> None:  # noqa: FBT001
    ignoring = RulesPolicy("p", Platform.WINDOWS, lint=(LintIgnore(check, "why"),))
    assert ([problem.path for problem in check_rules_policy(ignoring)] == []) is known


def test_more_rules_than_a_server_accepts_at_first_are_worth_a_warning() -> None:
    many = tuple(replace(rule(file_hash=HASH), name=f"r{number}") for number in range(101))

    found = [finding for finding in lint_rules(policy(*many)) if finding.check == "L24"]

    assert [(finding.severity, finding.path, finding.subject.rule) for finding in found] == [
        (Severity.WARNING, "rules", "")
    ]
    assert "101 rules; a server accepts 100 unless its operator allows more" in found[0].message
    assert not [finding for finding in lint_rules(policy(*many[1:])) if finding.check == "L24"]
