"""What lint finds in single policies and certificates, whatever else there is."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Generic, TypeVar

from elevation.lint.assignments import lint_assignments
from elevation.lint.certificates import lint_certificates
from elevation.lint.findings import Estate, Finding
from elevation.lint.patience import go_on
from elevation.lint.policies import lint_named_groups, lint_settings_policy
from elevation.lint.rules import lint_rules
from elevation.model import RulesPolicy, SettingsPolicy

P = TypeVar("P", SettingsPolicy, RulesPolicy)


class ObjectLint:
    """Look at objects one by one; what was found in a policy is kept until the policy changes."""

    def __init__(self) -> None:
        self._settings = _Kept(lint_settings_policy)
        self._rules = _Kept(lint_rules)

    def lint(self, estate: Estate, now: datetime) -> list[Finding]:
        """Find what is wrong with each object by itself."""
        return [
            *self._settings.lint(estate.settings_policies),
            *self._rules.lint(estate.rules_policies),
            *lint_assignments(estate),
            *lint_named_groups(estate),
            *lint_certificates(estate, now),
        ]


class _Kept(Generic[P]):
    """What was found in the policies of one kind the last time, by their names."""

    def __init__(self, look: Callable[[P], Iterable[Finding]]) -> None:
        self._look: Callable[[P], Iterable[Finding]] = look
        self._kept: dict[str, tuple[P, tuple[Finding, ...]]] = {}

    def lint(self, policies: Iterable[P]) -> list[Finding]:
        """Look at policies that are new or changed; forget those that are gone."""
        kept, self._kept = self._kept, {}
        findings: list[Finding] = []
        for policy in policies:
            go_on()
            before = kept.get(policy.name)
            unchanged = before is not None and (before[0] is policy or before[0] == policy)
            here = before[1] if before is not None and unchanged else tuple(self._look(policy))
            self._kept[policy.name] = (policy, here)
            findings.extend(here)
        return findings
