"""The door of lint: what it gives, in which order, what it keeps, and what authors accept."""

from dataclasses import replace
from datetime import timedelta

import pytest

from elevation.lint.catalogue import CATALOGUE
from elevation.lint.findings import Estate, Severity, Subject
from elevation.lint.linter import Linter
from elevation.model import (
    Assignments,
    CertificateCondition,
    CertificateType,
    ElevationType,
    LintIgnore,
    Platform,
    ReusableCertificate,
    Rule,
    RulesPolicy,
)
from tests.builders.effort import effort_of
from tests.builders.elevation import HASH, NOW, certificate, policy, rule
from tests.builders.linted import tools

BY_NAME = CertificateCondition(CertificateType.PUBLISHER, reusable="signer")
NAMED = rule("r", certificate=BY_NAME, file_hash=HASH, file_path="C:\\Windows")
DENYING = replace(NAMED, name="d", elevation_type=ElevationType.DENY)


def estate(*policies: RulesPolicy, signer: str = "vendor", lint: tuple[LintIgnore, ...] = ()) -> Estate:
    reusable = ReusableCertificate("signer", certificate(signer), lint=lint)
    return Estate(rules_policies=policies, certificates={"signer": reusable})


def ignoring(check: str) -> tuple[LintIgnore, ...]:
    return (LintIgnore(check, "known"),)


def test_a_reusable_certificate_is_found_once_with_the_rules_that_name_it() -> None:
    [finding] = Linter().lint(estate(policy(NAMED, replace(NAMED, name="s")), signer="expired"), now=NOW)
    assert (finding.check, finding.severity, finding.path) == ("L6", Severity.WARNING, "pem")
    assert finding.subject == Subject("ReusableCertificate", "signer")
    assert finding.related == tuple(Subject("ElevationRulesPolicy", "policy", name) for name in ("r", "s"))
    assert "expired on 2025-01-01 00:00 UTC" in finding.message


def test_a_reusable_certificate_that_a_denial_needs_is_worse() -> None:
    [finding] = Linter().lint(estate(policy(NAMED, DENYING), signer="expired"), now=NOW)
    assert finding.severity is Severity.HIGH
    assert "denied no more" in finding.message


def test_a_certificate_that_nobody_names_is_found_too() -> None:
    [finding] = Linter().lint(estate(signer="future"), now=NOW)
    assert (finding.check, finding.related) == ("L6", ())
    assert "is not valid before 2027-06-01 00:00 UTC" in finding.message


@pytest.mark.parametrize(
    ("before_its_end", "said"),
    [
        (timedelta(days=30, seconds=1), None),
        (timedelta(days=30), "within 30 days"),
        (timedelta(0), "within 30 days"),
        (-timedelta(seconds=1), "expired on"),
    ],
)
def test_a_certificate_is_told_of_thirty_days_before_its_end(before_its_end: timedelta, said: str | None) -> None:
    findings = Linter().lint(estate(policy(DENYING)), now=certificate("vendor").not_after - before_its_end)
    assert [said in finding.message for finding in findings if said] == ([True] if said else [])
    assert len(findings) == (said is not None)


def test_one_linter_sees_a_certificate_expire() -> None:
    linter, looked_at = Linter(), estate(policy(NAMED))
    assert linter.lint(looked_at, now=NOW) == []
    assert [finding.check for finding in linter.lint(looked_at, now=NOW + timedelta(days=365))] == ["L6"]


def test_one_linter_sees_a_policy_change_and_go() -> None:
    linter = Linter()
    good = policy(rule("r", file_hash=HASH, file_path="C:\\Windows"))
    bad = policy(rule("r", file_hash=HASH))
    seen = [
        [finding.check for finding in linter.lint(Estate(rules_policies=policies), now=NOW)]
        for policies in ((good,), (bad,), (bad,), (), (good,), (bad,))
    ]
    assert seen == [[], ["L7"], ["L7"], [], [], ["L7"]]


CROWD = tuple(
    tools(
        f"p{number}",
        *(rule(f"{kind.value}-{number}", kind, file_name=f"{number % 5}*.exe") for kind in ElevationType),
        to=("all-devices",),
    )
    for number in range(20)
)
FIRST = CROWD[3].rules[0]
CHANGES = {
    "what it says": replace(CROWD[3], description="says something else"),
    "what it accepts": replace(CROWD[3], lint=ignoring("L19")),
    "who gets it": replace(CROWD[3], assignments=tools("p", to=("laptops",)).assignments),
    "nobody gets it": replace(CROWD[3], assignments=Assignments()),
    "platform": replace(CROWD[3], platform=Platform.LINUX),
    "what a rule says": replace(CROWD[3], rules=(replace(FIRST, description="else"), *CROWD[3].rules[1:])),
    "type": replace(CROWD[3], rules=(replace(FIRST, elevation_type=ElevationType.DENY), *CROWD[3].rules[1:])),
    "name": replace(CROWD[3], rules=(replace(FIRST, name="else"), *CROWD[3].rules[1:])),
    "file": replace(
        CROWD[3],
        rules=(replace(FIRST, detection=replace(FIRST.detection, file_name="else.exe")), *CROWD[3].rules[1:]),
    ),
    "order": replace(CROWD[3], rules=CROWD[3].rules[::-1]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_after_a_change_of_one_policy_a_linter_says_what_a_new_one_says(what: str) -> None:
    before, changed = Estate(rules_policies=CROWD), (*CROWD[:3], CHANGES[what], *CROWD[4:])
    linter = Linter()
    assert linter.lint(before, now=NOW)
    for estate_now in (Estate(rules_policies=changed), before):
        assert linter.lint(estate_now, now=NOW) == Linter().lint(estate_now, now=NOW)


def test_what_changes_no_rule_has_no_rule_prepared_anew() -> None:
    linter, about = Linter(), [Subject("ReusableCertificate", "nobody")]

    def effort(policies: tuple[RulesPolicy, ...]) -> int:
        return effort_of(lambda: linter.lint(Estate(rules_policies=policies), now=NOW, about=about))

    anew = effort(CROWD)
    nothing = effort(CROWD)
    said, ruled = (effort((*CROWD[:3], CHANGES[what], *CROWD[4:])) for what in ("what it says", "what a rule says"))
    assert said - nothing < (ruled - nothing) / 2
    assert ruled < anew / 2


def test_the_worst_comes_first_and_then_the_order_of_the_documents() -> None:
    rules = [rule(f"r{number}", file_hash=HASH, file_path="C:\\Users") for number in range(11)]
    rules[1] = rule("r1", file_hash=HASH)
    findings = Linter().lint(Estate(rules_policies=(policy(*rules),)), now=NOW)
    assert [finding.path for finding in findings] == [
        *(f"rules[{number}].detection.filePath" for number in (0, *range(2, 11))),
        "rules[1].detection.filePath",
    ]


def test_findings_can_be_asked_for_about_some_objects() -> None:
    looked_at = estate(policy(NAMED), policy(rule("x", file_hash=HASH), name="other"), signer="expired")
    about = {
        name: [finding.check for finding in Linter().lint(looked_at, now=NOW, about=[Subject(kind, name)])]
        for kind, name in (
            ("ElevationRulesPolicy", "policy"),
            ("ElevationRulesPolicy", "other"),
            ("ReusableCertificate", "signer"),
            ("ReusableCertificate", "nobody"),
        )
    }
    assert about == {"policy": ["L6"], "other": ["L7"], "signer": ["L6"], "nobody": []}


def test_a_certificate_has_part_in_what_is_found_between_the_rules_that_name_it() -> None:
    vendors = CertificateCondition(CertificateType.PUBLISHER, certificate=certificate("vendor"))
    all_of_them, weak = ("all-devices",), rule("weak", file_path="")
    policies = (
        tools("naming", rule("confirmed", certificate=BY_NAME), weak, to=all_of_them),
        tools("other", rule("automatic", ElevationType.AUTOMATIC, certificate=vendors), to=all_of_them),
        tools("beside", *(rule(kind.value, kind, file_name="b.exe") for kind in ElevationType), to=all_of_them),
    )
    about, linter = [Subject("ReusableCertificate", "signer")], Linter()
    assert linter.lint(estate(*policies, signer="other"), now=NOW, about=about) == []
    renewed = estate(*policies, signer="vendor")
    found = linter.lint(renewed, now=NOW, about=about)
    assert found == Linter().lint(renewed, now=NOW, about=about)
    assert {finding.check for finding in found} == {"L19", "L20"}
    parts = {(each.name, each.rule) for finding in found for each in (finding.subject, *finding.related)}
    assert parts == {("naming", "confirmed"), ("other", "automatic")}


def test_a_rule_sets_a_check_aside_for_itself_alone() -> None:
    accepted = replace(rule("a", file_hash=HASH), lint=ignoring("L7"))
    findings = Linter().lint(Estate(rules_policies=(policy(accepted, rule("b", file_hash=HASH)),)), now=NOW)
    assert {finding.subject.rule: finding.ignored_because for finding in findings} == {"a": "known", "b": ""}


def test_a_policy_sets_nothing_of_its_rules_aside() -> None:
    whole = replace(policy(rule("a", file_hash=HASH)), lint=ignoring("L7"))
    [finding] = Linter().lint(Estate(rules_policies=(whole,)), now=NOW)
    assert finding.ignored_because == ""


def test_a_certificate_sets_its_own_end_aside() -> None:
    [finding] = Linter().lint(estate(signer="expired", lint=ignoring("L6")), now=NOW)
    assert finding.ignored_because == "known"


def test_of_two_reasons_for_one_check_the_first_counts() -> None:
    twice = replace(rule("a", file_hash=HASH), lint=(LintIgnore("L7", "first"), LintIgnore("L7", "second")))
    [finding] = Linter().lint(Estate(rules_policies=(policy(twice),)), now=NOW)
    assert finding.ignored_because == "first"


def test_what_looks_like_a_password_can_be_accepted_and_is_never_repeated() -> None:
    def lint(one: Rule) -> tuple[str, str]:
        [finding] = Linter().lint(Estate(rules_policies=(policy(one),)), now=NOW)
        assert finding.check == "L15"
        return finding.ignored_because, finding.message

    secret = rule("a", file_hash=HASH, file_path="C:\\Windows", arguments=("/password:hunter2",))
    assert lint(secret)[0] == ""
    assert "hunter2" not in lint(secret)[1]
    assert lint(replace(secret, lint=ignoring("L15")))[0] == "known"


def test_every_error_that_no_guess_makes_is_never_set_aside() -> None:
    errors = {check.id for check in CATALOGUE.values() if check.severities == (Severity.ERROR,)}
    assert {check for check in errors if CATALOGUE[check].ignorable} == {"L15", "D23"}
