"""Every save over TLS with the real linter: what is told, of which others, to whom, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from elevation.model import (
    CertificateCondition,
    CertificateType,
    DefaultResponse,
    ElevationType,
    LintIgnore,
    ReusableCertificate,
    RulesPolicy,
)
from epm.elevation.v1 import rules_pb2
from epm.policy.v1 import lint_pb2, policies_pb2
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto, settings_policy_to_proto
from services.policy.usecases.scope import ASSIGN, CREATE, READ, UPDATE
from tests.builders.elevation import certificate, publisher
from tests.builders.linted import Linted, base, linted, sound, told, tools
from tests.fakes.policy_delivery import assigned, group

APPROVED = ElevationType.SUPPORT_APPROVED
WEAK = sound("weak", file_path="")
"""A rule without a folder, which is L7."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Linted]:
    async with linted(tmp_path) as made:
        await made.call("CreateSettingsPolicy", settings_policy=settings_policy_to_proto(base()))
        yield made


async def create(service: Linted, policy: RulesPolicy, by: str = "root", *tags: str, **more: Any) -> Any:
    message = rules_policy_to_proto(policy)
    message.metadata.scope_tags.extend(tags)
    return await service.call("CreateRulesPolicy", by, rules_policy=message, **more)


async def request_of(service: Linted, rpc: str) -> dict[str, Any]:
    """Return a call that leaves `weak` with a rule without a folder, for laptops."""
    weak = tools("weak", WEAK)
    if rpc in ("CreateRulesPolicy", "ApplyPolicies"):
        message = rules_policy_to_proto(weak)
        return {"rules_policy": message} if rpc == "CreateRulesPolicy" else {"rules_policies": [message]}
    if rpc == "DuplicateObject":
        await create(service, replace(weak, name="original"))
        return {"original": policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="original"), "new_name": "weak"}
    made = (await create(service, weak)).rules_policy
    if rpc == "AssignRulesPolicy":
        return {"name": "weak", "assignments": {"include": [{"group": "kiosks"}]}}
    if rpc == "UpdateRulesPolicy":
        made.metadata.description = "told better"
        return {"rules_policy": made}
    mended = rules_policy_to_proto(tools("weak"))
    mended.metadata.etag = made.metadata.etag
    await service.call("UpdateRulesPolicy", rules_policy=mended)
    return {"object": policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="weak"), "change": made.metadata.change}


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize(
    "rpc",
    [
        "CreateRulesPolicy",
        "UpdateRulesPolicy",
        "AssignRulesPolicy",
        "DuplicateObject",
        "ApplyPolicies",
        "RollBack",
    ],
)
async def test_every_verb_tells_what_is_weak_about_what_it_wrote(
    service: Linted, rpc: str, *, validate_only: bool
) -> None:
    answer = await service.call(rpc, **await request_of(service, rpc), validate_only=validate_only)
    [finding] = [finding for finding in answer.findings if finding.id == "L7"]
    assert (finding.kind, finding.name, finding.rule) == ("ElevationRulesPolicy", "weak", "weak")
    assert (finding.path, finding.severity) == ("rules[0].detection.filePath", lint_pb2.SEVERITY_WARNING)
    assert finding.message
    assert finding.why
    assert finding.remedy


async def test_settings_policies_and_certificates_are_told_about_too(service: Linted) -> None:
    open_door = base("open", to=("kiosks",), validations=frozenset())
    made = await service.call("CreateSettingsPolicy", settings_policy=settings_policy_to_proto(open_door))
    assert told(made.findings) == [("L18", "open", ""), ("L27", "base", "")]
    expired = ReusableCertificate("old", certificate("expired"))
    made = await service.call("CreateReusableCertificate", reusable_certificate=certificate_to_proto(expired))
    assert told(made.findings) == [("L6", "old", "")]


async def test_a_certificate_that_is_renewed_is_told_what_it_does_to_rules_that_name_it(service: Linted) -> None:
    signed: dict[str, Any] = {"file_name": "setup.exe", "file_hash": ""}
    to = ("all-devices",)
    given = ReusableCertificate("signer", certificate("other"))
    made = await service.call("CreateReusableCertificate", reusable_certificate=certificate_to_proto(given))
    by_name = CertificateCondition(CertificateType.PUBLISHER, reusable="signer")
    await create(service, tools("naming", sound("confirmed", certificate=by_name, **signed), to=to))
    beside = sound("approved", APPROVED, certificate=publisher(), **signed)
    await create(service, tools("other", beside, to=to))
    renewed = certificate_to_proto(replace(given, certificate=certificate("vendor")))
    renewed.metadata.etag = made.reusable_certificate.metadata.etag
    answer = await service.call("UpdateReusableCertificate", reusable_certificate=renewed)
    assert {finding.id for finding in answer.findings} == {"L19", "L20"}
    parts = {each.name for found in answer.findings for each in (found, *found.related)}
    assert parts == {"naming", "other"}


async def test_what_policies_do_to_one_another_is_told_by_the_save_that_brings_it(service: Linted) -> None:
    first = await create(service, tools("first", sound("setup", file_name="setup.exe")))
    assert not first.findings
    second = tools("second", sound("other", APPROVED, file_name="setup.exe"), to=("all-devices",))
    rehearsed = await create(service, second, validate_only=True)
    made = await create(service, second)
    assert told(made.findings) == [("L20", "second", "other"), ("L19", "second", "other")]
    assert [finding.severity for finding in made.findings] == [lint_pb2.SEVERITY_WARNING, lint_pb2.SEVERITY_INFO]
    assert {other.name for finding in made.findings for other in finding.related} == {"first"}
    assert list(rehearsed.findings) == list(made.findings)
    stop = tools("stop", sound("never", ElevationType.DENY, file_name="setup.exe"), to=("all-devices",))
    over_both = (await create(service, stop)).findings
    assert [finding.id for finding in over_both] == ["L19", "L19"]
    assert [(finding.name, finding.related[0].name) for finding in over_both] == [("first", "stop"), ("second", "stop")]


async def test_policies_that_cannot_meet_do_nothing_to_one_another(service: Linted) -> None:
    await create(service, tools("first", sound("setup", file_name="setup.exe")))
    apart = tools("apart", sound("other", APPROVED, file_name="setup.exe"), to=("kiosks",))
    apart = replace(apart, assignments=assigned("kiosks", exclude=("laptops",)))
    assert not (await create(service, apart)).findings


async def test_an_apply_tells_about_all_that_it_holds_and_rehearses_it_as_a_whole(service: Linted) -> None:
    policies = [
        rules_policy_to_proto(tools("first", sound("setup", file_name="setup.exe"))),
        rules_policy_to_proto(tools("second", sound("other", APPROVED, file_name="setup.exe"), to=("all-devices",))),
        rules_policy_to_proto(tools("third", WEAK)),
    ]
    expected = [("L20", "second", "other"), ("L7", "third", "weak"), ("L19", "second", "other")]
    for rehearsed in (True, False, False):
        answer = await service.call("ApplyPolicies", rules_policies=policies, validate_only=rehearsed)
        assert told(answer.findings) == expected
    gone: dict[str, Any] = {
        "deletions": [{"kind": "ElevationRulesPolicy", "name": "first"}],
        "owner": {"key": "o", "value": "me"},
    }
    policies[0].metadata.labels["o"] = "me"
    await service.call("ApplyPolicies", rules_policies=policies[:1])
    left = await service.call("ApplyPolicies", rules_policies=policies[1:], validate_only=True, **gone)
    assert told(left.findings) == [("L7", "third", "weak")]


async def test_what_an_author_accepts_is_not_told_by_saves(service: Linted) -> None:
    accepting = replace(WEAK, lint=(LintIgnore("L7", "many paths"),))
    assert not (await create(service, tools("weak", accepting))).findings


async def test_at_most_200_findings_come_with_a_save_and_1000_with_an_apply(service: Linted) -> None:
    many = [
        rules_policy_to_proto(
            tools(
                f"p{part}",
                *(sound(f"r{number}", file_name=f"{part}-{number}.exe", file_path="") for number in range(100)),
            )
        )
        for part in range(11)
    ]
    policies = await service.call("ApplyPolicies", rules_policies=many)
    assert len(policies.findings) == 1000
    one = policies_pb2.RulesPolicy()
    one.CopyFrom((await service.call("GetRulesPolicy", name="p0")).rules_policy)
    for rule in one.rules:
        rule.elevation_type = 3  # type: ignore[assignment]
        rule.detection.file_name = rule.detection.file_name.replace("0-", "1-")
    assert len((await service.call("UpdateRulesPolicy", rules_policy=one)).findings) == 200


async def test_policies_out_of_sight_count_and_are_never_named(service: Linted) -> None:
    secret = sound("secret-rule", file_name="setup.exe")
    also = sound("secret-also", file_name="s*p.exe")
    await create(service, tools("secret-policy", secret, also, to=("all-devices",)), "root", "hq")
    denying = base("secret-settings", default_response=DefaultResponse.DENY, validations=frozenset())
    hidden = settings_policy_to_proto(denying)
    hidden.metadata.scope_tags.append("hq")
    await service.call("CreateSettingsPolicy", settings_policy=hidden)
    service.hire("emea", {CREATE, UPDATE, READ, ASSIGN}, scope_tags=["default"])
    rules = (sound("mine", APPROVED, file_name="setup.exe"), sound("no", ElevationType.DENY, file_name="set*p.exe"))
    await create(service, tools("own", *rules, to=("all-devices",)))
    made = (await service.call("GetRulesPolicy", name="own")).rules_policy
    told_to_root = (await service.call("UpdateRulesPolicy", rules_policy=made)).findings
    findings = (await service.call("UpdateRulesPolicy", "emea", rules_policy=made)).findings
    assert told(told_to_root) == [
        ("L19", "own", "mine"),
        ("L20", "own", "mine"),
        ("L19", "secret-policy", "secret-rule"),
    ]
    assert told(findings) == [("L19", "", ""), ("L19", "own", "mine"), ("L20", "own", "mine")]
    assert "secret" in str(told_to_root)
    assert "secret" not in str(findings)
    unseen = [finding for finding in findings if not finding.name]
    assert {(one.kind, one.rule, one.path) for one in unseen} == {("", "", "")}
    assert {one.message for one in unseen} == {"a rule that another one overrules, in an object that you may not see"}
    assert {other.name for finding in findings for other in finding.related} == {"", "own"}
    drafted = settings_policy_to_proto(base("drafted"))
    answer = await service.call("CreateSettingsPolicy", "emea", settings_policy=drafted, validate_only=True)
    assert told(answer.findings) == [("L27", "drafted", "")]
    assert "secret" not in str(answer)


async def test_who_may_write_and_not_read_is_told_of_their_own_work_alone(service: Linted) -> None:
    await create(service, tools("first", sound("setup", file_name="setup.exe")))
    service.hire("writer", {CREATE})
    second = tools("second", WEAK, sound("other", APPROVED, file_name="setup.exe"), to=())
    assert told((await create(service, second, "writer")).findings) == [("L7", "second", "weak")]
    service.hire("assigner", {CREATE, ASSIGN})
    third = tools("third", sound("other", APPROVED, file_name="setup.exe"), to=("all-devices",))
    made = await create(service, third, "assigner")
    assert told(made.findings) == [("L20", "third", "other"), ("L19", "third", "other")]
    assert {other.name for finding in made.findings for other in finding.related} == {""}


async def test_a_call_that_is_repeated_is_told_what_the_first_one_was(service: Linted) -> None:
    first = await create(service, tools("weak", WEAK), request_id="id")
    await create(service, tools("stop", sound("never", ElevationType.DENY, file_name="*.exe"), to=("all-devices",)))
    assert await create(service, tools("weak", WEAK), request_id="id") == first
    assert told(first.findings) == [("L7", "weak", "weak")]
    mended = tools("mended")
    clean = await create(service, mended, request_id="clean")
    assert await create(service, mended, request_id="clean") == clean


async def test_two_who_save_at_once_are_not_both_left_untold(service: Linted) -> None:
    pair = (
        tools("first", sound("setup", file_name="setup.exe")),
        tools("second", sound("other", APPROVED, file_name="setup.exe"), to=("all-devices",)),
    )
    answers = await asyncio.gather(*(create(service, policy) for policy in pair))
    assert any(answer.findings for answer in answers)


async def test_the_order_of_saves_makes_no_difference_to_what_lint_finds(tmp_path: Path) -> None:
    policies = [
        tools("first", sound("setup", file_name="setup.exe")),
        tools("second", sound("other", APPROVED, file_name="setup.exe"), to=("all-devices",)),
        tools("third", sound("never", ElevationType.DENY, file_name="s*.exe"), WEAK, to=("developers",)),
    ]
    seen = []
    for number, order in enumerate(permutations(policies)):
        (tmp_path / str(number)).mkdir()
        async with linted(tmp_path / str(number)) as service:
            for policy in order:
                await create(service, policy)
            seen.append([finding.SerializeToString() for finding in await service.found()])
    assert len(seen[0]) > 3
    assert all(found == seen[0] for found in seen)


SECRET = sound("secret", file_name="setup.exe", arguments=("/password:hunter2",))
"""A rule with something like a secret in it, which is L15."""
PLACE = "rules[0].arguments.command_lines[0]"


async def test_a_secret_blocks_every_save_of_rules(service: Linted) -> None:
    refused = await service.refused("CreateRulesPolicy", rules_policy=rules_policy_to_proto(tools("p", SECRET)))
    assert refused.fields == {f"rules_policy.{PLACE}"}
    assert "(L15)" in refused.message
    assert "hunter2" not in refused.message
    made = (await create(service, tools("p"))).rules_policy
    stolen = rules_policy_to_proto(tools("p", SECRET))
    stolen.metadata.etag = made.metadata.etag
    assert (await service.refused("UpdateRulesPolicy", rules_policy=stolen)).fields == {f"rules_policy.{PLACE}"}
    refused = await service.refused("ApplyPolicies", rules_policies=[stolen], validate_only=True)
    assert refused.fields == {f"rules_policies[0].{PLACE}"}
    ignoring = replace(SECRET, lint=(LintIgnore("L15", "no secret"),))
    assert (await create(service, tools("accepted", ignoring))).rules_policy.metadata.name == "accepted"


REPORTED = 'osVersion >= "12"'


async def test_reported_attributes_that_decide_block_every_save(service: Linted) -> None:
    permissive, by_group = tools("p", where=REPORTED), tools("p", to=("new",))
    fields = "assignments.include[0]"
    refused = await service.refused("CreateRulesPolicy", rules_policy=rules_policy_to_proto(permissive))
    assert refused.fields == {f"rules_policy.{fields}.filter"}
    refused = await service.refused("ApplyPolicies", rules_policies=[rules_policy_to_proto(by_group)])
    assert refused.fields == {f"rules_policies[0].{fields}.group"}
    settings = settings_policy_to_proto(base("open", to=("new",)))
    refused = await service.refused("CreateSettingsPolicy", settings_policy=settings, validate_only=True)
    assert refused.fields == {f"settings_policy.{fields}.group"}
    await create(service, tools("p", to=()))
    for include, field in (({"group": "laptops", "filter": REPORTED}, "filter"), ({"group": "new"}, "group")):
        refused = await service.refused("AssignRulesPolicy", name="p", assignments={"include": [include]})
        assert refused.fields == {f"{fields}.{field}"}
    plain = {"group": "laptops", "filter": 'os = "windows"'}
    assert not (await service.call("AssignRulesPolicy", name="p", assignments={"include": [plain]})).findings


async def test_a_policy_that_denies_may_go_where_devices_say_and_may_not_start_to_allow(service: Linted) -> None:
    never = sound("never", ElevationType.DENY)
    made = (await create(service, tools("p", never, where=REPORTED))).rules_policy
    allowing = rules_policy_to_proto(tools("p"))
    allowing.metadata.etag = made.metadata.etag
    refused = await service.refused("UpdateRulesPolicy", rules_policy=allowing)
    assert refused.fields == {"rules_policy.assignments.include[0].filter"}


async def test_a_rollback_to_what_lint_refuses_today_is_refused(service: Linted) -> None:
    made = (await create(service, tools("p", to=("laptops",)))).rules_policy
    await service.call("AssignRulesPolicy", name="p", assignments={})
    service.directories.group(group("laptops", where=REPORTED))
    back = {"object": {"kind": "ElevationRulesPolicy", "name": "p"}, "change": made.metadata.change}
    refused = await service.refused("RollBack", **back, with_assignments=True)
    assert refused.fields == {"assignments.include[0].group"}
    assert "(D23)" in refused.message
    assert not (await service.call("RollBack", **back)).findings


async def test_errors_of_lint_come_with_all_other_problems(service: Linted) -> None:
    wrong = tools(
        "p", SECRET, replace(sound("no-hash"), detection=replace(WEAK.detection, file_hash="")), where=REPORTED
    )
    refused = await service.refused("CreateRulesPolicy", rules_policy=rules_policy_to_proto(wrong))
    assert refused.fields == {
        f"rules_policy.{PLACE}",
        "rules_policy.rules[1].detection.file_hash",
        "rules_policy.assignments.include[0].filter",
    }


async def test_errors_of_lint_come_with_what_could_not_be_read(service: Linted) -> None:
    wrong = rules_policy_to_proto(tools("p", SECRET, sound("signed"), where=REPORTED))
    wrong.rules[1].detection.certificate.pem = "no certificate"
    wrong.assignments.include.add(group="laptops", filter_mode=policies_pb2.FILTER_MODE_EXCLUDE)
    refused = await service.refused("CreateRulesPolicy", rules_policy=wrong)
    told = {
        f"rules_policy.{PLACE}",
        "rules_policy.rules[1].detection.certificate.pem",
        "rules_policy.assignments.include[0].filter",
        "rules_policy.assignments.include[1].filter_mode",
    }
    assert refused.fields >= told
    assert refused.message.count("(L15)") == refused.message.count("(D23)") == 1
    assignments = {"include": [{"group": "new", "filter_mode": policies_pb2.FILTER_MODE_EXCLUDE}]}
    await create(service, tools("p", to=()))
    refused = await service.refused("AssignRulesPolicy", name="p", assignments=assignments)
    assert refused.fields == {"assignments.include[0].filter_mode", "assignments.include[0].group"}


async def test_nothing_is_said_of_assignments_while_nobody_knows_whether_a_policy_allows(service: Linted) -> None:
    unclear = rules_policy_to_proto(tools("p", sound("x", ElevationType.DENY), where=REPORTED))
    unclear.rules[0].elevation_type = rules_pb2.ELEVATION_TYPE_UNSPECIFIED
    refused = await service.refused("CreateRulesPolicy", rules_policy=unclear)
    assert "rules_policy.rules[0].elevation_type" in refused.fields
    assert "(D23)" not in refused.message


async def test_a_group_that_changes_afterwards_shows_in_lint(service: Linted) -> None:
    await create(service, tools("p", to=("laptops",)))
    assert not await service.found()
    service.directories.group(group("laptops", where=REPORTED))
    [finding] = await service.found()
    assert (finding.id, finding.name, finding.severity) == ("D23", "p", lint_pb2.SEVERITY_ERROR)
    assert finding.path == "assignments.include[0].group"


async def test_without_a_directory_what_needs_none_is_saved_and_told(service: Linted) -> None:
    service.directories.known = None
    assert told((await create(service, tools("weak", WEAK, to=("all-devices",)))).findings) == [("L7", "weak", "weak")]


async def test_a_rehearsed_apply_knows_the_groups_that_come_with_it(service: Linted) -> None:
    policies = [rules_policy_to_proto(tools("p", WEAK, to=("soon",)))]
    soon = policies_pb2.PendingGroup(name="soon", type=policies_pb2.PENDING_GROUP_TYPE_DEVICE)
    shadow = tools("stop", sound("never", ElevationType.DENY, file_name="weak.exe", file_path=""), to=("all-devices",))
    await create(service, shadow)
    told_of = await service.call("ApplyPolicies", rules_policies=policies, pending_groups=[soon], validate_only=True)
    assert told(told_of.findings) == [("L19", "p", "weak"), ("L7", "p", "weak")]
    for reported in ({"filter": REPORTED}, {"groups": ["new"]}):
        soon = policies_pb2.PendingGroup(name="soon", type=policies_pb2.PENDING_GROUP_TYPE_DEVICE, **reported)
        refused = await service.refused(
            "ApplyPolicies", rules_policies=policies, pending_groups=[soon], validate_only=True
        )
        assert refused.fields == {"rules_policies[0].assignments.include[0].group"}
