"""Show what `elevation.checks` refuses as findings, so that one list has all that is wrong.

Lint looks at what was checked: rules that have such a problem are left out of what it looks at, and all others stay.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from elevation.lint.catalogue import CATALOGUE, found
from elevation.lint.findings import Finding, Severity, Subject
from elevation.model import Problem, Rule

_RULE = re.compile(r"rules\[(\d+)\]")


def findings_of(problems: Iterable[Problem], subject: Subject, rules: Sequence[Rule] = ()) -> list[Finding]:
    """Give the problems of an object that the catalogue knows as errors of it, or of the rule that each is about."""
    return [
        found(
            problem.check,
            Severity.ERROR,
            _subject(problem.path, subject, rules),
            path=problem.path,
            message=f"{_field(problem.path)} {problem.message}",
        )
        for problem in problems
        if problem.check in CATALOGUE
    ]


def sound_rules(problems: Iterable[Problem], count: int) -> tuple[int, ...]:
    """Give the numbers of those of a policy's rules that none of the problems is in."""
    unsound = {int(matched[1]) for problem in problems if (matched := _RULE.match(problem.path))}
    return tuple(number for number in range(count) if number not in unsound)


def renumbered(finding: Finding, numbers: Sequence[int]) -> Finding:
    """Give the rule of a finding the number that it has among all: lint looked at those with these numbers."""
    path = _RULE.sub(lambda matched: f"rules[{numbers[int(matched[1])]}]", finding.path, count=1)
    return finding if path == finding.path else replace(finding, path=path)


def _subject(path: str, subject: Subject, rules: Sequence[Rule]) -> Subject:
    number = _RULE.match(path)
    if number is None or int(number[1]) >= len(rules):
        return subject
    return replace(subject, rule=rules[int(number[1])].name)


def _field(path: str) -> str:
    return path.rpartition(".")[2]
