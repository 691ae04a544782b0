"""Explain a decision: the rules that matched and lost, and the rules that almost matched.

Losers and near misses are given where a rule, a grant or the default response decided. They are empty where nothing is
managed, on an error, for a child that its parent's rule decides, and for a child without a rule.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from elevation.compiled import CompiledRule, lost_at
from elevation.decision import decide
from elevation.index import CompiledPolicy
from elevation.matching import Facts, failures
from elevation.model import Attempt, Decision, Loser, NearMiss, Source
from elevation.reasons import Cause

_EXPLAINED = frozenset({Source.RULE, Source.GRANT, Source.DEFAULT_RESPONSE})
_BY_PARENT = frozenset({Cause.CHILD_ALLOWED, Cause.CHILD_DENIED})


def explain(policy: CompiledPolicy, attempt: Attempt) -> Decision:
    """Decide on an attempt as `decide` does, with losers and near misses, both sorted by policy and rule."""
    decision = decide(policy, attempt)
    if decision.source not in _EXPLAINED or decision.cause in _BY_PARENT:
        return decision
    facts = Facts(attempt.file, attempt.platform, attempt.now)
    judged = [(rule, failures(rule.tests, facts)) for rule in policy.rules(attempt.platform)]
    matching = [rule for rule, failed in judged if not failed]
    losers = sorted(_losers(matching), key=lambda loser: (loser.policy, loser.rule))
    misses = [NearMiss(rule.policy, rule.rule.name, failed[0]) for rule, failed in judged if len(failed) == 1]
    return replace(
        decision,
        losers=tuple(losers),
        near_misses=tuple(sorted(misses, key=lambda miss: (miss.policy, miss.rule))),
    )


def without_names(decision: Decision, hidden: Collection[str]) -> Decision:
    """Leave out the names of rules in policies that may not be seen; what they do to the decision stays.

    INVARIANT: neither the reason nor the place in a list gives such a name away.
    """
    losers = [replace(loser, policy="", rule="") if loser.policy in hidden else loser for loser in decision.losers]
    misses = [replace(miss, policy="", rule="") if miss.policy in hidden else miss for miss in decision.near_misses]
    shown = replace(
        decision,
        losers=tuple(sorted(losers, key=lambda loser: (loser.policy, loser.rule, loser.lost_at.name))),
        near_misses=tuple(sorted(misses, key=lambda miss: (miss.policy, miss.rule, miss.failed))),
    )
    return replace(shown, policy="", rule="") if decision.policy in hidden else shown


def _losers(matching: Iterable[CompiledRule]) -> Iterator[Loser]:
    ordered = sorted(matching, key=lambda rule: rule.rank)
    for rule in ordered[1:]:
        yield Loser(rule.policy, rule.rule.name, lost_at(rule.rank, ordered[0].rank))
