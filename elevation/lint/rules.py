"""What lint finds in one rule by itself."""

from collections.abc import Iterator

from elevation.lint.catalogue import found
from elevation.lint.findings import Finding, Severity
from elevation.lint.subjects import rule_subject
from elevation.model import ElevationType, RulesPolicy


def lint_rules(policy: RulesPolicy) -> Iterator[Finding]:
    """Look at every rule of a policy by itself."""
    for number, rule in enumerate(policy.rules):
        if rule.elevation_type is ElevationType.CURRENT_USER:
            message = "the file is elevated as the user who asks"
            path = f"rules[{number}].elevationType"
            yield found("L14", Severity.WARNING, rule_subject(policy, rule), path=path, message=message)
