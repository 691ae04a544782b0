"""Build what the policy service keeps: content that is fine, and objects that were stored."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from elevation.model import (
    Assignments,
    CertificateCondition,
    CertificateType,
    ChildProcesses,
    Detection,
    Exclude,
    Include,
    LintIgnore,
    Platform,
    ReportingScope,
    ReusableCertificate,
    Rule,
    RulesPolicy,
    SettingsPolicy,
    Validation,
)
from services.policy.model.objects import About, Change, Item, Stored
from tests.builders.elevation import HASH, certificate
from tests.fakes.clock import NOW


def included(*groups: str, excluding: Iterable[str] = ()) -> Assignments:
    """Assign to groups, but for others."""
    return Assignments(tuple(map(Include, groups)), tuple(map(Exclude, excluding)))


def settings_policy(name: str = "workstations", **changes: object) -> SettingsPolicy:
    """Make a settings policy that says everything it means."""
    policy = SettingsPolicy(name=name, reporting_scope=ReportingScope.ALL)
    return replace(policy, **changes)  # type: ignore[arg-type]


def rule(name: str = "setup", *, reusable: str = "") -> Rule:
    """Make a rule with most of its fields filled; with `reusable` it names that certificate."""
    condition = CertificateCondition(CertificateType.PUBLISHER, None if reusable else certificate("vendor"), reusable)
    return Rule(
        name=name,
        description="installs it",
        validations=frozenset({Validation.BUSINESS_JUSTIFICATION}),
        child_processes=ChildProcesses.REQUIRE_RULE,
        detection=Detection(
            file_name="setup*.exe",
            file_path="C:\\Installers",
            file_hash=HASH,
            certificate=condition,
            minimum_version="1.2",
        ),
        arguments=("/silent", ""),
        lint=(LintIgnore("L7", "many paths"),),
    )


def rules_policy(name: str = "tools", *rules: Rule, **changes: object) -> RulesPolicy:
    """Make a rules policy for Windows; without rules it has one."""
    policy = RulesPolicy(name=name, platform=Platform.WINDOWS, rules=rules or (rule(),))
    return replace(policy, **changes)  # type: ignore[arg-type]


def reusable(name: str = "vendor", pem: str = "vendor") -> ReusableCertificate:
    """Make a reusable certificate from a golden one."""
    return ReusableCertificate(name, certificate(pem))


def stored(content: Item, *tags: str, revision: int = 1, etag: str = "", now: datetime = NOW) -> Stored[Item]:
    """Make an object as it is kept; without tags it is `default`."""
    about = About(
        scope_tags=frozenset(tags or ("default",)),
        labels={"owner": "team"},
        revision=revision,
        etag=etag or str(revision),
        created=now,
        updated=now,
        updated_by="user:alice",
    )
    return Stored(content, about)


def creation(after: Stored[Item]) -> Change[Item]:
    """Make the change that creates an object."""
    return Change(before=None, after=after, revision=after.about.revision, actor="user:alice", now=NOW)


def deletion(before: Stored[Item], revision: int) -> Change[Item]:
    """Make the change that deletes an object."""
    return Change(before=before, after=None, revision=revision, actor="user:alice", now=NOW)
