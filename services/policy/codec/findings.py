"""Lint to and from the contract: what it finds, and what authors accept."""

from collections.abc import Iterable, Sequence
from itertools import islice

from elevation.lint.findings import Finding, Severity, Subject
from elevation.model import LintIgnore
from epm.elevation.v1 import rules_pb2
from epm.policy.v1 import lint_pb2

MOST_RELATED = 100
"""Objects that are named beside a finding."""
MOST_BYTES = 1024 * 1024
"""Bytes of findings in one message."""

_SEVERITIES = {
    Severity.INFO: lint_pb2.SEVERITY_INFO,
    Severity.WARNING: lint_pb2.SEVERITY_WARNING,
    Severity.HIGH: lint_pb2.SEVERITY_HIGH,
    Severity.ERROR: lint_pb2.SEVERITY_ERROR,
}


def ignores_from_proto(messages: Iterable[rules_pb2.LintIgnore]) -> tuple[LintIgnore, ...]:
    """Read the findings that an author accepts."""
    return tuple(LintIgnore(message.finding, message.reason) for message in messages)


def ignores_to_proto(ignored: Sequence[LintIgnore]) -> list[rules_pb2.LintIgnore]:
    """Write the findings that an author accepts."""
    return [rules_pb2.LintIgnore(finding=each.check, reason=each.reason) for each in ignored]


def findings_to_proto(findings: Iterable[Finding], *, most: int) -> list[lint_pb2.Finding]:
    """Write what lint finds, as much as one message holds: at most so many findings, and few with long texts."""
    written: list[lint_pb2.Finding] = []
    size = 0
    for finding in islice(findings, most):
        message = _finding(finding)
        size += message.ByteSize()
        if size > MOST_BYTES and written:
            break
        written.append(message)
    return written


def _finding(finding: Finding) -> lint_pb2.Finding:
    return lint_pb2.Finding(
        id=finding.check,
        severity=_SEVERITIES[finding.severity],
        kind=finding.subject.kind,
        name=finding.subject.name,
        rule=finding.subject.rule,
        path=finding.path,
        message=finding.message,
        why=finding.why,
        remedy=finding.remedy,
        related=map(_related, finding.related[:MOST_RELATED]),
        ignored_because=finding.ignored_because,
    )


def _related(subject: Subject) -> lint_pb2.RelatedObject:
    return lint_pb2.RelatedObject(kind=subject.kind, name=subject.name, rule=subject.rule)
