"""Rules for those who have elevation switched off (L26), and settings policies that disagree (L27)."""

from typing import Any

import pytest

from elevation.lint.findings import Finding
from tests.builders.linting import Mapped, lint

GROUPS: tuple[Mapped, ...] = (
    {"kind": "Group", "metadata": {"name": "laptops"}, "spec": {"type": "DEVICE", "members": ["l1"]}},
    {"kind": "Group", "metadata": {"name": "kiosks"}, "spec": {"type": "DEVICE", "members": ["k1"]}},
    {"kind": "Group", "metadata": {"name": "both"}, "spec": {"type": "DEVICE", "members": ["l1", "k1"]}},
    {"kind": "Group", "metadata": {"name": "fleet"}, "spec": {"type": "DEVICE", "groups": ["laptops"]}},
    {"kind": "Group", "metadata": {"name": "planned"}, "spec": {"type": "DEVICE", "members": []}},
    {"kind": "Group", "metadata": {"name": "tagged"}, "spec": {"type": "DEVICE", "filter": "tag = x"}},
    {"kind": "Group", "metadata": {"name": "developers"}, "spec": {"type": "USER", "members": ["alice"]}},
)


def assigned(kind: str, name: str, spec: Mapped, *include: Mapped, exclude: tuple[str, ...] = ()) -> Mapped:
    assignments = {"include": list(include), "exclude": [{"group": group} for group in exclude]}
    return {"kind": kind, "metadata": {"name": name}, "spec": {**spec, "assignments": assignments}}


def to(group: str, filter: str = "") -> Mapped:  # noqa: A002
    return {"group": group, "filter": filter} if filter else {"group": group}


def rules(*include: Mapped, platform: str = "WINDOWS") -> Mapped:
    return assigned("ElevationRulesPolicy", "rules", {"platform": platform, "rules": []}, *include)


def settings(name: str, *include: Mapped, exclude: tuple[str, ...] = (), **spec: Any) -> Mapped:
    return assigned("ElevationSettingsPolicy", name, spec, *include, exclude=exclude)


def found_in(check: str, *documents: Mapped) -> list[Finding]:
    return [finding for finding in lint(*GROUPS, *documents) if finding.check == check]


UNCOVERED = [
    (rules(to("laptops")), []),
    (rules(to("laptops")), [settings("off", to("all-devices"), enabled=False)]),
    (rules(to("laptops")), [settings("on", to("kiosks"))]),
    (rules(to("laptops")), [settings("on", to("planned"))]),
    (rules(to("laptops")), [settings("on")]),
    (rules(to("laptops")), [settings("on", to("all-devices"), exclude=("fleet",))]),
    (rules(to("all-devices")), [settings("on", to("all-devices", "os = linux"))]),
    (rules(to("all-devices", "tag = a")), [settings("on", to("all-devices", "tag != a"))]),
]
COVERED = [
    (rules(to("laptops")), [settings("on", to("all-devices"))]),
    (rules(to("laptops")), [settings("on", to("fleet"))]),
    (rules(to("fleet")), [settings("on", to("laptops"))]),
    (rules(to("laptops")), [settings("on", to("tagged"))]),
    (rules(to("developers")), [settings("on", to("laptops"))]),
    (rules(to("laptops")), [settings("off", to("all-devices"), enabled=False), settings("on", to("laptops"))]),
    (rules(to("all-devices"), platform="LINUX"), [settings("on", to("all-devices", "os = linux"))]),
    (rules(to("planned")), [settings("on", to("kiosks"))]),
    (rules(), []),
]


@pytest.mark.parametrize(("policy", "others"), UNCOVERED)
def test_rules_for_those_who_have_elevation_switched_off_are_found(policy: Mapped, others: list[Mapped]) -> None:
    (finding,) = found_in("L26", policy, *others)

    assert (finding.subject.name, finding.path, finding.severity.name) == (
        "rules",
        "assignments.include[0]",
        "WARNING",
    )


IN_PART = [
    (rules(to("all-devices")), [settings("on", to("laptops"))]),
    (rules(to("all-devices")), [settings("on", to("tagged"))]),
    (rules(to("all-devices")), [settings("on", to("all-devices", "tag = a"))]),
    (rules(to("all-devices")), [settings("on", to("all-devices"), exclude=("kiosks",))]),
    (rules(to("all-users")), [settings("on", to("developers"))]),
    (rules(to("both")), [settings("on", to("laptops"))]),
    (rules(to("laptops"), to("both")), [settings("on", to("laptops")), settings("off", to("kiosks"), enabled=False)]),
    (rules(to("both"), to("all-devices")), [settings("on", to("laptops"))]),
]
WHOLE = [
    (rules(to("all-devices")), [settings("on", to("all-devices"), exclude=("kiosks",)), settings("k", to("kiosks"))]),
    (
        rules(to("all-devices")),
        [settings("a", to("all-devices", "tag = a")), settings("b", to("all-devices", "tag != a"))],
    ),
    (rules(to("all-devices"), platform="LINUX"), [settings("on", to("all-devices", "os = linux"))]),
    (rules(to("all-devices")), [settings("a", to("laptops")), settings("b", to("all-users"))]),
    (rules(to("both")), [settings("a", to("laptops")), settings("b", to("kiosks"))]),
    (rules(to("both")), [settings("a", to("laptops")), settings("b", to("tagged"))]),
]


@pytest.mark.parametrize(("policy", "others"), IN_PART)
def test_rules_that_settings_reach_in_part_are_worth_one_remark(policy: Mapped, others: list[Mapped]) -> None:
    (finding,) = found_in("L26", policy, *others)

    assert (finding.subject.name, finding.severity.name) == ("rules", "INFO")
    assert "perhaps not all of it" in finding.message
    assert finding.remedy.startswith("Leave it as it is")


@pytest.mark.parametrize(("policy", "others"), WHOLE)
def test_rules_that_settings_reach_together_are_not_found(policy: Mapped, others: list[Mapped]) -> None:
    assert found_in("L26", policy, *others) == []


def test_members_without_settings_are_counted() -> None:
    (finding,) = found_in("L26", rules(to("laptops"), to("both")), settings("on", to("laptops")))

    assert finding.path == "assignments.include[1]"
    assert "1 of its 2 members are in none of their groups" in finding.message


@pytest.mark.parametrize(("policy", "others"), COVERED)
def test_rules_for_those_who_may_have_it_switched_on_are_not_found(policy: Mapped, others: list[Mapped]) -> None:
    assert found_in("L26", policy, *others) == []


def test_only_the_groups_without_settings_are_named_with_the_policies_that_switch_off() -> None:
    (finding,) = found_in(
        "L26",
        rules(to("laptops"), to("kiosks")),
        settings("on", to("laptops")),
        settings("off", to("kiosks"), enabled=False),
    )

    assert finding.path == "assignments.include[1]"
    assert '"kiosks"' in finding.message
    assert '"laptops"' not in finding.message
    assert [one.name for one in finding.related] == ["off"]


@pytest.mark.parametrize(
    ("setting", "ours", "theirs", "message"),
    [
        ("enabled", {"enabled": True}, {"enabled": False}, "true here and false in a policy"),
        ("defaultResponse", {"defaultResponse": "DENY"}, {"defaultResponse": "SUPPORT_APPROVED"}, "there DENY counts"),
        ("sendReportingData", {"sendReportingData": False}, {}, "there true counts"),
        ("reportingScope", {"reportingScope": "DIAGNOSTIC"}, {"reportingScope": "MANAGED"}, "there ALL counts"),
        ("staleAfter", {"staleAfter": "P7D"}, {"staleAfter": None}, "P7D here and null in a policy"),
        (
            "validations",
            {"defaultResponse": "USER_CONFIRMED", "validations": ["AUTHENTICATION"]},
            {"defaultResponse": "USER_CONFIRMED", "validations": ["BUSINESS_JUSTIFICATION"]},
            "all of them count: AUTHENTICATION, BUSINESS_JUSTIFICATION",
        ),
    ],
)
def test_settings_that_differ_where_policies_meet_are_found(
    setting: str, ours: Mapped, theirs: Mapped, message: str
) -> None:
    (finding,) = found_in("L27", settings("a", to("laptops"), **ours), settings("b", to("developers"), **theirs))

    assert (finding.subject.name, finding.path, finding.severity.name) == ("a", setting, "WARNING")
    assert [one.name for one in finding.related] == ["b"]
    assert message in finding.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (settings("a", to("laptops"), staleAfter="P7D"), settings("b", to("laptops"), staleAfter="P7D")),
        (settings("a", to("laptops"), staleAfter="P7D"), settings("b", to("all-devices"), exclude=("laptops",))),
        (settings("a", to("all-devices", "os = linux"), staleAfter="P7D"), settings("b", to("all-users", "os = mac"))),
        (settings("a", to("laptops"), defaultResponse="DENY"), settings("b", to("laptops"))),
        (settings("a", to("laptops"), staleAfter="P7D"), settings("b", staleAfter="P9D")),
        (settings("a", to("laptops"), staleAfter="P7D"), settings("b", to("kiosks"), staleAfter="P9D")),
        (
            settings("a", to("laptops"), enabled=False, staleAfter="P7D"),
            settings("b", to("laptops"), enabled=False, staleAfter="P9D"),
        ),
    ],
)
def test_settings_that_agree_or_never_meet_are_not_found(one: Mapped, other: Mapped) -> None:
    assert found_in("L27", one, other) == []


def test_a_policy_that_disagrees_with_many_has_one_finding_for_each_setting() -> None:
    others = [settings(f"b{number}", to("all-devices"), staleAfter=f"P{number + 8}D") for number in range(7)]

    findings = found_in("L27", settings("a", to("all-devices"), staleAfter="P7D"), *others)

    (ours,) = [finding for finding in findings if finding.subject.name == "a"]
    assert [one.name for one in ours.related] == ["b0", "b1", "b2", "b3", "b4"]
    assert "7 policies that" in ours.message
    assert "P7D counts" in ours.message
