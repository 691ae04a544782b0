"""L28: rules that nobody uses, and files that are approved again and again."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from elevation.lint.findings import ApprovedFile, Estate, Finding, Severity, Subject, Usage
from elevation.lint.linter import Linter
from elevation.lint.usage import MANY_APPROVALS, MOST_APPROVED, UNUSED_AFTER
from elevation.model import Platform
from tests.builders.elevation import NOW
from tests.builders.linting import estate_of, rules_document, settings_document

LONG_AGO = NOW - UNUSED_AFTER
DAY = timedelta(days=1)
HASH = "ab" * 32
EVERYBODY = {"assignments": {"include": [{"group": "all-devices"}]}}
SETTINGS = {**EVERYBODY, "defaultResponse": "DENY"}
ASKING = {**EVERYBODY, "defaultResponse": "SUPPORT_APPROVED"}


def rule(name: str, **values: Any) -> Mapping[str, Any]:
    detection = {"fileName": f"{name}.exe", "filePath": "C:\\Program Files\\Tool", "fileHash": "c" * 64}
    return {"name": name, "validations": ["AUTHENTICATION"], "detection": detection, **values}


def estate(
    *rules: Mapping[str, Any],
    usage: Usage | None,
    written: datetime | None = LONG_AGO,
    settings: Mapping[str, Any] = SETTINGS,
    spec: Mapping[str, Any] = EVERYBODY,
) -> Estate:
    documents = [rules_document(Platform.WINDOWS, *rules, **spec), settings_document(**settings)]
    return replace(estate_of(*documents), usage=usage, written={} if written is None else {"p": written})


def found(looked_at: Estate) -> list[Finding]:
    return [finding for finding in Linter().lint(looked_at, now=NOW) if finding.check == "L28"]


def unused(looked_at: Estate) -> list[str]:
    """Return the rules of which lint finds that nobody uses them."""
    return [finding.subject.rule for finding in found(looked_at)]


def usage(**values: Any) -> Usage:
    return Usage(**{"counted_from": LONG_AGO, **values})


def test_a_rule_that_decided_nothing_is_found_and_one_that_did_is_not() -> None:
    looked_at = estate(rule("used"), rule("idle"), usage=usage(last_used={("p", "used"): NOW - 89 * DAY}))
    (finding,) = found(looked_at)
    assert finding.subject == Subject("ElevationRulesPolicy", "p", "idle")
    assert (finding.severity, finding.path) == (Severity.INFO, "rules[1]")
    assert finding.message == "no attempt was decided by this rule for 90 days"


def test_a_rule_of_the_same_name_in_another_policy_uses_none_of_it() -> None:
    assert unused(estate(rule("a"), usage=usage(last_used={("other", "a"): NOW}))) == ["a"]


def test_a_rule_that_was_used_before_that_alone_is_found() -> None:
    assert unused(estate(rule("a"), usage=usage(last_used={("p", "a"): LONG_AGO - DAY}))) == ["a"]
    assert unused(estate(rule("a"), usage=usage(last_used={("p", "a"): LONG_AGO}))) == []


@pytest.mark.parametrize(
    "values",
    [
        {"usage": None},
        {"usage": usage(counted_from=LONG_AGO + DAY)},
        {"usage": usage(more_rules=True)},
        {"usage": usage(), "written": LONG_AGO + DAY},
        {"usage": usage(), "written": None},
        {"usage": usage(), "spec": {}},
        {"usage": usage(), "settings": {**SETTINGS, "reportingScope": "DIAGNOSTIC"}},
        {"usage": usage(), "settings": {**SETTINGS, "sendReportingData": False}},
    ],
    ids=[
        "nothing known",
        "counts too young",
        "counts cut",
        "changed",
        "new",
        "for nobody",
        "diagnostics",
        "no reports",
    ],
)
def test_nothing_follows_where_it_is_not_known_for_all_of_the_time(values: dict[str, Any]) -> None:
    assert unused(estate(rule("a"), **values)) == []
    assert unused(estate(rule("a"), usage=usage())) == ["a"]


@pytest.mark.parametrize(
    "settings",
    [
        {**SETTINGS, "reportingScope": "MANAGED"},
        {**SETTINGS, "reportingScope": "DIAGNOSTIC", "assignments": {}},
        {**SETTINGS, "sendReportingData": False, "enabled": False},
    ],
)
def test_settings_that_hold_no_managed_elevation_back_are_no_reason_to_be_silent(settings: dict[str, Any]) -> None:
    assert unused(estate(rule("a"), usage=usage(), settings=settings)) == ["a"]


def test_an_author_keeps_a_rule_that_nobody_uses_with_a_reason() -> None:
    kept = rule("a", lint=[{"ignore": "L28", "reason": "for the yearly audit"}])
    (finding,) = found(estate(kept, usage=usage()))
    assert finding.ignored_because == "for the yearly audit"


def approved(number: int = 0, approvals: int = MANY_APPROVALS, *, sha256: str = HASH, users: int = 2) -> ApprovedFile:
    digest = sha256 if number == 0 else f"{number:064x}"
    return ApprovedFile(sha256=digest, file_name="setup.exe", approvals=approvals, users=users)


def recent(*files: ApprovedFile) -> Usage:
    return Usage(counted_from=NOW - DAY, approved=files)


def test_a_file_that_is_approved_again_and_again_is_found_where_files_need_an_approval() -> None:
    (finding,) = found(estate(rule("a"), usage=recent(approved()), settings=ASKING))
    assert finding.subject == Subject("ElevationSettingsPolicy", "s")
    assert (finding.severity, finding.path) == (Severity.INFO, "defaultResponse")
    assert f'"setup.exe" ({HASH}) was elevated 5 times under an approval by 2 users' in finding.message
    assert f"epm report elevations --source GRANT --sha256 {HASH} --limit 1" in finding.remedy
    assert "epm rule propose --event ID" in finding.remedy


@pytest.mark.parametrize("settings", [SETTINGS, {**ASKING, "enabled": False}, {**ASKING, "assignments": {}}])
def test_where_no_file_needs_an_approval_nothing_is_told_of_approvals(settings: dict[str, Any]) -> None:
    assert found(estate(rule("a"), usage=recent(approved()), settings=settings)) == []


def test_four_approvals_are_few_and_a_file_with_a_rule_has_what_it_needs() -> None:
    assert found(estate(rule("a"), usage=recent(approved(approvals=4)), settings=ASKING)) == []
    known = rule("a", detection={"fileName": "setup.exe", "fileHash": HASH.upper()})
    assert found(estate(known, usage=recent(approved()), settings=ASKING)) == []


def test_the_files_with_most_approvals_are_told_and_an_author_may_set_them_aside() -> None:
    files = [approved(number, approvals=MANY_APPROVALS + number) for number in range(1, MOST_APPROVED + 3)]
    settings = {**ASKING, "lint": [{"ignore": "L28", "reason": "approvals are meant here"}]}
    told = found(estate(rule("a"), usage=recent(*files), settings=settings))
    assert {finding.ignored_because for finding in told} == {"approvals are meant here"}
    most = {file.sha256 for file in files[2:]}
    assert {digest for digest in most if any(digest in finding.message for finding in told)} == most
    assert len(told) == MOST_APPROVED


def test_only_what_is_asked_about_is_told() -> None:
    looked_at = estate(rule("a"), usage=replace(usage(), approved=(approved(),)), settings=ASKING)
    about = [Subject("ElevationSettingsPolicy", "s")]
    told = [finding for finding in Linter().lint(looked_at, now=NOW, about=about) if finding.check == "L28"]
    assert [finding.subject.kind for finding in told] == ["ElevationSettingsPolicy"]
    assert len(found(looked_at)) == 2
