"""Show what `elevation.checks` refuses as findings, so that one list has all that is wrong."""

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


def _subject(path: str, subject: Subject, rules: Sequence[Rule]) -> Subject:
    number = _RULE.match(path)
    if number is None or int(number[1]) >= len(rules):
        return subject
    return replace(subject, rule=rules[int(number[1])].name)


def _field(path: str) -> str:
    return path.rpartition(".")[2]
