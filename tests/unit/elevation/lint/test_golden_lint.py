"""Lint the golden cases through the document form: what has a finding, and what nearly has it."""

import pytest

from elevation.lint.catalogue import CATALOGUE
from elevation.model import Platform
from tests.builders.linting import LintCase, Mapped, base_rules, lint, lint_cases, rules_document, seen

CASES = list(lint_cases())


@pytest.mark.parametrize(("platform", "rule"), list(base_rules()), ids=str)
def test_the_rules_that_the_cases_change_have_no_finding(platform: Platform, rule: Mapped) -> None:
    assert lint(rules_document(platform, rule)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.name}")
def test_a_rule_that_has_it_is_found_with_all_its_findings(case: LintCase) -> None:
    findings = lint(rules_document(case.platform, case.rule))
    assert seen(findings) == list(case.finds)
    assert case.check in {finding.check for finding in findings}
    assert {finding.subject.rule for finding in findings} == {"r"}


@pytest.mark.parametrize(
    ("case", "rule"),
    [(case, rule) for case in CASES for rule in case.nearly],
    ids=lambda part: f"{part.check}: {part.name}" if isinstance(part, LintCase) else "",
)
def test_a_rule_that_nearly_has_it_is_not_found(case: LintCase, rule: Mapped) -> None:
    assert case.check not in {finding.check for finding in lint(rules_document(case.platform, rule))}


def test_every_check_of_single_rules_has_a_case_for_each_severity() -> None:
    by_rule = {"L4", "L5", "L6", "L7", "L8", "L10", "L11", "L12", "L13", "L14", "L15", "L16", "L17", "L25", "L30"}
    shown = {(check, severity) for case in CASES for check, severity, _ in case.finds}
    assert {(check, severity.name) for check in by_rule for severity in CATALOGUE[check].severities} <= shown


def test_every_finding_has_a_severity_of_its_check() -> None:
    for case in CASES:
        for check, severity, _ in case.finds:
            assert severity in {known.name for known in CATALOGUE[check].severities}
