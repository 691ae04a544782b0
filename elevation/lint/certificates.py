"""What lint finds in certificates at a time: they never match before and after their validity.

A reusable certificate is found once, at itself, with the rules that name it beside; one that stands in a rule is found
there. An invalid one that a Deny rule needs is worse than another: the file is no longer denied.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from elevation.lint.catalogue import found
from elevation.lint.findings import Estate, Finding, Severity, Subject
from elevation.lint.subjects import certificate_subject, rule_subject
from elevation.model import Certificate, ElevationType, Rule

SOON = timedelta(days=30)


def lint_certificates(estate: Estate, now: datetime) -> Iterator[Finding]:
    """Look at every certificate that the policies hold or name, and at those that nobody names."""
    users: defaultdict[str, list[tuple[Subject, Rule]]] = defaultdict(list)
    for policy in estate.rules_policies:
        for number, rule in enumerate(policy.rules):
            condition = rule.detection.certificate
            if condition is None:
                continue
            subject = rule_subject(policy, rule)
            if condition.certificate is not None:
                path = f"rules[{number}].detection.certificate.pem"
                yield from _lint(condition.certificate, now, subject, path=path, rules=[rule])
            elif condition.reusable:
                users[condition.reusable].append((subject, rule))
    for name, reusable in estate.certificates.items():
        yield from _lint(
            reusable.certificate,
            now,
            certificate_subject(reusable),
            path="pem",
            rules=[rule for _, rule in users[name]],
            related=tuple(sorted(subject for subject, _ in users[name])),
        )


def _lint(
    certificate: Certificate,
    now: datetime,
    subject: Subject,
    *,
    path: str,
    rules: Sequence[Rule],
    related: tuple[Subject, ...] = (),
) -> Iterator[Finding]:
    said = _validity(certificate, now)
    if not said:
        return
    opens = not certificate.not_before <= now <= certificate.not_after and any(
        rule.elevation_type is ElevationType.DENY for rule in rules
    )
    severity = Severity.HIGH if opens else Severity.WARNING
    message = f'the certificate of "{certificate.subject}" {said}'
    if opens:
        message += ", so what is denied by it is denied no more"
    yield found("L6", severity, subject, path=path, message=message, related=related)


def _validity(certificate: Certificate, now: datetime) -> str:
    """Say what is wrong with the time of a certificate; blank where nothing is. Both ends are within it."""
    if now < certificate.not_before:
        return f"is not valid before {_moment(certificate.not_before)}"
    if now > certificate.not_after:
        return f"expired on {_moment(certificate.not_after)}"
    if certificate.not_after - now <= SOON:
        return f"expires on {_moment(certificate.not_after)}, within {SOON.days} days"
    return ""


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
