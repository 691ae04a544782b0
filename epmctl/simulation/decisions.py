"""Decide attempts by a set of documents, and write decisions as JSON.

Attempts that the same policies reach share one compiled policy. Which policies reach an attempt depends on its groups,
and on its device where an assignment has a filter; only what counts goes into the key under which a policy is kept.
"""

from typing import TYPE_CHECKING, Final

from elevation.decision import decide
from elevation.effective import EffectivePolicies
from elevation.explain import explain
from elevation.index import CompiledPolicy
from elevation.model import Attempt, Decision, RulesPolicy, SettingsPolicy
from elevation.words import Validation
from epmctl.documents.load import DocumentSet
from epmctl.output import to_json

if TYPE_CHECKING:
    from elevation.codec.decisions import ToldDecision  # only --server needs the contracts

_VALIDATIONS: Final = tuple(Validation)
_MAX_KEPT: Final = 4096


def decision_json(decision: "Decision | ToldDecision", *, explained: bool) -> dict[str, object]:
    """Give a decision in the JSON form, ours or one that a server tells; losers and near misses are there only if it was explained."""
    found: dict[str, object] = {
        "outcome": decision.outcome.name,
        "managed": decision.managed,
        "elevationType": None if decision.elevation_type is None else decision.elevation_type.name,
        "validations": [owed.name for owed in _VALIDATIONS if owed in decision.validations],
        "source": decision.source.name,
        "policy": decision.policy,
        "rule": decision.rule,
    }
    if explained:
        found["losers"] = [
            {"policy": loser.policy, "rule": loser.rule, "lostAt": loser.lost_at.name} for loser in decision.losers
        ]
        found["nearMisses"] = [
            {"policy": miss.policy, "rule": miss.rule, "failed": miss.failed} for miss in decision.near_misses
        ]
    found["reason"] = decision.reason
    return found


def json_line(form: object, *, indented: bool) -> bytes:
    """Write a decision in the JSON form as it is printed."""
    text = to_json(form, indent=2 if indented else None)
    # A lone surrogate (from an escape in the attempt) has no UTF-8; its JSON escape says the same.
    return text.encode("utf-8", "backslashreplace") + b"\n"


class Simulator:
    """Decides attempts one by one and keeps the printed decisions; without documents it decides nothing."""

    def __init__(self, documents: DocumentSet | None, *, explained: bool, indented: bool) -> None:
        self.lines: list[bytes] = []
        self._documents = documents
        self._policies = None if documents is None else _KeptPolicies(documents)
        self._explained = explained
        self._indented = indented
        self._written: dict[int, tuple[Decision, bytes]] = {}

    def take(self, attempt: Attempt) -> None:
        """Decide one attempt."""
        if self._policies is None:
            return
        policy = self._policies.of(attempt)
        if self._explained:
            self.lines.append(self._line(explain(policy, attempt)))
            return
        decision = decide(policy, attempt)
        # A rule gives the same decision object every time; most attempts meet a rule that another one met before.
        kept = self._written.get(id(decision))
        if kept is None or kept[0] is not decision:
            kept = decision, self._line(decision)
            if len(self._written) < _MAX_KEPT:
                self._written[id(decision)] = kept
        self.lines.append(kept[1])

    def _line(self, decision: Decision) -> bytes:
        return json_line(decision_json(decision, explained=self._explained), indented=self._indented)


class _KeptPolicies:
    """Finds the compiled policy of an attempt."""

    def __init__(self, documents: DocumentSet) -> None:
        policies: list[SettingsPolicy | RulesPolicy] = [*documents.settings_policies(), *documents.rules_policies()]
        includes = [include for policy in policies for include in policy.assignments.include]
        excludes = [exclude for policy in policies for exclude in policy.assignments.exclude]
        assigned = [include.group for include in includes] + [exclude.group for exclude in excludes]
        self._groups = frozenset(assigned)
        self._filtered = any(include.filter for include in includes)
        self._effective = EffectivePolicies(policies, documents.groups(), documents.reusable_certificates())
        self._kept: dict[object, CompiledPolicy] = {}

    def of(self, attempt: Attempt) -> CompiledPolicy:
        """Give the compiled policy that reaches the user on the device of an attempt."""
        device = attempt.device
        facts = (device.name, frozenset(device.attributes.items())) if self._filtered else None
        key = (device.groups & self._groups, attempt.user.groups & self._groups, facts)
        policy = self._kept.get(key)
        if policy is None:
            policy = self._effective.for_attempt(attempt)
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = policy
        return policy
