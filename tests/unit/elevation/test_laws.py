"""Laws that hold for all rules and all attempts."""

from dataclasses import replace
from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from elevation.compiled import compile_rules
from elevation.decision import decide
from elevation.explain import explain
from elevation.index import CompiledPolicy, compile_policy
from elevation.matching import Facts, compile_detection, naive_matches
from elevation.model import (
    Attempt,
    ChildProcesses,
    DefaultResponse,
    Detection,
    Device,
    ElevationType,
    FileEvidence,
    Grant,
    LostAt,
    Outcome,
    Parent,
    Platform,
    Rule,
    RulesPolicy,
    Settings,
    Source,
    Trigger,
    User,
    Validation,
)
from elevation.paths import obstacle
from tests.builders.elevation import HASH, NOW, OTHER_HASH, authority, publisher, signer

Targeted = list[tuple[RulesPolicy, bool]]

# Few values, so that rules and files meet often.
FOLDERS = ["C:\\A", "C:\\A\\B", "C:\\"]
NAMES = ["a.exe", "ab.exe", "abc.exe", "b.exe", "Ab.EXE", "straße.exe", "strasse.exe"]
PATTERNS = [*NAMES, "a*.exe", "*b.exe", "a?.exe", "*.exe", "?*?.exe", "*tra*.exe", "a*c.exe", "stra?e.exe"]

signers = st.lists(
    st.builds(signer, st.sampled_from(["vendor", "other", "expired"]), trusted=st.booleans()), max_size=2
).map(tuple)
detections = st.builds(
    Detection,
    file_name=st.sampled_from(PATTERNS),
    file_path=st.sampled_from(["", "", *FOLDERS, "C:\\*", "C:\\?\\B", "C:\\A\\"]),
    file_hash=st.sampled_from(["", HASH, OTHER_HASH, HASH.upper()]),
    certificate=st.sampled_from([None, None, publisher(), publisher("other"), authority(), authority("root")]),
    minimum_version=st.sampled_from(["", "", "1", "1.2"]),
    file_description=st.sampled_from(["", "", "d"]),
    product_name=st.sampled_from(["", "", "p", "q"]),
    internal_name=st.sampled_from(["", "", "i"]),
)
arguments = st.lists(st.sampled_from(["/a", "/b", "/a /b"]), max_size=2).map(tuple)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    elevation_type = draw(st.sampled_from(ElevationType))
    is_deny = elevation_type is ElevationType.DENY
    return Rule(
        name="",
        elevation_type=elevation_type,
        child_processes=draw(st.sampled_from([None, *ChildProcesses])),
        detection=draw(detections),
        arguments=None if is_deny else draw(st.none() | arguments),
    )


@st.composite
def policies(draw: st.DrawFn) -> Targeted:
    found: Targeted = []
    for number, members in enumerate(draw(st.lists(st.lists(rules(), max_size=6), max_size=4))):
        named = tuple(
            Rule(
                f"r{place}",
                elevation_type=rule.elevation_type,
                child_processes=rule.child_processes,
                detection=rule.detection,
                arguments=rule.arguments,
            )
            for place, rule in enumerate(members)
        )
        found.append((RulesPolicy(f"p{number}", Platform.WINDOWS, named), draw(st.booleans())))
    return found


files = st.builds(
    lambda folder, name, **facts: FileEvidence(f"{folder.rstrip(chr(92))}\\{name}", **facts),
    st.sampled_from(FOLDERS),
    st.sampled_from(NAMES),
    sha256=st.sampled_from([HASH, OTHER_HASH, "c" * 64]),
    version=st.sampled_from(["", "1.1", "1.2", "2.x"]),
    description=st.sampled_from(["", "d"]),
    product_name=st.sampled_from(["", "p"]),
    internal_name=st.sampled_from(["", "i"]),
    signers=signers,
)
grants = st.lists(
    st.builds(
        Grant,
        id=st.sampled_from(["g", "h"]),
        user=st.sampled_from(["alice", "bob"]),
        device=st.just("ws"),
        sha256=st.sampled_from([HASH, OTHER_HASH]),
        arguments=st.none() | st.just(()),
        not_before=st.just(NOW),
        expires=st.sampled_from([NOW, NOW + timedelta(hours=1)]),
        uses_left=st.sampled_from([None, 0, 1]),
    ),
    max_size=2,
).map(tuple)
attempts = st.builds(
    Attempt,
    device=st.just(Device("ws")),
    user=st.builds(User, st.just("alice"), administrator=st.sampled_from([False, False, False, True])),
    trigger=st.sampled_from(Trigger),
    platform=st.sampled_from([Platform.WINDOWS, Platform.WINDOWS, Platform.WINDOWS, Platform.MACOS]),
    file=files,
    now=st.just(NOW),
    arguments=st.lists(st.sampled_from(["/a", "/b"]), max_size=2).map(tuple),
    parent=st.none() | st.builds(Parent, st.sampled_from(["p0", "p9"]), st.sampled_from(["r0", "r1"])),
    grants=grants,
    policy_confirmed=st.none() | st.just(NOW - timedelta(days=31)),
)
merged = st.builds(
    Settings,
    default_response=st.sampled_from(DefaultResponse),
    validations=st.sets(st.sampled_from(Validation)).map(frozenset),
)


def compiled(targeted: Targeted, response: Settings | None = None) -> CompiledPolicy:
    return compile_policy(Settings() if response is None else response, targeted, {})


def naive(targeted: Targeted, file: FileEvidence) -> set[tuple[str, str]]:
    """Name the rules that match, found one by one."""
    facts = Facts(file, Platform.WINDOWS, NOW)
    return {
        (policy.name, rule.name)
        for policy, _ in targeted
        for rule in naive_matches(
            ((rule, compile_detection(rule.detection, policy.platform, {})) for rule in policy.rules), facts
        )
    }


@given(policies(), files)
def test_the_index_finds_the_best_of_what_a_naive_search_finds(targeted: Targeted, file: FileEvidence) -> None:
    matching = naive(targeted, file)
    ranks = [
        rule.rank
        for policy, user_targeted in targeted
        for rule in compile_rules(policy, {}, user_targeted=user_targeted)
        if (rule.policy, rule.rule.name) in matching
    ]
    best = compiled(targeted).best(Facts(file, Platform.WINDOWS, NOW), Platform.WINDOWS)
    assert (None if best is None else best.rank) == min(ranks, default=None)


@given(policies(), attempts)
def test_a_matching_deny_always_wins_a_request(targeted: Targeted, attempt: Attempt) -> None:
    if attempt.trigger is not Trigger.REQUEST or attempt.platform is not Platform.WINDOWS or attempt.user.administrator:
        return
    matching = naive(targeted, attempt.file)
    denies = {
        (policy.name, rule.name)
        for policy, _ in targeted
        for rule in policy.rules
        if rule.elevation_type is ElevationType.DENY and (policy.name, rule.name) in matching
    }
    decision = decide(compiled(targeted), attempt)
    if denies:
        assert decision.outcome is Outcome.DENY
        assert (decision.policy, decision.rule) in denies
    else:
        assert decision.elevation_type is not ElevationType.DENY or decision.source is Source.DEFAULT_RESPONSE


@given(policies(), attempts, merged, st.randoms(use_true_random=False))
def test_the_order_of_rules_and_policies_never_matters(
    targeted: Targeted, attempt: Attempt, response: Settings, chance: Random
) -> None:
    shuffled = list(targeted)
    chance.shuffle(shuffled)
    turned = [
        (RulesPolicy(policy.name, policy.platform, tuple(reversed(policy.rules))), user_targeted)
        for policy, user_targeted in shuffled
    ]
    assert explain(compiled(turned, response), attempt) == explain(compiled(targeted, response), attempt)


@given(policies(), attempts, merged, rules())
def test_a_rule_that_does_not_match_changes_nothing(
    targeted: Targeted, attempt: Attempt, response: Settings, other: Rule
) -> None:
    extra = RulesPolicy("extra", Platform.WINDOWS, (other,))
    if naive([(extra, True)], attempt.file):
        return
    with_extra = [*targeted, (extra, True)]
    assert decide(compiled(with_extra, response), attempt) == decide(compiled(targeted, response), attempt)


@given(policies(), attempts)
def test_more_specific_rules_never_lose_at_the_same_level(targeted: Targeted, attempt: Attempt) -> None:
    policy = compiled(targeted)
    decision = explain(policy, attempt)
    if decision.source is not Source.RULE or decision.rule is None or not decision.losers:
        return
    winner = policy.find(decision.policy or "", decision.rule, attempt.platform)
    assert winner is not None
    for loser in decision.losers:
        lost = policy.find(loser.policy, loser.rule, attempt.platform)
        assert lost is not None
        assert lost.rank > winner.rank
        if loser.lost_at in {LostAt.TYPE, LostAt.NAME}:
            assert lost.rank[:4] == winner.rank[:4]
        if loser.lost_at is LostAt.SPECIFICITY:
            assert lost.rank.missing_attributes > winner.rank.missing_attributes


@given(policies(), attempts, merged)
def test_explaining_never_changes_the_decision(targeted: Targeted, attempt: Attempt, response: Settings) -> None:
    policy = compiled(targeted, response)
    decided, explained = decide(policy, attempt), explain(policy, attempt)
    assert replace(explained, losers=(), near_misses=()) == decided
    assert not decided.losers
    assert not decided.near_misses


@given(policies(), attempts, merged)
def test_a_grant_only_turns_an_approval_into_an_elevation(
    targeted: Targeted, attempt: Attempt, response: Settings
) -> None:
    policy = compiled(targeted, response)
    without, with_grants = decide(policy, replace(attempt, grants=())), decide(policy, attempt)
    if with_grants != without:
        assert attempt.trigger is Trigger.REQUEST
        assert without.outcome is Outcome.REQUEST_APPROVAL
        assert (with_grants.outcome, with_grants.source) == (Outcome.ELEVATE, Source.GRANT)
        assert (with_grants.policy, with_grants.rule) == (without.policy, without.rule)


@given(policies(), attempts, merged)
def test_a_stale_policy_elevates_nothing(targeted: Targeted, attempt: Attempt, response: Settings) -> None:
    stale = replace(attempt, policy_confirmed=NOW - timedelta(days=30))
    assert decide(compiled(targeted, response), stale).outcome in {Outcome.DENY, Outcome.NOT_MANAGED}


@given(policies(), attempts, merged)
def test_an_ordinary_start_is_elevated_or_left_alone(targeted: Targeted, attempt: Attempt, response: Settings) -> None:
    decision = decide(compiled(targeted, response), replace(attempt, trigger=Trigger.LAUNCH))
    assert decision.outcome in {Outcome.ELEVATE, Outcome.NOT_MANAGED}
    assert decision.outcome is Outcome.NOT_MANAGED or decision.elevation_type is ElevationType.AUTOMATIC


strange_files = st.builds(
    FileEvidence, st.text(max_size=40), st.text(max_size=70), st.text(max_size=20), local=st.booleans()
)


@given(policies(), attempts, strange_files, st.sampled_from(Platform))
def test_every_attempt_gets_a_decision(
    targeted: Targeted, attempt: Attempt, file: FileEvidence, platform: Platform
) -> None:
    strange = replace(attempt, file=file, platform=platform)
    decision = explain(compiled(targeted), strange)
    assert decision.reason
    assert decision.managed is (decision.outcome is not Outcome.NOT_MANAGED)
    if obstacle(file, platform) is not None and not attempt.user.administrator:
        assert decision.source is (Source.NO_RULE if attempt.trigger is Trigger.LAUNCH else Source.ERROR)


@given(policies(), attempts, merged)
def test_the_parts_of_a_decision_go_together(targeted: Targeted, attempt: Attempt, response: Settings) -> None:
    decision = explain(compiled(targeted, response), attempt)
    assert (decision.policy is None) == (decision.rule is None)
    if decision.source is Source.RULE:
        assert decision.rule is not None
    if decision.outcome is not Outcome.PROMPT:
        assert not decision.validations
    if decision.source in {Source.NO_RULE, Source.ERROR} or decision.outcome is Outcome.NOT_MANAGED:
        assert decision.elevation_type is None
        assert not decision.losers
        assert not decision.near_misses
    if decision.elevation_type is ElevationType.CURRENT_USER and decision.outcome is Outcome.PROMPT:
        assert decision.validations == {Validation.AUTHENTICATION}
