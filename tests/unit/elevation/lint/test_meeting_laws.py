"""What lint says of rules that meet, held against the kernel that decides between them."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from elevation.effective import EffectivePolicies
from elevation.explain import explain
from elevation.lint.findings import Estate, Finding, Subject
from elevation.lint.linter import Linter
from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    Assignments,
    Attempt,
    ChildProcesses,
    Decision,
    Detection,
    Device,
    ElevationType,
    Exclude,
    FileEvidence,
    Group,
    GroupType,
    Include,
    Loser,
    LostAt,
    Platform,
    Rule,
    RulesPolicy,
    SettingsPolicy,
    Source,
    Trigger,
    User,
)
from tests.builders.elevation import HASH, NOW, OTHER_HASH, authority, publisher, signer

MOST_RELATED = 5
FOLDERS = ["C:\\A", "C:\\A\\B"]
NAMES = ["a.exe", "ab.exe", "straße.exe", "strasse.exe"]
PATTERNS = [*NAMES, "a*.exe", "*.exe", "?.exe", "*b.exe", "stra?e.exe", "A*.EXE"]
GROUPS = {
    "kiosks": Group("kiosks", GroupType.DEVICE, members=("k",)),
    "fleet": Group("fleet", GroupType.DEVICE, groups=("kiosks",)),
    "developers": Group("developers", GroupType.USER, members=("alice",)),
}
ON = SettingsPolicy("on", assignments=Assignments((Include(ALL_DEVICES),)))

detections = st.builds(
    Detection,
    file_name=st.sampled_from(PATTERNS),
    file_path=st.sampled_from(["", "", *FOLDERS, "C:\\*", "C:\\A\\"]),
    file_hash=st.sampled_from(["", "", HASH, OTHER_HASH, HASH.upper()]),
    certificate=st.sampled_from([None, None, publisher(), publisher("other"), authority()]),
    minimum_version=st.sampled_from(["", "", "1", "1.2"]),
    product_name=st.sampled_from(["", "", "p", "q"]),
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    elevation_type = draw(st.sampled_from(ElevationType))
    is_deny = elevation_type is ElevationType.DENY
    return Rule(
        name="",
        elevation_type=elevation_type,
        child_processes=ChildProcesses.DENY,
        detection=draw(detections),
        arguments=None if is_deny else draw(st.sampled_from([None, None, ("/a",)])),
    )


assignments = st.builds(
    lambda include, exclude: Assignments(tuple(include), tuple(exclude)),
    st.lists(
        st.builds(
            Include,
            st.sampled_from([ALL_DEVICES, ALL_USERS, "kiosks", "fleet", "developers"]),
            st.sampled_from(["", "", "tag = x", 'os = "windows"']),
        ),
        max_size=2,
    ),
    st.sampled_from([(), (), (Exclude("kiosks"),)]),
)


@st.composite
def estates(draw: st.DrawFn, platform: Platform = Platform.WINDOWS) -> Estate:
    shared = draw(st.lists(rules(), min_size=2, max_size=3))  # so that rules often recognise the same
    return Estate(
        settings_policies=(ON,),
        rules_policies=tuple(
            RulesPolicy(
                f"p{number}",
                platform,
                tuple(
                    replace(rule, name=f"r{place}")
                    for place, rule in enumerate(draw(st.lists(st.sampled_from(shared) | rules(), max_size=3)))
                ),
                draw(assignments),
            )
            for number in range(3)
        ),
        groups=GROUPS,
    )


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    groups = draw(st.sampled_from([set(), {"fleet"}, {"fleet", "kiosks"}]))
    tags = draw(st.sampled_from([(), ("x",)]))
    file = FileEvidence(
        f"{draw(st.sampled_from(FOLDERS))}\\{draw(st.sampled_from(NAMES))}",
        draw(st.sampled_from([HASH, OTHER_HASH])),
        version=draw(st.sampled_from(["", "1.1", "2"])),
        product_name=draw(st.sampled_from(["", "p", "q"])),
        signers=draw(st.sampled_from([(), (signer("vendor"),), (signer("other"),)])),
    )
    return Attempt(
        device=Device("ws", frozenset(groups), {"os": "windows", "tag": tags}),
        user=User("alice", draw(st.sampled_from([frozenset[str](), frozenset({"developers"})]))),
        trigger=Trigger.REQUEST,
        platform=Platform.WINDOWS,
        file=file,
        now=NOW,
    )


def lint(estate: Estate) -> list[Finding]:
    return Linter().lint(estate, now=NOW)


def decisions(estate: Estate, tried: Iterable[Attempt]) -> list[Decision]:
    policies = EffectivePolicies([*estate.settings_policies, *estate.rules_policies], estate.groups.values())
    return [explain(policies.for_attempt(attempt), attempt) for attempt in tried]


def subject(policy: str | None, rule: str | None) -> Subject:
    return Subject("ElevationRulesPolicy", policy or "", rule or "")


def of(loser: Loser) -> Subject:
    return subject(loser.policy, loser.rule)


def related(findings: Iterable[Finding], check: str, about: Subject) -> tuple[Subject, ...]:
    return next((found.related for found in findings if found.check == check and found.subject == about), ())


@given(estates(), st.lists(attempts(), min_size=20, max_size=20))
def test_a_rule_that_is_said_to_be_never_reached_decides_nothing(estate: Estate, tried: list[Attempt]) -> None:
    findings = [found for found in lint(estate) if found.check == "L19"]
    never = {found.subject for found in findings if found.message.startswith("is never reached")}
    shadows = {found.subject: found.related for found in findings}

    for decision in decisions(estate, tried):
        decided = subject(decision.policy, decision.rule)
        if decision.source is Source.RULE:
            assert decided not in never
            assert not {of(loser) for loser in decision.losers} & set(shadows.get(decided, ()))


@given(estates(), st.lists(attempts(), min_size=20, max_size=20))
def test_every_tie_that_the_type_decides_is_found(estate: Estate, tried: list[Attempt]) -> None:
    findings = lint(estate)

    for decision in decisions(estate, tried):
        winner = subject(decision.policy, decision.rule)
        for loser in decision.losers:
            if loser.lost_at is LostAt.TYPE:
                others = related(findings, "L20", of(loser))
                assert winner in others or len(others) == MOST_RELATED


@given(estates(), st.lists(attempts(), min_size=20, max_size=20))
def test_every_hash_that_a_weak_rule_for_users_beats_is_found(estate: Estate, tried: list[Attempt]) -> None:
    findings = lint(estate)
    hashed = {
        subject(policy.name, rule.name)
        for policy in estate.rules_policies
        for rule in policy.rules
        if rule.detection.file_hash
    }

    for decision in decisions(estate, tried):
        winner = subject(decision.policy, decision.rule)
        for loser in decision.losers:
            if loser.lost_at is LostAt.TARGET and of(loser) in hashed and winner not in hashed:
                assert decision.elevation_type is ElevationType.DENY or of(loser) in related(findings, "L21", winner)


@given(estates(), st.sampled_from(["p0", "p1", "p2"]))
def test_what_is_about_a_policy_is_what_it_has_part_in(estate: Estate, name: str) -> None:
    about = Subject("ElevationRulesPolicy", name)

    found = Linter().lint(estate, now=NOW, about=[about])

    assert found == [
        finding
        for finding in lint(estate)
        if any(replace(one, rule="") == about for one in (finding.subject, *finding.related))
    ]


@given(estates(), estates(), st.integers(0, 2), st.randoms())
def test_a_linter_that_saw_other_policies_finds_the_same(
    first: Estate, second: Estate, place: int, random: Random
) -> None:
    linter = Linter()
    linter.lint(first, now=NOW)
    changed = list(first.rules_policies)
    changed[place] = second.rules_policies[place]
    random.shuffle(changed)
    estate = replace(first, rules_policies=tuple(changed), groups={**GROUPS, "kiosks": replace(GROUPS["kiosks"])})

    assert linter.lint(estate, now=NOW) == lint(estate)


@given(estates(Platform.MACOS))
def test_policies_of_different_platforms_have_nothing_to_do_with_each_other(estate: Estate) -> None:
    one, other, _ = estate.rules_policies
    apart = replace(estate, rules_policies=(one, replace(other, platform=Platform.WINDOWS)))

    for finding in lint(apart):
        if finding.check in {"L19", "L20", "L21"}:
            assert {finding.subject.name} == {found.name for found in finding.related}
