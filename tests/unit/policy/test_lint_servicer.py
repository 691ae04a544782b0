"""Lint over TLS: what is stored and what is drafted, to whom, and in which messages."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elevation.model import ElevationType, LintIgnore, RulesPolicy
from epm.elevation.v1 import rules_pb2
from epm.policy.v1 import analysis_pb2, lint_pb2, policies_pb2
from services.policy.codec.authored import rules_policy_to_proto, settings_policy_to_proto
from services.policy.usecases.scope import READ
from tests.builders.elevation import HASH
from tests.builders.linted import Linted, base, linted, sound, told, tools
from tests.fakes.policy_delivery import assigned

APPROVED = ElevationType.SUPPORT_APPROVED
WEAK = sound("weak", file_path="")
REPORTED = 'osVersion >= "12"'
BARE = replace(sound("bare"), detection=replace(sound("bare").detection, file_hash=""))
"""A rule with neither hash nor certificate, which is L1."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Linted]:
    async with linted(tmp_path) as made:
        await made.call("CreateSettingsPolicy", settings_policy=settings_policy_to_proto(base()))
        yield made


async def create(service: Linted, policy: RulesPolicy, *tags: str) -> None:
    message = rules_policy_to_proto(policy)
    message.metadata.scope_tags.extend(tags)
    await service.call("CreateRulesPolicy", rules_policy=message)


def drafted(*policies: RulesPolicy, **more: Any) -> analysis_pb2.Draft:
    return analysis_pb2.Draft(rules_policies=map(rules_policy_to_proto, policies), **more)


def named(name: str, kind: str = "ElevationRulesPolicy") -> policies_pb2.ObjectRef:
    return policies_pb2.ObjectRef(kind=kind, name=name)


async def test_where_nothing_is_found_one_message_says_so(service: Linted) -> None:
    [only] = await service.lint()
    assert (len(only.findings), only.total) == (0, 0)


async def test_all_that_is_stored_is_linted_worst_first(service: Linted) -> None:
    await create(service, tools("a", WEAK))
    await create(service, tools("b", sound("shell", file_name="cmd.exe", file_hash=HASH)))
    [only] = await service.lint()
    assert only.total == len(only.findings)
    assert [finding.severity for finding in only.findings] == sorted(
        (finding.severity for finding in only.findings), reverse=True
    )
    assert ("L7", "a", "weak") in told(only.findings)
    assert ("L13", "b", "shell") in told(only.findings)


async def test_many_findings_come_in_messages_of_500_and_the_first_counts_them(service: Linted) -> None:
    policies = [
        tools(f"p{part}", *(sound(f"r{n}", file_name=f"{part}-{n}.exe", file_path="") for n in range(100)))
        for part in range(11)
    ]
    await service.call("ApplyPolicies", rules_policies=[*map(rules_policy_to_proto, policies)])
    parts = await service.lint()
    assert [len(part.findings) for part in parts] == [500, 500, 100]
    assert [part.total for part in parts] == [1100, 0, 0]
    assert len({(finding.name, finding.rule) for part in parts for finding in part.findings}) == 1100


async def test_a_draft_lies_on_top_of_what_is_stored_and_changes_nothing(service: Linted) -> None:
    await create(service, tools("first", sound("setup", file_name="setup.exe"), WEAK))
    second = tools("second", sound("other", APPROVED, file_name="setup.exe"), to=("all-devices",))
    pair = [("L20", "second", "other"), ("L19", "second", "other")]
    assert told(await service.found(draft=drafted(second))) == [("L7", "first", "weak"), *pair]
    assert told(await service.found(draft=drafted(second), draft_only=True)) == pair
    assert told(await service.found()) == [("L7", "first", "weak")]
    assert not await service.found(draft=drafted(tools("first")))
    assert not await service.found(draft=drafted(deletions=[named("first")]))
    assert not await service.found(draft_only=True)


async def test_findings_are_narrowed_to_objects(service: Linted) -> None:
    other = sound("third", file_path="")
    await create(service, tools("first", sound("setup", file_name="setup.exe"), WEAK))
    await create(service, tools("second", sound("other", APPROVED, file_name="setup.exe"), to=("all-devices",)))
    await create(service, tools("third", other))
    pair = [("L20", "second", "other"), ("L19", "second", "other")]
    assert told(await service.found(objects=[named("second")])) == pair
    assert told(await service.found(objects=[named("first")])) == [("L7", "first", "weak"), *pair]
    both = await service.found(objects=[named("second"), named("third")])
    assert told(both) == [pair[0], ("L7", "third", "third"), pair[1]]
    assert not await service.found(objects=[named("base", "ElevationSettingsPolicy")])
    drafting: dict[str, Any] = {"draft": drafted(tools("third", other, sound())), "draft_only": True}
    assert told(await service.found(objects=[named("third")], **drafting)) == [("L7", "third", "third")]
    assert not await service.found(objects=[named("first")], **drafting)


async def test_what_authors_accept_is_given_where_it_is_asked_for(service: Linted) -> None:
    await create(service, tools("weak", replace(WEAK, lint=(LintIgnore("L7", "many paths"),))))
    assert not await service.found()
    [finding] = await service.found(with_ignored=True)
    assert (finding.id, finding.ignored_because) == ("L7", "many paths")


async def test_problems_that_lint_has_a_name_for_are_errors_at_their_place_and_the_rest_is_looked_at(
    service: Linted,
) -> None:
    await create(service, tools("stored", sound("stop", ElevationType.DENY, file_name="weak.exe", file_path="")))
    secret = sound("secret", arguments=("/password:hunter2",))
    policy = tools("p", BARE, secret, replace(WEAK, name="SECRET"), WEAK, where=REPORTED)
    findings = await service.found(draft=drafted(policy), draft_only=True)
    errors = [one for one in findings if one.severity == lint_pb2.SEVERITY_ERROR]
    assert [(one.id, one.rule, one.path) for one in errors] == [
        ("D23", "", "assignments.include[0].filter"),
        ("L1", "bare", "rules[0].detection.fileHash"),
        ("L15", "secret", "rules[1].arguments[0]"),
        ("L24", "SECRET", "rules[2].name"),
    ]
    others = [(one.id, one.rule, one.path) for one in findings[len(errors) :] if one.name == "p"]
    assert ("L7", "weak", "rules[3].detection.filePath") in others
    assert ("L19", "weak", "rules[3]") in others
    assert not [one for one in others if one[1] in ("bare", "SECRET")]


async def test_other_problems_of_a_draft_are_all_said_at_once(service: Linted) -> None:
    unset = rules_policy_to_proto(tools("p", BARE, sound()))
    unset.rules[1].elevation_type = rules_pb2.ELEVATION_TYPE_UNSPECIFIED
    refused = await service.lint_refused(
        draft=analysis_pb2.Draft(rules_policies=[unset], deletions=[named("absent")]),
        objects=[named("nobody"), named("x", "Nothing")],
    )
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.fields == {
        "draft.rules_policies[0].rules[1].elevation_type",
        "draft.deletions[0].name",
        "objects[0].name",
        "objects[1].kind",
    }


async def test_a_drafted_group_concerns_the_policies_that_name_it(service: Linted) -> None:
    await create(service, tools("p", to=("laptops",)))
    await create(service, tools("other", sound("else"), to=("kiosks",)))
    group = analysis_pb2.DraftGroup(name="laptops", type=policies_pb2.PENDING_GROUP_TYPE_DEVICE, filter=REPORTED)
    found = await service.found(draft=analysis_pb2.Draft(groups=[group]), draft_only=True)
    assert told(found) == [("D23", "p", "")]
    holding = analysis_pb2.DraftGroup(
        name="kiosks", type=policies_pb2.PENDING_GROUP_TYPE_DEVICE, groups=["new"], members=["D2"]
    )
    found = await service.found(draft=analysis_pb2.Draft(groups=[holding]), draft_only=True)
    assert told(found) == [("D23", "other", "")]


async def test_policies_for_a_group_that_there_is_not_are_found(service: Linted) -> None:
    await create(service, tools("p", to=("laptops",)))
    await create(
        service, replace(tools("other", sound("else")), assignments=assigned("all-devices", exclude=("kiosks",)))
    )
    lacking = [("L31", "other", ""), ("L31", "p", "")]
    going = analysis_pb2.Draft(deletions=[named("laptops", "Group"), named("kiosks", "Group")])
    assert told(await service.found(draft=going, draft_only=True)) == lacking
    assert await service.found() == []
    service.directories.ungroup("laptops", "kiosks")
    found = await service.found()
    assert told(found) == lacking
    assert [(each.severity, each.path, each.message) for each in found] == [
        (
            lint_pb2.SEVERITY_HIGH,
            "assignments.exclude[0].group",
            'there is no group "kiosks", so the policy reaches nobody at all',
        ),
        (
            lint_pb2.SEVERITY_HIGH,
            "assignments.include[0].group",
            'there is no group "laptops", so nobody gets the policy by it',
        ),
    ]


async def test_what_is_out_of_sight_counts_and_is_never_named(service: Linted) -> None:
    accepted = (LintIgnore("L19", "secret reason"),)
    await create(
        service,
        tools("secret-policy", sound("secret-rule", file_name="setup.exe", lint=accepted), WEAK, to=("all-devices",)),
        "hq",
    )
    stop = sound("stop", ElevationType.DENY, file_name="set*p.exe")
    await create(service, tools("own", stop, sound("mine", file_name="setup.exe")))
    service.hire("emea", {READ}, scope_tags=["default"])
    everything = await service.found("emea", with_ignored=True)
    assert "secret" not in str(everything)
    assert ("L7", "", "") not in told(everything), "what is about others alone is not told"
    [unseen] = [finding for finding in everything if not finding.name]
    assert (unseen.id, unseen.kind, unseen.rule, unseen.path) == ("L19", "", "", "")
    assert unseen.ignored_because == "its author accepts it"
    assert "secret" in str(await service.found(with_ignored=True))
    for name in ("secret-policy", "absent"):
        refused = await service.lint_refused("emea", objects=[named(name)])
        assert refused.problems == {"objects[0].name": f'there is no rules policy "{name}"; list them for their names'}
    taken = await service.lint_refused("emea", draft=drafted(tools("secret-policy")))
    assert taken.fields == {"draft.rules_policies[0].metadata.name"}


async def test_who_may_not_read_policies_lints_none(service: Linted) -> None:
    service.hire("writer", {"policy_authoring.create"})
    assert (await service.lint_refused("writer")).code == "PERMISSION_DENIED"


async def test_without_a_directory_lint_is_not_available(service: Linted) -> None:
    service.directories.known = None
    assert (await service.lint_refused()).code == "UNAVAILABLE"
