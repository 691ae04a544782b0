"""Laws of lint over all policies that pass the checks."""

import re
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from elevation.checks import check_rules_policy, check_settings_policy
from elevation.lint.accepting import IN_RULES, IN_SPECS
from elevation.lint.blocking import find_blocking
from elevation.lint.catalogue import CATALOGUE
from elevation.lint.findings import Estate, Finding, Severity
from elevation.lint.linter import Linter
from elevation.lint.rules import lint_rules
from elevation.model import (
    Assignments,
    CertificateCondition,
    CertificateType,
    ChildProcesses,
    DefaultResponse,
    Detection,
    ElevationType,
    FilterMode,
    Group,
    GroupType,
    Include,
    LintIgnore,
    Platform,
    ReusableCertificate,
    Rule,
    RulesPolicy,
    SettingsPolicy,
    Validation,
)
from elevation.rule_checks import check_rule
from tests.builders.elevation import HASH, NOW, authority, certificate, publisher

REUSABLE = CertificateCondition(CertificateType.PUBLISHER, reusable="signer")
NAMES = ["tool.exe", "cmd.exe", "*.exe", "setup*.exe", "a.ps1", "python3.12", "tool", "vi*", "bash", "x.msi"]
FOLDERS = [
    "",
    "C:\\",
    "C:\\Users\\a",
    "C:\\Program Files\\a",
    "C:\\*\\a",
    "Z:\\a",
    "/tmp",  # noqa: S108
    "/opt/a",
    "/*/b",
    "/Users/a",
]
LINES = ["/a", "/A", "", "/password:hunter2", "--token abc", '"a b" c']
FILTERS = ["", 'os = "linux"', 'osVersion >= "12"', "tag = a OR os = b"]

detections = st.builds(
    Detection,
    file_name=st.sampled_from(NAMES),
    file_path=st.sampled_from(FOLDERS),
    file_hash=st.sampled_from(["", HASH]),
    certificate=st.sampled_from([None, publisher(), publisher("expired"), authority(), REUSABLE]),
    product_name=st.sampled_from(["", "p"]),
    internal_name=st.sampled_from(["", "pwsh"]),
)
drawn_rules = st.builds(
    Rule,
    name=st.just("r"),
    elevation_type=st.sampled_from(ElevationType),
    validations=st.sampled_from([frozenset(), frozenset({Validation.AUTHENTICATION})]),
    child_processes=st.sampled_from([None, *ChildProcesses]),
    detection=detections,
    arguments=st.none() | st.lists(st.sampled_from(LINES), max_size=3).map(tuple),
)
includes = st.builds(
    Include,
    st.sampled_from(["all-devices", "new", "users"]),
    st.sampled_from(FILTERS),
    st.sampled_from(FilterMode),
)
assignments = st.builds(Assignments, st.lists(includes, max_size=2).map(tuple))
MEETING = {"L19", "L20", "L21", "L26", "L27"}
"""Checks of what policies do to each other, whose places are theirs."""
groups = {
    "new": Group("new", GroupType.DEVICE, filter='osVersion >= "12"'),
    "users": Group("users", GroupType.USER, ("a",)),
}


@st.composite
def rules_policies(draw: st.DrawFn) -> RulesPolicy:
    platform = draw(st.sampled_from(Platform))
    drawn = draw(st.lists(drawn_rules, max_size=4))
    good = [rule for rule in drawn if not list(check_rule("", rule, platform))]
    named = tuple(replace(rule, name=f"r{number}") for number, rule in enumerate(good))
    return RulesPolicy("", platform, named, draw(assignments))


settings_policies = st.builds(
    SettingsPolicy,
    name=st.just(""),
    enabled=st.booleans(),
    default_response=st.sampled_from(DefaultResponse),
    stale_after=st.none(),
    assignments=assignments,
)


@st.composite
def estates(draw: st.DrawFn) -> Estate:
    rules = draw(st.lists(rules_policies(), max_size=3))
    settings = draw(st.lists(settings_policies, max_size=2))
    estate = Estate(
        tuple(replace(policy, name=f"s{number}") for number, policy in enumerate(settings)),
        tuple(replace(policy, name=f"p{number}") for number, policy in enumerate(rules)),
        {"signer": ReusableCertificate("signer", certificate(draw(st.sampled_from(["vendor", "expired"]))))},
        groups,
    )
    assert not [problem for policy in estate.rules_policies for problem in check_rules_policy(policy)]
    assert not [problem for policy in estate.settings_policies for problem in check_settings_policy(policy)]
    return estate


def lint(estate: Estate) -> list[Finding]:
    return Linter().lint(estate, now=NOW)


@given(estates(), st.sampled_from(["", "L15", "D23"]))
def test_what_no_save_accepts_is_what_lint_finds_as_errors_in_each_policy(estate: Estate, accepted: str) -> None:
    ignores = (LintIgnore(accepted, "known"),) if accepted else ()
    estate = replace(
        estate,
        rules_policies=tuple(
            replace(policy, lint=ignores, rules=tuple(replace(rule, lint=ignores) for rule in policy.rules))
            for policy in estate.rules_policies
        ),
        settings_policies=tuple(replace(policy, lint=ignores) for policy in estate.settings_policies),
    )
    authored: tuple[SettingsPolicy | RulesPolicy | ReusableCertificate, ...] = (
        *estate.settings_policies,
        *estate.rules_policies,
        *estate.certificates.values(),
    )
    blocking = [finding for content in authored for finding in find_blocking(content, estate.groups)]
    errors = [found for found in lint(estate) if found.severity is Severity.ERROR and not found.ignored_because]
    assert sorted(blocking, key=repr) == sorted(errors, key=repr)


@given(estates())
def test_every_finding_is_one_of_the_catalogue_and_about_something_that_is_there(estate: Estate) -> None:
    policies = {policy.name: policy for policy in estate.rules_policies}
    for finding in lint(estate):
        known = CATALOGUE[finding.check]
        assert not known.ignorable or finding.check in (IN_RULES if finding.subject.rule else IN_SPECS)
        assert finding.severity in known.severities
        if finding.severity is Severity.INFO and known.why_in_part:
            assert (finding.why, finding.remedy) == (known.why_in_part, known.remedy_in_part)
        else:
            assert (finding.why, finding.remedy) == (known.why, known.remedy)
        assert finding.message
        if finding.subject.rule:
            number = re.match(r"rules\[(\d+)\]", finding.path)
            assert number is not None
            assert policies[finding.subject.name].rules[int(number[1])].name == finding.subject.rule
        assert finding.path


PLACES = re.compile(
    r"rules\[\d+\](\.(detection\.(fileName|filePath|certificate(\.(pem|type))?)|childProcesses|validations|elevationType"
    r"|arguments(\[\d+\])?))?|assignments(\.(in|ex)clude\[\d+\]\.(group|filter))?|pem|defaultResponse|staleAfter"
)


@given(estates())
def test_every_finding_names_a_place_that_a_document_has(estate: Estate) -> None:
    policies = {policy.name: policy for policy in estate.rules_policies}
    for finding in lint(estate):
        if finding.check in MEETING:
            continue
        assert PLACES.fullmatch(finding.path), finding.path
        entry = re.fullmatch(r"rules\[(\d+)\]\.arguments\[(\d+)\]", finding.path)
        if entry is not None:
            assert policies[finding.subject.name].rules[int(entry[1])].arguments[int(entry[2])] in LINES  # type: ignore[index]


any_rule = st.builds(
    Rule,
    name=st.text(max_size=5),
    elevation_type=st.sampled_from(ElevationType),
    child_processes=st.sampled_from([None, *ChildProcesses]),
    detection=st.builds(
        Detection,
        file_name=st.text(max_size=12),
        file_path=st.text(max_size=20) | st.text("C:\\/*?. Usertmp", max_size=20),
        file_hash=st.text(max_size=2),
        certificate=st.none() | st.just(CertificateCondition(None)),
        internal_name=st.text(max_size=5),
    ),
    arguments=st.none()
    | st.lists(st.text(max_size=30) | st.text("-/p:=\"' aassword@$%", max_size=30), max_size=3).map(tuple),
)


@given(st.lists(any_rule, max_size=3).map(tuple), st.sampled_from(Platform))
def test_nothing_that_a_rule_may_hold_makes_lint_fail(rules: tuple[Rule, ...], platform: Platform) -> None:
    findings = list(lint_rules(RulesPolicy("p", platform, rules)))
    assert all(finding.severity in CATALOGUE[finding.check].severities for finding in findings)


@given(estates(), st.randoms(use_true_random=False))
def test_the_order_of_policies_has_no_meaning(estate: Estate, random: Random) -> None:
    rules, settings = list(estate.rules_policies), list(estate.settings_policies)
    random.shuffle(rules)
    random.shuffle(settings)
    shuffled = replace(estate, rules_policies=tuple(rules), settings_policies=tuple(settings))
    assert lint(shuffled) == lint(estate)


@given(estates(), estates())
def test_a_linter_says_the_same_whatever_it_saw_before(before: Estate, estate: Estate) -> None:
    linter = Linter()
    linter.lint(before, now=NOW)
    assert linter.lint(estate, now=NOW) == lint(estate)
    assert linter.lint(estate, now=NOW) == lint(estate)


@given(estates(), st.data())
def test_setting_a_finding_aside_changes_nothing_but_that_it_is(estate: Estate, data: st.DataObject) -> None:
    findings = lint(estate)
    in_rules = [finding for finding in findings if finding.subject.rule]
    if not in_rules:
        return
    chosen = data.draw(st.sampled_from(in_rules))
    accepted = LintIgnore(chosen.check, "known")
    policies = tuple(
        replace(policy, rules=tuple(_accepting(rule, accepted, chosen, policy) for rule in policy.rules))
        for policy in estate.rules_policies
    )
    expected = [
        replace(finding, ignored_because="known")
        if (finding.check, finding.subject) == (chosen.check, chosen.subject)
        else finding
        for finding in findings
    ]
    assert lint(replace(estate, rules_policies=policies)) == expected


def _accepting(rule: Rule, accepted: LintIgnore, chosen: Finding, policy: RulesPolicy) -> Rule:
    is_chosen = (policy.name, rule.name) == (chosen.subject.name, chosen.subject.rule)
    return replace(rule, lint=(accepted,)) if is_chosen else rule
