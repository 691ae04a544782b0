"""A rule made ready to decide: its tests, its place in the order of rules, and the decisions that it leads to.

The order of rules: (1) Deny first, (2) user-targeted before device-targeted, (3) with a hash before without, (4) where
none has a hash the most attributes, (5) by elevation type, (6) the lowest policy and rule name by code points. Among
Deny rules step 5 has no meaning. The steps make one key that sorts, so the first matching rule is the winner and the
first difference between two keys is the step at which one lost to the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from elevation import commandline
from elevation.matching import DetectionError, Tests, compile_detection
from elevation.model import (
    Certificate,
    ChildProcesses,
    Decision,
    DefaultResponse,
    ElevationType,
    LostAt,
    Outcome,
    Platform,
    Rule,
    RulesPolicy,
    Settings,
    Source,
    Validation,
)
from elevation.reasons import Cause

_ANSWERS = {
    ElevationType.AUTOMATIC: (Outcome.ELEVATE, Cause.AUTOMATIC),
    ElevationType.USER_CONFIRMED: (Outcome.PROMPT, Cause.USER_CONFIRMED),
    ElevationType.CURRENT_USER: (Outcome.PROMPT, Cause.CURRENT_USER),
    ElevationType.SUPPORT_APPROVED: (Outcome.REQUEST_APPROVAL, Cause.SUPPORT_APPROVED),
    ElevationType.DENY: (Outcome.DENY, Cause.DENIED),
}
_DEFAULTS = {
    DefaultResponse.NOT_CONFIGURED: (Outcome.DENY, Cause.DEFAULT_NOT_CONFIGURED, ElevationType.DENY),
    DefaultResponse.DENY: (Outcome.DENY, Cause.DEFAULT_DENY, ElevationType.DENY),
    DefaultResponse.USER_CONFIRMED: (Outcome.PROMPT, Cause.DEFAULT_CONFIRM, ElevationType.USER_CONFIRMED),
    DefaultResponse.SUPPORT_APPROVED: (
        Outcome.REQUEST_APPROVAL,
        Cause.DEFAULT_APPROVAL,
        ElevationType.SUPPORT_APPROVED,
    ),
}
_TYPE_ORDER = {
    ElevationType.DENY: 0,
    ElevationType.USER_CONFIRMED: 1,
    ElevationType.CURRENT_USER: 2,
    ElevationType.SUPPORT_APPROVED: 3,
    ElevationType.AUTOMATIC: 4,
}
_STEPS = (LostAt.DENY, LostAt.TARGET, LostAt.HASH, LostAt.SPECIFICITY, LostAt.TYPE, LostAt.NAME, LostAt.NAME)


class CompileError(ValueError):
    """A policy that cannot be compiled. Who checks documents first never meets it; who does not, fails closed."""


class Rank(NamedTuple):
    """The place of a rule in the order of rules; the lowest wins."""

    not_deny: bool
    not_user_targeted: bool
    no_hash: bool
    missing_attributes: int
    type_order: int
    policy: str
    rule: str


@dataclass(slots=True, eq=False)
class CompiledRule:
    """A rule of one policy for one platform. `place` is its position among all rules of the platform."""

    policy: str
    rule: Rule
    rank: Rank
    tests: Tests
    allowed: frozenset[tuple[str, ...]] | None
    """The allowed argument lists. None: not restricted."""
    child_processes: ChildProcesses
    decision: Decision
    refusal: Decision
    """The decision where the arguments are not allowed."""
    denies: bool
    """Whether it is a Deny rule."""
    place: int = 0

    def allows(self, arguments: tuple[str, ...]) -> bool:
        """Tell whether the arguments pass; no arguments always do."""
        return not arguments or self.allowed is None or arguments in self.allowed


def compile_rules(
    policy: RulesPolicy, certificates: Mapping[str, Certificate], *, user_targeted: bool
) -> list[CompiledRule]:
    """Compile all rules of a policy; raise CompileError naming the rule that does not compile."""
    rules: list[CompiledRule] = []
    for rule in policy.rules:
        try:
            rules.append(_compile_rule(policy, rule, certificates, user_targeted=user_targeted))
        except ValueError as error:
            raise CompileError(f'rule "{rule.name}" of policy "{policy.name}": {error}') from error
    return rules


def default_decision(settings: Settings | None) -> Decision:
    """Make the decision of the default response, which without settings denies."""
    response = DefaultResponse.NOT_CONFIGURED if settings is None else settings.default_response
    outcome, cause, elevation_type = _DEFAULTS[response]
    confirmed = response is DefaultResponse.USER_CONFIRMED
    return Decision(
        outcome=outcome,
        source=Source.DEFAULT_RESPONSE,
        cause=cause,
        elevation_type=elevation_type,
        validations=settings.validations if settings is not None and confirmed else frozenset(),
    )


def rank_of(policy: RulesPolicy, rule: Rule, *, user_targeted: bool) -> Rank:
    """Give the place of a rule in the order of rules."""
    has_hash = bool(rule.detection.file_hash)
    return Rank(
        not_deny=rule.elevation_type is not ElevationType.DENY,
        not_user_targeted=not user_targeted,
        no_hash=not has_hash,
        missing_attributes=0 if has_hash else -_attributes(rule),
        type_order=_TYPE_ORDER[rule.elevation_type],
        policy=policy.name,
        rule=rule.name,
    )


def lost_at(loser: Rank, winner: Rank) -> LostAt:
    """Name the step at which a rule fell against the winner."""
    return next(step for step, lost, won in zip(_STEPS, loser, winner, strict=True) if lost != won)


def _compile_rule(
    policy: RulesPolicy, rule: Rule, certificates: Mapping[str, Certificate], *, user_targeted: bool
) -> CompiledRule:
    deny = rule.elevation_type is ElevationType.DENY
    return CompiledRule(
        policy=policy.name,
        rule=rule,
        rank=rank_of(policy, rule, user_targeted=user_targeted),
        tests=compile_detection(rule.detection, policy.platform, certificates),
        allowed=_allowed(rule, policy.platform),
        child_processes=_child_processes(rule, policy.platform, deny=deny),
        decision=_decision(policy.name, rule),
        refusal=Decision(
            outcome=Outcome.DENY,
            source=Source.RULE,
            cause=Cause.ARGUMENTS,
            elevation_type=rule.elevation_type,
            policy=policy.name,
            rule=rule.name,
        ),
        denies=deny,
    )


def _attributes(rule: Rule) -> int:
    """Count the filled fields that make a rule more specific (the file name, which all have, is none of them)."""
    detection = rule.detection
    return sum(
        (
            bool(detection.file_path),
            detection.certificate is not None,
            bool(detection.minimum_version),
            bool(detection.file_description),
            bool(detection.product_name),
            bool(detection.internal_name),
            rule.arguments is not None,
        )
    )


def _allowed(rule: Rule, platform: Platform) -> frozenset[tuple[str, ...]] | None:
    if rule.arguments is None:
        return None
    if rule.elevation_type is ElevationType.DENY:
        raise DetectionError("a Deny rule restricts no arguments")
    return frozenset(commandline.split(line, platform) for line in rule.arguments)


def _child_processes(rule: Rule, platform: Platform, *, deny: bool) -> ChildProcesses:
    if deny:
        return ChildProcesses.REQUIRE_RULE
    if rule.child_processes is None and platform is Platform.LINUX:
        raise DetectionError("a rule on LINUX has to state childProcesses")
    return rule.child_processes or ChildProcesses.REQUIRE_RULE


def _decision(policy: str, rule: Rule) -> Decision:
    outcome, cause = _ANSWERS[rule.elevation_type]
    validations: frozenset[Validation] = frozenset()
    if rule.elevation_type is ElevationType.CURRENT_USER:
        validations = frozenset({Validation.AUTHENTICATION})
    elif rule.elevation_type is ElevationType.USER_CONFIRMED:
        validations = rule.validations
    return Decision(
        outcome=outcome,
        source=Source.RULE,
        cause=cause,
        elevation_type=rule.elevation_type,
        validations=validations,
        policy=policy,
        rule=rule.name,
    )
