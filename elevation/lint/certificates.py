"""What lint finds in certificates at a time: they never match before and after their validity.

A reusable certificate is found once, at itself, with the rules that name it beside; one that stands in a rule is found
there. An invalid one that a Deny rule needs is worse than another: the file is no longer denied.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from elevation.lint.catalogue import found
from elevation.lint.findings import Estate, Finding, Severity, Subject
from elevation.lint.subjects import certificate_subject, rule_subject
from elevation.model import Certificate, ElevationType, Rule, RulesPolicy

SOON = timedelta(days=30)


def lint_certificates(estate: Estate, now: datetime) -> Iterator[Finding]:
    """Look at every certificate that the policies hold or name, and at those that nobody names."""
    users: defaultdict[str, list[tuple[RulesPolicy, Rule]]] = defaultdict(list)
    for policy in estate.rules_policies:
        for number, rule in enumerate(policy.rules):
            condition = rule.detection.certificate
            if condition is None:
                continue
            if condition.certificate is not None:
                if fault := _validity(condition.certificate, now):
                    path = f"rules[{number}].detection.certificate.pem"
                    certificate = condition.certificate
                    yield _finding(certificate, fault, rule_subject(policy, rule), path=path, rules=[(policy, rule)])
            elif condition.reusable:
                users[condition.reusable].append((policy, rule))
    for name, reusable in estate.certificates.items():
        if fault := _validity(reusable.certificate, now):
            subject = certificate_subject(reusable)
            yield _finding(reusable.certificate, fault, subject, path="pem", rules=users[name])


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with the time of a certificate."""

    said: str
    matches: bool
    """Tell whether rules still match by it."""


def _finding(
    certificate: Certificate, fault: _Fault, subject: Subject, *, path: str, rules: Sequence[tuple[RulesPolicy, Rule]]
) -> Finding:
    opens = not fault.matches and any(rule.elevation_type is ElevationType.DENY for _, rule in rules)
    message = f'the certificate of "{certificate.subject}" {fault.said}'
    if opens:
        message += ", so what is denied by it is denied no more"
    related = {rule_subject(policy, rule) for policy, rule in rules} - {subject}
    severity = Severity.HIGH if opens else Severity.WARNING
    return found("L6", severity, subject, path=path, message=message, related=tuple(sorted(related)))


def _validity(certificate: Certificate, now: datetime) -> _Fault | None:
    """Say what is wrong with the time of a certificate; None where nothing is. Both ends are within it."""
    if now < certificate.not_before:
        return _Fault(f"is not valid before {_moment(certificate.not_before)}", matches=False)
    if now > certificate.not_after:
        return _Fault(f"expired on {_moment(certificate.not_after)}", matches=False)
    if certificate.not_after - now <= SOON:
        return _Fault(f"expires on {_moment(certificate.not_after)}, within {SOON.days} days", matches=True)
    return None


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
