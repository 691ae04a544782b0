"""What lint finds in a settings policy by itself, and in policies for groups that there are not."""

from collections.abc import Iterator

from elevation.lint.catalogue import found
from elevation.lint.findings import Estate, Finding, Severity
from elevation.lint.subjects import rules_subject, settings_subject
from elevation.model import ALL_DEVICES, ALL_USERS, Assignments, DefaultResponse, SettingsPolicy


def lint_settings_policy(policy: SettingsPolicy) -> Iterator[Finding]:
    """Look at a settings policy; one that switches elevation off says nothing else that counts."""
    if not policy.enabled:
        return
    subject = settings_subject(policy)
    if policy.default_response is DefaultResponse.USER_CONFIRMED and not policy.validations:
        message = "defaultResponse USER_CONFIRMED asks for no validation, so any file is elevated after one click"
        yield found("L18", Severity.HIGH, subject, path="defaultResponse", message=message)
    if policy.stale_after is None:
        message = "staleAfter is null, so a device that hears nothing from the server never stops elevating"
        yield found("D22", Severity.WARNING, subject, path="staleAfter", message=message)


def lint_named_groups(estate: Estate) -> Iterator[Finding]:
    """Find policies that name groups which there are not, where all groups are known."""
    if not estate.groups_known:
        return
    known = {ALL_DEVICES, ALL_USERS, *estate.groups}
    assigned = [(settings_subject(policy), policy.assignments) for policy in estate.settings_policies]
    assigned += [(rules_subject(policy), policy.assignments) for policy in estate.rules_policies]
    for subject, assignments in assigned:
        for path, message, name in _named(assignments):
            if name not in known:
                yield found("L31", Severity.HIGH, subject, path=path, message=message)


def _named(assignments: Assignments) -> Iterator[tuple[str, str, str]]:
    """Give each place that names a group, what is to be said if there is none, and its name."""
    for number, include in enumerate(assignments.include):
        message = f'there is no group "{include.group}", so nobody gets the policy by it'
        yield f"assignments.include[{number}].group", message, include.group
    for number, exclude in enumerate(assignments.exclude):
        message = f'there is no group "{exclude.group}", so the policy reaches nobody at all'
        yield f"assignments.exclude[{number}].group", message, exclude.group
