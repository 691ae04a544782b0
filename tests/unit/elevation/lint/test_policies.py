"""What lint finds in settings policies, and in the assignments of both kinds."""

from typing import Any

import pytest

from elevation.lint.findings import Estate, Finding, Severity, Subject
from elevation.lint.linter import Linter
from elevation.model import Assignments, DefaultResponse, Exclude, Group, GroupType, Include, Platform, SettingsPolicy
from tests.builders.elevation import NOW
from tests.builders.linting import Mapped, lint, rules_document, seen, settings_document

RULE = {"name": "r", "validations": ["AUTHENTICATION"], "detection": {"fileName": "a.exe", "fileHash": "a" * 64}}
DENYING = {"name": "d", "elevationType": "DENY", "detection": {"fileName": "a.exe", "fileHash": "a" * 64}}
PERMISSIVE = {"defaultResponse": "SUPPORT_APPROVED"}


def group(name: str, **spec: Any) -> Mapped:
    return {"kind": "Group", "metadata": {"name": name}, "spec": {"type": "DEVICE", **spec}}


def included(name: str = "all-devices", **narrowing: str) -> Mapped:
    return {"assignments": {"include": [{"group": name, **narrowing}]}}


def of_check(findings: list[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def test_a_default_response_that_asks_nothing_is_high() -> None:
    assert seen(lint(settings_document(defaultResponse="USER_CONFIRMED"))) == [("L18", "HIGH", "defaultResponse")]


@pytest.mark.parametrize(
    "spec",
    [
        {"defaultResponse": "USER_CONFIRMED", "validations": ["AUTHENTICATION"]},
        {"defaultResponse": "USER_CONFIRMED", "enabled": False},
        {"defaultResponse": "SUPPORT_APPROVED"},
        {},
    ],
)
def test_a_default_response_that_asks_or_does_not_count_is_not_found(spec: Mapped) -> None:
    assert lint(settings_document(**spec)) == []


def test_a_policy_that_never_gets_stale_is_a_warning() -> None:
    assert seen(lint(settings_document(staleAfter=None))) == [("D22", "WARNING", "staleAfter")]


@pytest.mark.parametrize("spec", [{"staleAfter": "P365D"}, {"staleAfter": None, "enabled": False}])
def test_a_policy_that_gets_stale_or_does_nothing_is_not_found(spec: Mapped) -> None:
    assert lint(settings_document(**spec)) == []


@pytest.mark.parametrize(
    "narrowing",
    [
        {"filter": 'osVersion >= "12"'},
        {"filter": 'os_version >= "12"'},
        {"filter": "architecture = arm64 AND tag = lab"},
        {"filter": "NOT os = linux"},
        {"filter": "os != linux"},
        {"filter": "os = linux OR tag = lab"},
        {"filter": "os = linux", "filterMode": "EXCLUDE"},
        {"filter": "os > linux"},
    ],
)
@pytest.mark.parametrize("document", [settings_document(**PERMISSIVE), rules_document(Platform.WINDOWS, RULE)])
def test_reported_fields_may_not_decide_who_is_allowed(document: Mapped, narrowing: dict[str, str]) -> None:
    assigned = {**document, "spec": {**document["spec"], **included(**narrowing)}}
    found = of_check(lint(assigned), "D23")
    assert seen(found) == [("D23", "ERROR", "assignments.include[0].filter")]


@pytest.mark.parametrize(
    "narrowing",
    [
        {"filter": 'os = "linux"', "filterMode": "INCLUDE"},
        {"filter": "os : linux AND tag = lab"},
        {"filter": "(os = linux) AND (tag = a OR NOT tag = b)"},
        {"filter": "NOT tag = lab OR ownership = corporate", "filterMode": "EXCLUDE"},
        {"filter": 'name : "ws-"'},
        {},
    ],
)
@pytest.mark.parametrize("document", [settings_document(**PERMISSIVE), rules_document(Platform.WINDOWS, RULE)])
def test_a_plain_system_and_attested_fields_may_narrow(document: Mapped, narrowing: dict[str, str]) -> None:
    assigned = {**document, "spec": {**document["spec"], **included(**narrowing)}}
    assert of_check(lint(assigned), "D23") == []


@pytest.mark.parametrize(
    "document",
    [
        settings_document(enabled=True, defaultResponse="DENY"),
        settings_document(),
        settings_document(enabled=False, **PERMISSIVE),
        rules_document(Platform.WINDOWS, DENYING),
    ],
)
def test_a_policy_that_allows_nothing_may_follow_reported_fields(document: Mapped) -> None:
    assigned = {**document, "spec": {**document["spec"], **included(filter='osVersion >= "12"')}}
    assert of_check(lint(assigned), "D23") == []


def test_a_dynamic_group_counts_as_the_filter_that_it_has() -> None:
    by_version = group("new", filter='osVersion >= "12"')
    by_system = group("linux", filter="os = linux AND tag = a")
    nesting = group("all", groups=["new", "linux"])
    for name, expected in (("new", 1), ("linux", 0), ("all", 1), ("unknown", 0)):
        documents = [settings_document(**PERMISSIVE, **included(name)), by_version, by_system, nesting]
        found = of_check(lint(*documents), "D23")
        assert [finding.path for finding in found] == ["assignments.include[0].group"] * expected, name
        assert all('"new"' in finding.message for finding in found)


def test_a_device_may_not_leave_an_excluded_group_by_what_it_reports() -> None:
    excluding = {"assignments": {"include": [{"group": "all-devices"}], "exclude": [{"group": "g"}]}}
    reported, attested = group("g", filter="os = windows"), group("g", filter="tag = kiosk")
    assert seen(of_check(lint(settings_document(**PERMISSIVE, **excluding), reported), "D23")) == [
        ("D23", "ERROR", "assignments.exclude[0].group")
    ]
    assert of_check(lint(settings_document(**PERMISSIVE, **excluding), attested), "D23") == []


def test_a_permissive_assignment_is_accepted_with_a_reason() -> None:
    spec = {**PERMISSIVE, **included(filter='osVersion >= "12"'), "lint": [{"ignore": "D23", "reason": "a lab"}]}
    [finding] = of_check(lint(settings_document(**spec)), "D23")
    assert (finding.severity, finding.ignored_because) == (Severity.ERROR, "a lab")


def test_the_filter_of_an_unchecked_policy_that_means_nothing_is_left_to_the_checks() -> None:
    assignments = Assignments((Include("all-devices", "osVersion = = 1"),))
    policy = SettingsPolicy("s", default_response=DefaultResponse.SUPPORT_APPROVED, assignments=assignments)
    assert Linter().lint(Estate(settings_policies=(policy,)), now=NOW) == []


def test_the_subject_is_the_policy_itself() -> None:
    [finding] = lint(settings_document(staleAfter=None))
    assert finding.subject == Subject("ElevationSettingsPolicy", "s")


def test_a_group_that_there_is_not_is_found_where_all_groups_are_known() -> None:
    named = Assignments((Include("all-devices"), Include("all-users"), Include("kiosks")), (Exclude("gone"),))
    policy = SettingsPolicy("s", assignments=named)
    kiosks = Group("kiosks", GroupType.DEVICE)
    estate = Estate(settings_policies=(policy,), groups={"kiosks": kiosks}, groups_known=True)
    assert seen(Linter().lint(estate, now=NOW)) == [("L31", "HIGH", "assignments.exclude[0].group")]
    assert of_check(Linter().lint(Estate(settings_policies=(policy,)), now=NOW), "L31") == []
