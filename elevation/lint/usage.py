"""What lint finds in what rules are used for: rules that decide nothing, and files that could do with a rule.

What is not known is not found: without reports there is no usage, and where some of those who have elevation report less
than all that is managed, nothing follows from a rule's absence from the reports.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from elevation.lint.catalogue import found
from elevation.lint.findings import ApprovedFile, Estate, Finding, Severity, Usage
from elevation.lint.patience import go_on
from elevation.lint.subjects import rule_subject, settings_subject
from elevation.model import DefaultResponse, ReportingScope, RulesPolicy, SettingsPolicy

UNUSED_AFTER: Final = timedelta(days=90)
"""Time for which a rule decides nothing before that is worth knowing, and over which approvals are counted."""
MANY_APPROVALS: Final = 5
MOST_APPROVED: Final = 20
"""Files that are told; those with most approvals."""

_APPROVED_WHY: Final = "Each of these approvals took somebody's time, and a rule answers as they did."


def lint_usage(estate: Estate, now: datetime) -> Iterator[Finding]:
    """Find rules that nobody uses, and files that are approved again and again."""
    usage = estate.usage
    if usage is None:
        return
    if usage.counted_from <= now - UNUSED_AFTER and not usage.more_rules and _all_report(estate):
        for policy in estate.rules_policies:
            go_on()
            yield from _unused(policy, usage, estate.written.get(policy.name), now - UNUSED_AFTER)
    yield from _approved(estate, usage)


def _all_report(estate: Estate) -> bool:
    """Tell whether everything that is managed is reported, whichever settings policy somebody has."""
    return all(map(_reports, filter(_counts, estate.settings_policies)))


def _counts(policy: SettingsPolicy) -> bool:
    return policy.enabled and policy.assignments.include != ()


def _reports(policy: SettingsPolicy) -> bool:
    return policy.send_reporting_data and policy.reporting_scope is not ReportingScope.DIAGNOSTIC


def _unused(policy: RulesPolicy, usage: Usage, written: datetime | None, since: datetime) -> Iterator[Finding]:
    """Find rules that have stood long enough and decided nothing meanwhile."""
    if not policy.assignments.include or written is None or written > since:
        return
    for number, rule in enumerate(policy.rules):
        last = usage.last_used.get((policy.name, rule.name))
        if last is None or last < since:
            message = f"no attempt was decided by this rule for {UNUSED_AFTER.days} days"
            yield found("L28", Severity.INFO, rule_subject(policy, rule), path=f"rules[{number}]", message=message)


def _approved(estate: Estate, usage: Usage) -> Iterator[Finding]:
    """Find files that are approved again and again where files without a rule need an approval."""
    asking = [policy for policy in estate.settings_policies if _asks_for_approval(policy)]
    if not asking:
        return
    known = {rule.detection.file_hash.lower() for policy in estate.rules_policies for rule in policy.rules}
    often = (file for file in usage.approved if file.approvals >= MANY_APPROVALS and file.sha256 not in known)
    for file in sorted(often, key=lambda file: (-file.approvals, file.sha256))[:MOST_APPROVED]:
        for policy in asking:
            yield _repeated(policy, file)


def _asks_for_approval(policy: SettingsPolicy) -> bool:
    return _counts(policy) and policy.default_response is DefaultResponse.SUPPORT_APPROVED


def _repeated(policy: SettingsPolicy, file: ApprovedFile) -> Finding:
    users = "1 user" if file.users == 1 else f"{file.users} users"
    message = (
        f'"{file.file_name}" ({file.sha256}) was elevated {file.approvals} times under an approval'
        f" by {users} in {UNUSED_AFTER.days} days, and no rule names its hash"
    )
    command = f"epm report elevations --source GRANT --sha256 {file.sha256} --limit 1"
    remedy = f"Make a rule of it: {command} tells an attempt, and epm rule propose --event ID a rule for its file."
    finding = found("L28", Severity.INFO, settings_subject(policy), path="defaultResponse", message=message)
    return replace(finding, why=_APPROVED_WHY, remedy=remedy)
