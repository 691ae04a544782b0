"""Which findings an author accepts, and why.

A finding about a rule is set aside in that rule, one about a policy or a certificate as a whole there: what a policy
accepts for itself says nothing about its rules.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from elevation.lint.catalogue import CATALOGUE
from elevation.lint.findings import Estate, Finding, Subject
from elevation.lint.subjects import certificate_subject, rule_subject, rules_subject, settings_subject
from elevation.model import LintIgnore

Reasons = dict[tuple[Subject, str], str]


def mark_ignored(findings: Iterable[Finding], estate: Estate) -> Iterator[Finding]:
    """Say of every finding why it is accepted, where it is and may be."""
    reasons: Reasons | None = None
    for finding in findings:
        if not CATALOGUE[finding.check].ignorable:
            yield finding
            continue
        if reasons is None:
            reasons = _reasons(estate)
        reason = reasons.get((finding.subject, finding.check), "")
        yield replace(finding, ignored_because=reason) if reason else finding


def _reasons(estate: Estate) -> Reasons:
    return {
        (subject, ignored.check): ignored.reason for subject, lint in _ignoring(estate) for ignored in reversed(lint)
    }


def _ignoring(estate: Estate) -> Iterator[tuple[Subject, tuple[LintIgnore, ...]]]:
    for settings in estate.settings_policies:
        if settings.lint:
            yield settings_subject(settings), settings.lint
    for policy in estate.rules_policies:
        if policy.lint:
            yield rules_subject(policy), policy.lint
        for rule in policy.rules:
            if rule.lint:
                yield rule_subject(policy, rule), rule.lint
    for certificate in estate.certificates.values():
        if certificate.lint:
            yield certificate_subject(certificate), certificate.lint
