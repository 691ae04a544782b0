"""What lint finds in assignments: permissive policies that devices can give themselves (D23).

A policy is permissive if it elevates anything: a rules policy with a rule that is no Deny rule, a settings policy that is
enabled and whose default response is not a denial. What agents report of themselves (`elevation.filters.REPORTED_FIELDS`)
may only narrow whom such a policy reaches, and only by a plain `os = …` beside other conditions: that asks for what the
policy is written for, and a device that lies about its system gets rules that are none of its own. Anything else is an
error, in the filter of an include, in the filter of a dynamic group that is included (or nested in one that is), and in
that of an excluded one, which a device leaves by reporting something else.
"""

from collections.abc import Iterator

from elevation.filtering import FilterError
from elevation.filters import REPORTED_FIELDS, restrictions_of
from elevation.lint.catalogue import found
from elevation.lint.findings import Estate, Finding, Severity, Subject
from elevation.lint.subjects import rules_subject, settings_subject
from elevation.model import (
    Assignments,
    DefaultResponse,
    ElevationType,
    FilterMode,
    RulesPolicy,
    SettingsPolicy,
)

_NARROWING = frozenset({"=", ":"})
_DENYING = frozenset({DefaultResponse.NOT_CONFIGURED, DefaultResponse.DENY})


def lint_assignments(estate: Estate) -> Iterator[Finding]:
    """Look at the assignments of every permissive policy."""
    for settings in estate.settings_policies:
        if _enables(settings):
            yield from _lint(settings.assignments, estate, settings_subject(settings))
    for policy in estate.rules_policies:
        if _elevates(policy):
            yield from _lint(policy.assignments, estate, rules_subject(policy))


def _enables(policy: SettingsPolicy) -> bool:
    return policy.enabled and policy.default_response not in _DENYING


def _elevates(policy: RulesPolicy) -> bool:
    return any(rule.elevation_type is not ElevationType.DENY for rule in policy.rules)


def _lint(assignments: Assignments, estate: Estate, subject: Subject) -> Iterator[Finding]:
    for number, include in enumerate(assignments.include):
        place = f"assignments.include[{number}]"
        excludes = include.filter_mode is FilterMode.EXCLUDE
        for field in _deciding(include.filter, excludes=excludes):
            yield _finding(subject, f"{place}.filter", f'"{field}" in the filter decides who gets the policy')
        yield from _lint_group(include.group, estate, subject, path=f"{place}.group", excludes=False)
    for number, exclude in enumerate(assignments.exclude):
        path = f"assignments.exclude[{number}].group"
        yield from _lint_group(exclude.group, estate, subject, path=path, excludes=True)


def _lint_group(name: str, estate: Estate, subject: Subject, *, path: str, excludes: bool) -> Iterator[Finding]:
    group = estate.groups.get(name)
    if group is None:
        return
    parts = (group, *(estate.groups[nested] for nested in group.groups if nested in estate.groups))
    for part in parts:
        for field in _deciding(part.filter, excludes=excludes):
            yield _finding(subject, path, f'"{field}" in the filter of group "{part.name}" decides who gets the policy')


def _finding(subject: Subject, path: str, message: str) -> Finding:
    return found("D23", Severity.ERROR, subject, path=path, message=f"{message}, and agents report it themselves")


def _deciding(text: str, *, excludes: bool) -> list[str]:
    """Name the reported fields that decide whom a filter finds, other than by a plain `os =`."""
    if not text:
        return []
    try:
        asked = restrictions_of(text)
    except FilterError:
        return []
    deciding = (
        restriction.field
        for restriction in asked
        if restriction.field in REPORTED_FIELDS
        and (excludes or restriction.field != "os" or not restriction.narrows or restriction.operator not in _NARROWING)
    )
    return list(dict.fromkeys(deciding))
