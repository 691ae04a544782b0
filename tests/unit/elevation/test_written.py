"""What is refused where it is written, and goes on where it stands already."""

from dataclasses import replace

import pytest

from elevation.lint.accepting import IN_RULES, IN_SPECS
from elevation.lint.catalogue import CATALOGUE
from elevation.model import Detection, LintIgnore, Platform, Rule, RulesPolicy
from elevation.written import check_written

LATIN, CYRILLIC = "COP", "\u0421\u041e\u0420"


def named(*names: str) -> RulesPolicy:
    return RulesPolicy(
        "p", Platform.WINDOWS, tuple(Rule(name, detection=Detection(file_name="a.exe")) for name in names)
    )


def ignoring(*checks: str, in_rule: bool = False) -> RulesPolicy:
    lint = tuple(LintIgnore(check, "agreed") for check in checks)
    policy = named("r")
    return replace(policy, rules=(replace(policy.rules[0], lint=lint),)) if in_rule else replace(policy, lint=lint)


def told(policy: RulesPolicy, before: RulesPolicy | None = None) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in check_written(policy, named=before is None, before=before)]


@pytest.mark.parametrize(
    ("first", "second"), [(LATIN, CYRILLIC), (CYRILLIC, LATIN), ("cop", CYRILLIC), ("a-b", "a\u2013b"), ("a b", "a  b")]
)
def test_the_second_of_two_rules_that_look_the_same_is_refused_and_the_first_named(first: str, second: str) -> None:
    message = f'looks the same as "{first}", the name of rules[0]; choose a name that does not'
    assert told(named(first, "other", second)) == [("rules[2].name", message)]


def test_two_rules_of_one_name_are_told_of_by_the_checks_alone() -> None:
    assert told(named("cop", "COP")) == []


def test_rules_that_look_the_same_and_are_there_may_stay_and_no_third_may_come() -> None:
    there = named(LATIN, CYRILLIC)
    assert told(named(CYRILLIC, LATIN, "new"), there) == []
    assert told(named(LATIN, CYRILLIC), named("new")) != []
    message = f'looks the same as "{LATIN}", the name of rules[1]; choose a name that does not'
    assert told(named(CYRILLIC, LATIN), named(LATIN)) == [("rules[0].name", message)]


def test_every_check_that_may_be_set_aside_belongs_somewhere() -> None:
    assert {*IN_RULES, *IN_SPECS} == {check.id for check in CATALOGUE.values() if check.ignorable}
    assert {*IN_RULES} & {*IN_SPECS} == {"L6", "L28"}


@pytest.mark.parametrize("in_rule", [True, False])
def test_all_checks_that_belong_there_may_be_set_aside_at_once(in_rule: bool) -> None:  # noqa: FBT001
    assert told(ignoring(*(IN_RULES if in_rule else IN_SPECS), in_rule=in_rule)) == []


@pytest.mark.parametrize(
    ("check", "in_rule", "message"),
    [
        ("L99", True, "L99 is no check; a rule sets aside L4, L5, L6, L7, "),
        ("L99", False, "L99 is no check; a policy or a certificate sets aside L6, L18, "),
        ("L1", True, "L1 is an error that nobody can set aside; mend what it finds. A rule sets aside L4, "),
        ("L18", True, "L18 is set aside in the spec of its policy or certificate; a rule sets aside L4, "),
        ("L7", False, "L7 is set aside in the rule that it is about; a policy or a certificate sets aside L6, "),
    ],
)
def test_a_check_that_cannot_be_set_aside_there_is_refused_with_the_choices(
    check: str,
    in_rule: bool,  # noqa: FBT001
    message: str,
) -> None:
    [(path, found)] = told(ignoring(check, in_rule=in_rule))
    assert path == ("rules[0].lint[0].ignore" if in_rule else "lint[0].ignore")
    assert found.startswith(message)
    assert found.isprintable()


def test_a_check_is_set_aside_once() -> None:
    message = "L7 is set aside already; remove the repetition"
    assert told(ignoring("L7", "L8", "L7", in_rule=True)) == [("rules[0].lint[2].ignore", message)]


@pytest.mark.parametrize("in_rule", [True, False])
def test_what_was_set_aside_before_may_stay(in_rule: bool) -> None:  # noqa: FBT001
    before = ignoring("L99", "L1", "L1", in_rule=in_rule)
    assert told(before, before) == []
    assert [path for path, _ in told(ignoring("L99", "L99", "L98", in_rule=in_rule), before)] == [
        f"{'rules[0].' if in_rule else ''}lint[{number}].ignore" for number in (1, 2)
    ]
