"""From documents to the effective policy of one user on one device, with what was compiled kept for the next attempt."""

from collections.abc import Iterable, Mapping

from elevation.assignment import Memberships, applicable
from elevation.index import CompiledPolicy, compile_policy
from elevation.model import Attempt, Certificate, Group, GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from elevation.settings import merge

_MAX_KEPT = 256


class EffectivePolicies:
    """All documents of an installation, compiled per set of policies that reaches a user on a device."""

    def __init__(
        self,
        policies: Iterable[SettingsPolicy | RulesPolicy],
        groups: Iterable[Group] = (),
        certificates: Iterable[ReusableCertificate] = (),
    ) -> None:
        self._policies = tuple(policies)
        self._groups: Mapping[str, GroupType] = {group.name: group.type for group in groups}
        self._certificates: Mapping[str, Certificate] = {found.name: found.certificate for found in certificates}
        self._kept: dict[tuple[object, ...], CompiledPolicy] = {}

    def for_attempt(self, attempt: Attempt) -> CompiledPolicy:
        """Give the effective policy for the memberships that an attempt states."""
        return self.for_memberships(Memberships.of(attempt.device, attempt.user))

    def for_memberships(self, memberships: Memberships) -> CompiledPolicy:
        """Give the effective policy for memberships; raise CompileError for documents that were not checked."""
        found = applicable(self._policies, self._groups, memberships)
        key = (
            tuple(policy.name for policy in found.settings),
            tuple((policy.name, user_targeted) for policy, user_targeted in found.rules),
        )
        kept = self._kept.get(key)
        if kept is None:
            kept = compile_policy(merge(found.settings), found.rules, self._certificates)
            if len(self._kept) >= _MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = kept
        return kept
