"""Lint documents without a server, with the linter that the server runs.

Problems for which lint has a name are findings of the severity ERROR; the rules that have them are left out of what is
looked at further, and all others are looked at. Any other problem is bad input.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from elevation.lint.catalogue import found as finding_of
from elevation.lint.findings import Estate, Finding, Severity, Subject
from elevation.lint.linter import Linter
from elevation.lint.structure import renumbered, sound_rules
from elevation.model import Problem, RulesPolicy
from epmctl.documents.blocking import find_refused_by_lint
from epmctl.documents.checks import Unsound, check_meaning
from epmctl.documents.load import document_set, read_drafts
from epmctl.documents.model import Draft
from epmctl.documents.nodes import MAX_FLAWS
from epmctl.documents.places import line_of
from epmctl.errors import BadInputError, Flaw
from epmctl.linting.report import Found, Related

_RULE: Final = re.compile(r"rules\[(\d+)\]")


def read_lintable(places: Iterable[str]) -> tuple[list[Draft], list[Unsound]]:
    """Read documents, and the problems for which lint has names; raise BadInputError for other flaws, or no documents."""
    places = tuple(places)
    flaws: list[Flaw] = []
    drafts = read_drafts(places, flaws)
    unsound = list(islice(check_meaning(drafts, tuple(flaws), closed=False), MAX_FLAWS))
    flaws += [one.flaw for one in unsound if not one.problem.check]
    if flaws:
        raise BadInputError.of([*flaws, *islice(find_refused_by_lint(drafts), MAX_FLAWS)])
    if not drafts:
        raise BadInputError(f"{', '.join(places)}: no documents in there; nothing was looked at")
    return drafts, unsound


def lint_documents(drafts: Sequence[Draft], unsound: Iterable[Unsound], *, now: datetime) -> list[Found]:
    """Give what is wrong with documents, the worst first."""
    problems = list(unsound)
    return [*map(_error, problems), *_lint(drafts, problems, now)]


def _lint(drafts: Sequence[Draft], unsound: Iterable[Unsound], now: datetime) -> Iterator[Found]:
    problems: dict[int, list[Problem]] = {}
    for one in unsound:
        problems.setdefault(id(one.draft), []).append(one.problem)
    kept = {
        draft.metadata.name: sound_rules(problems.get(id(draft), ()), len(draft.spec.rules))
        for draft in drafts
        if isinstance(draft.spec, RulesPolicy)
    }
    by_name = {(draft.kind.name, draft.metadata.name): draft for draft in drafts}
    for finding in Linter().lint(_estate(drafts, kept), now=now):
        subject = finding.subject
        draft = by_name[subject.kind, subject.name]
        numbers = kept[subject.name] if isinstance(draft.spec, RulesPolicy) else ()
        yield _found(renumbered(finding, numbers), draft)


def _estate(drafts: Sequence[Draft], kept: Mapping[str, Sequence[int]]) -> Estate:
    found = document_set(drafts)
    return Estate(
        settings_policies=found.settings_policies(),
        rules_policies=tuple(
            replace(policy, rules=tuple(policy.rules[number] for number in kept[policy.name]))
            for policy in found.rules_policies()
        ),
        certificates={one.name: one for one in found.reusable_certificates()},
        groups={group.name: group for group in found.groups()},
    )


def _error(one: Unsound) -> Found:
    """Give a problem that lint has a name for as a finding."""
    draft, problem = one.draft, one.problem
    rule = ""
    if (matched := _RULE.match(problem.path)) and isinstance(draft.spec, RulesPolicy):
        rule = draft.spec.rules[int(matched[1])].name
    subject = Subject(draft.kind.name, draft.metadata.name, rule)
    finding = finding_of(problem.check, Severity.ERROR, subject, path=problem.path, message=problem.message)
    return replace(_found(finding, draft), line=one.flaw.line)


def _found(finding: Finding, draft: Draft) -> Found:
    return Found(
        check=finding.check,
        severity=finding.severity.name,
        kind=finding.subject.kind,
        name=finding.subject.name,
        rule=finding.subject.rule,
        path=finding.path,
        message=finding.message,
        why=finding.why,
        remedy=finding.remedy,
        related=tuple(Related(other.kind, other.name, other.rule) for other in finding.related),
        ignored_because=finding.ignored_because,
        file=draft.file,
        line=line_of(draft.node, f"spec.{finding.path}" if finding.path else "metadata.name"),
    )
