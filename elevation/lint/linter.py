"""The door of lint: everything that is found in an estate, the worst first."""

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from elevation.lint.between import LintBetween
from elevation.lint.findings import Estate, Finding, Subject
from elevation.lint.ignores import mark_ignored
from elevation.lint.objects import ObjectLint
from elevation.lint.patience import GivenUp, never, waiting
from elevation.lint.subjects import CERTIFICATE, rule_subject
from elevation.lint.usage import lint_usage

_NUMBER = re.compile(r"\d+")
_DIGITS = 4


class Linter:
    """Lint estates one after the other; what did not change from one to the next is not looked at again."""

    def __init__(self) -> None:
        self._objects = ObjectLint()
        self._meetings = LintBetween()

    def lint(
        self,
        estate: Estate,
        *,
        now: datetime,
        about: Collection[Subject] | None = None,
        given_up: GivenUp = never,
    ) -> list[Finding]:
        """Find what is accepted and probably not meant; ignored findings are among them and say why.

        `about` keeps to findings in which one of these policies or certificates (whatever their rules) has part; in what
        is found between rules, a certificate has the part of the rules that name it. Raises GaveUpError once `given_up`
        says so: this linter is not good for anything then.
        """
        with waiting(given_up):
            single = [*self._objects.lint(estate, now), *lint_usage(estate, now)]
            if about is None:
                findings = [*single, *self._meetings.lint(estate)]
            else:
                wanted, naming = {(subject.kind, subject.name) for subject in about}, frozenset(_naming(estate, about))
                between = self._meetings.lint(estate, [*about, *naming])
                findings = [finding for finding in single if _has_part(finding, wanted)]
                findings += [found for found in between if _has_part(found, wanted) or _is_about(found, naming)]
        return worst_first(mark_ignored(findings, estate))


def _naming(estate: Estate, about: Collection[Subject]) -> Iterator[Subject]:
    """Name the rules that name one of the certificates: it decides which files they match."""
    certificates = {subject.name for subject in about if subject.kind == CERTIFICATE}
    for policy in estate.rules_policies if certificates else ():
        for rule in policy.rules:
            if (condition := rule.detection.certificate) is not None and condition.reusable in certificates:
                yield rule_subject(policy, rule)


def _is_about(finding: Finding, rules: Collection[Subject]) -> bool:
    return any(subject in rules for subject in (finding.subject, *finding.related))


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Order findings: the worst first, then as they stand in the documents, whatever order those come in."""
    return sorted(findings, key=_rank)


def _has_part(finding: Finding, wanted: Collection[tuple[str, str]]) -> bool:
    return any((subject.kind, subject.name) in wanted for subject in (finding.subject, *finding.related))


def _rank(finding: Finding) -> tuple[int, str, str, str, str, str]:
    subject = finding.subject
    path = _NUMBER.sub(lambda number: number[0].zfill(_DIGITS), finding.path)  # rules[9] before rules[10]
    return (-finding.severity, subject.kind, subject.name, path, finding.check, finding.message)
