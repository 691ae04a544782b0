"""Decide on one attempt.

What comes first counts: NOT_ACTIVE, ADMINISTRATOR, ERROR, a Deny rule, STALE, the winning rule (its argument list
first), the default response (of a REQUEST only). A grant applies where the result would be REQUEST_APPROVAL, on a
REQUEST only. An ordinary start (LAUNCH) is elevated by a winning AUTOMATIC rule and left alone otherwise. A child is
decided by the rule of its parent (ALLOW, DENY) or evaluated by itself (REQUIRE_RULE), without grants and default
response. `decide` is total: every attempt gets a decision, and what cannot be known denies.
"""

from datetime import datetime

from elevation.compiled import CompiledRule
from elevation.index import CompiledPolicy
from elevation.matching import Facts
from elevation.model import (
    Attempt,
    ChildProcesses,
    Decision,
    ElevationType,
    Grant,
    Outcome,
    Parent,
    Platform,
    Settings,
    Source,
    Trigger,
)
from elevation.paths import obstacle
from elevation.reasons import Cause

# Looking a member up in its enum takes longer than comparing it.
_LAUNCH, _CHILD = Trigger.LAUNCH, Trigger.CHILD

_NOT_ACTIVE = Decision(Outcome.NOT_MANAGED, Source.NOT_ACTIVE, Cause.NOT_ACTIVE)
_ADMINISTRATOR = Decision(Outcome.NOT_MANAGED, Source.ADMINISTRATOR, Cause.ADMINISTRATOR)
_STALE = Decision(Outcome.NOT_MANAGED, Source.STALE, Cause.STALE)
_LEFT_ALONE = Decision(Outcome.NOT_MANAGED, Source.NO_RULE, Cause.NO_AUTOMATIC_RULE)
_CHILD_WITHOUT_RULE = Decision(Outcome.DENY, Source.NO_RULE, Cause.CHILD_WITHOUT_RULE)


def decide(policy: CompiledPolicy, attempt: Attempt) -> Decision:
    """Decide on an attempt by the policy of its user on its device. Losers and near misses: see `explain`."""
    settings = policy.settings
    if settings is None or not settings.enabled:
        return _NOT_ACTIVE
    if attempt.user.administrator:
        return _ADMINISTRATOR
    fault = obstacle(attempt.file, attempt.platform)
    if fault is not None:
        return _LEFT_ALONE if attempt.trigger is _LAUNCH else _error(Cause.NOT_EVALUABLE, fault)
    stale = attempt.policy_confirmed is not None and _is_stale(settings, attempt.policy_confirmed, attempt.now)
    if attempt.trigger is _LAUNCH:
        return _STALE if stale else _decide_launch(policy, attempt)
    if attempt.trigger is _CHILD:
        return _decide_child(policy, attempt, stale=stale)
    return _with_grant(_by_rules(policy, attempt, policy.default, stale=stale), attempt)


def named(parent: Parent) -> str:
    """Name the rule that elevated a parent, as the reason of a decision does."""
    return f'rule "{parent.rule}" of policy "{parent.policy}"'


def _is_stale(settings: Settings, confirmed: datetime, now: datetime) -> bool:
    return settings.stale_after is not None and now - confirmed >= settings.stale_after


def _decide_launch(policy: CompiledPolicy, attempt: Attempt) -> Decision:
    if attempt.platform is Platform.LINUX:
        return _LEFT_ALONE
    winner = policy.best(Facts(attempt.file, attempt.platform, attempt.now), attempt.platform)
    if winner is None or winner.rule.elevation_type is not ElevationType.AUTOMATIC:
        return _LEFT_ALONE
    return winner.decision if winner.allows(attempt.arguments) else _LEFT_ALONE


def _decide_child(policy: CompiledPolicy, attempt: Attempt, *, stale: bool) -> Decision:
    parent = attempt.parent
    if parent is None:
        return _error(Cause.PARENT_UNKNOWN, "the attempt names no parent")
    rule = policy.find(parent.policy, parent.rule, attempt.platform)
    if rule is None:
        return _error(Cause.PARENT_UNKNOWN, named(parent))
    if rule.child_processes is ChildProcesses.ALLOW:
        return _STALE if stale else _by_parent(rule, Outcome.ELEVATE, Cause.CHILD_ALLOWED)
    if rule.child_processes is ChildProcesses.DENY and not stale:
        return _by_parent(rule, Outcome.DENY, Cause.CHILD_DENIED)
    return _by_rules(policy, attempt, _CHILD_WITHOUT_RULE, stale=stale)


def _by_rules(policy: CompiledPolicy, attempt: Attempt, otherwise: Decision, *, stale: bool) -> Decision:
    """Decide by the rules; `otherwise` counts where none matches."""
    winner = policy.best(Facts(attempt.file, attempt.platform, attempt.now), attempt.platform)
    if winner is not None and winner.denies:
        return winner.decision
    if stale:
        return _STALE
    if winner is None:
        return otherwise
    return winner.decision if winner.allows(attempt.arguments) else winner.refusal


def _by_parent(parent: CompiledRule, outcome: Outcome, cause: Cause) -> Decision:
    return Decision(
        outcome=outcome,
        source=Source.RULE,
        cause=cause,
        elevation_type=parent.rule.elevation_type,
        policy=parent.policy,
        rule=parent.rule.name,
    )


def _with_grant(decision: Decision, attempt: Attempt) -> Decision:
    if not attempt.grants or decision.outcome is not Outcome.REQUEST_APPROVAL:
        return decision
    usable = [grant for grant in attempt.grants if _is_usable(grant, attempt)]
    if not usable:
        return decision
    grant = min(usable, key=lambda grant: (grant.uses_left is not None, grant.expires, grant.id))
    return Decision(
        outcome=Outcome.ELEVATE,
        source=Source.GRANT,
        cause=Cause.GRANTED if decision.rule is None else Cause.GRANTED_RULE,
        elevation_type=ElevationType.SUPPORT_APPROVED,
        policy=decision.policy,
        rule=decision.rule,
        grant=grant.id,
        detail=grant.id,
    )


def _is_usable(grant: Grant, attempt: Attempt) -> bool:
    return (
        grant.user == attempt.user.name
        and grant.device == attempt.device.name
        and grant.sha256.lower() == attempt.file.sha256.lower()
        and (grant.arguments is None or grant.arguments == attempt.arguments)
        and grant.not_before <= attempt.now < grant.expires
        and (grant.uses_left is None or grant.uses_left > 0)
    )


def _error(cause: Cause, detail: str) -> Decision:
    return Decision(Outcome.DENY, Source.ERROR, cause, detail=detail)
