"""What lint finds in a single object that no save accepts."""

from collections.abc import Iterator, Mapping

from elevation.lint.arguments import lint_arguments
from elevation.lint.assignments import lint_assignments
from elevation.lint.findings import Estate, Finding, Severity
from elevation.lint.ignores import mark_ignored
from elevation.lint.subjects import rule_subject
from elevation.model import Group, ReusableCertificate, RulesPolicy, SettingsPolicy


def find_blocking(
    content: SettingsPolicy | RulesPolicy | ReusableCertificate, groups: Mapping[str, Group]
) -> list[Finding]:
    """Find the errors that a policy has by itself (L15) and by the groups that it names (D23), but those that it accepts.

    Whatever else may be wrong with it: it need not have been checked.
    """
    estate = Estate(groups=groups)
    found: list[Finding] = []
    if isinstance(content, SettingsPolicy):
        estate = Estate(settings_policies=(content,), groups=groups)
    elif isinstance(content, RulesPolicy):
        estate = Estate(rules_policies=(content,), groups=groups)
        found += _in_rules(content)
    found += lint_assignments(estate)
    errors = (finding for finding in found if finding.severity is Severity.ERROR)
    return [finding for finding in mark_ignored(errors, estate) if not finding.ignored_because]


def _in_rules(policy: RulesPolicy) -> Iterator[Finding]:
    for number, rule in enumerate(policy.rules):
        yield from lint_arguments(rule, policy.platform, f"rules[{number}]", rule_subject(policy, rule))
