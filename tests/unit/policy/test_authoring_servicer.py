"""Authoring over real TLS with tokens, down to a database."""

from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from elevation.model import GroupType
from epm.policy.v1 import policies_pb2
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto, settings_policy_to_proto
from services.policy.model.states import DeliveryState, DevicePolicyState
from services.policy.usecases.scope import ASSIGN, CREATE, READ, UPDATE
from tests.builders.authoring_service import Service, running
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy
from tests.fakes.clock import NOW

KINDS: dict[str, tuple[str, str, Any]] = {
    "SettingsPolicy": ("settings_policy", "SettingsPolicies", settings_policy_to_proto(settings_policy("it"))),
    "RulesPolicy": ("rules_policy", "RulesPolicies", rules_policy_to_proto(rules_policy("it"))),
    "ReusableCertificate": (
        "reusable_certificate",
        "ReusableCertificates",
        certificate_to_proto(reusable("it")),
    ),
}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_lives_from_its_creation_to_its_deletion(service: Service, kind: str) -> None:
    one, many, content = KINDS[kind]
    created = getattr(await service.call(f"Create{kind}", **{one: content}), one)
    assert (created.metadata.name, created.metadata.revision, created.metadata.updated_by) == ("it", 1, "user:root")
    assert created.metadata.created.ToDatetime(tzinfo=UTC) == NOW
    assert list(created.metadata.scope_tags) == ["default"]
    assert getattr(await service.call(f"Get{kind}", name="it"), one) == created

    created.metadata.description = "told better"
    updated = getattr(await service.call(f"Update{kind}", **{one: created}), one)
    assert updated.metadata.description == "told better"
    assert updated.metadata.etag != created.metadata.etag
    listed = await service.call(f"List{many}")
    assert list(next(value for _, value in listed.ListFields())) == [updated]

    await service.call(f"Delete{kind}", name="it", etag=updated.metadata.etag)
    assert (await service.refused(f"Get{kind}", name="it")).code == "NOT_FOUND"


@pytest.mark.parametrize("kind", KINDS)
async def test_refusals_carry_the_code_that_the_contract_names(service: Service, kind: str) -> None:
    one, _, content = KINDS[kind]
    await service.call(f"Create{kind}", **{one: content})
    taken = await service.refused(f"Create{kind}", **{one: content})
    assert (taken.code, taken.reason) == ("ALREADY_EXISTS", "ALREADY_EXISTS")

    stale = type(content)()
    stale.CopyFrom(content)
    stale.metadata.description, stale.metadata.etag = "changed", "0"
    aborted = await service.refused(f"Update{kind}", **{one: stale})
    assert (aborted.code, aborted.reason) == ("ABORTED", "STALE_ETAG")
    assert (await service.refused(f"Delete{kind}", name="it", etag="0")).code == "ABORTED"

    missing = await service.refused(f"Update{kind}", **{one: content})
    assert (missing.code, missing.fields) == ("INVALID_ARGUMENT", {f"{one}.metadata.etag"})
    for rpc in ("Get", "Delete"):
        assert (await service.refused(f"{rpc}{kind}", name="nobody")).code == "NOT_FOUND"


@pytest.mark.parametrize("kind", ["SettingsPolicy", "RulesPolicy"])
async def test_a_policy_is_assigned(service: Service, kind: str) -> None:
    one, _, content = KINDS[kind]
    await service.call(f"Create{kind}", **{one: content})
    wanted = policies_pb2.Assignments(include=[policies_pb2.IncludedGroup(group="laptops")])
    assigned = getattr(await service.call(f"Assign{kind}", name="it", assignments=wanted), one)
    assert assigned.assignments == wanted
    assert getattr(await service.call(f"Get{kind}", name="it"), one) == assigned

    wanted.include[0].group = "nowhere"
    refused = await service.refused(f"Assign{kind}", name="it", assignments=wanted)
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"assignments.include[0].group"})


@pytest.mark.parametrize("kind", ["SettingsPolicy", "RulesPolicy"])
async def test_assigning_out_of_scope_is_denied(service: Service, kind: str) -> None:
    one, _, content = KINDS[kind]
    service.hire("emil", {ASSIGN, CREATE}, scope_groups=[])
    await service.call(f"Create{kind}", "emil", **{one: content})
    wanted = policies_pb2.Assignments(exclude=[policies_pb2.ExcludedGroup(group="laptops")])
    refused = await service.refused(f"Assign{kind}", "emil", name="it", assignments=wanted)
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "GROUP_OUT_OF_SCOPE")


async def test_every_problem_of_a_policy_is_a_field_violation(service: Service) -> None:
    message = rules_policy_to_proto(rules_policy("", rule("a"), rule("A")))
    message.rules[0].elevation_type = 0  # type: ignore[assignment]
    message.rules[1].detection.file_name = "*.e?e"
    refused = await service.refused("CreateRulesPolicy", rules_policy=message)
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.fields == {
        "rules_policy.metadata.name",
        "rules_policy.rules[0].elevation_type",
        "rules_policy.rules[1].detection.file_name",
        "rules_policy.rules[1].name",
    }


async def test_a_certificate_in_use_stays(service: Service) -> None:
    await service.call("CreateReusableCertificate", reusable_certificate=certificate_to_proto(reusable()))
    policy = rules_policy_to_proto(rules_policy("tools", rule("setup", reusable="vendor")))
    await service.call("CreateRulesPolicy", rules_policy=policy)
    refused = await service.refused("DeleteReusableCertificate", name="vendor")
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "CERTIFICATE_IN_USE")
    assert "tools/setup" in refused.message


async def test_pages_follow_one_another(service: Service) -> None:
    for name in ("c", "a", "b"):
        await service.call("CreateSettingsPolicy", settings_policy=settings_policy_to_proto(settings_policy(name)))
    first = await service.call("ListSettingsPolicies", page_size=2)
    rest = await service.call("ListSettingsPolicies", page_size=2, page_token=first.next_page_token)
    pages = [[policy.metadata.name for policy in page.settings_policies] for page in (first, rest)]
    assert (pages, rest.next_page_token) == ([["a", "b"], ["c"]], "")
    refused = await service.refused("ListRulesPolicies", page_token=first.next_page_token)
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"page_token"})


async def test_what_is_out_of_sight_is_not_there(service: Service) -> None:
    service.hire("emil", {READ}, scope_tags=["emea"])
    hidden = settings_policy_to_proto(settings_policy("hidden"))
    seen = settings_policy_to_proto(settings_policy("seen"))
    seen.metadata.scope_tags[:] = ["emea"]
    await service.call("CreateSettingsPolicy", settings_policy=hidden)
    await service.call("CreateSettingsPolicy", settings_policy=seen)
    listed = await service.call("ListSettingsPolicies", "emil")
    assert [policy.metadata.name for policy in listed.settings_policies] == ["seen"]
    there = await service.refused("GetSettingsPolicy", "emil", name="hidden")
    not_there = await service.refused("GetSettingsPolicy", "emil", name="absent")
    assert (there.code, there.reason) == (not_there.code, not_there.reason) == ("NOT_FOUND", "NOT_FOUND")
    assert there.message.replace("hidden", "absent") == not_there.message


async def test_policies_are_applied_and_applied_again(service: Service) -> None:
    objects: dict[str, Any] = {
        "reusable_certificates": [certificate_to_proto(reusable())],
        "settings_policies": [settings_policy_to_proto(settings_policy("s", assignments=included("laptops")))],
        "rules_policies": [rules_policy_to_proto(rules_policy("r", rule(reusable="vendor")))],
    }
    first = await service.call("ApplyPolicies", **objects)
    again = await service.call("ApplyPolicies", **objects)
    assert [(item.kind, item.name, item.action) for item in first.objects] == [
        ("ReusableCertificate", "vendor", policies_pb2.APPLY_ACTION_CREATED),
        ("ElevationSettingsPolicy", "s", policies_pb2.APPLY_ACTION_CREATED),
        ("ElevationRulesPolicy", "r", policies_pb2.APPLY_ACTION_CREATED),
    ]
    assert {item.action for item in again.objects} == {policies_pb2.APPLY_ACTION_UNCHANGED}
    assert (first.revision, again.revision) == (1, 1)

    objects["settings_policies"] = [settings_policy_to_proto(settings_policy("s"))]
    moved = await service.call("ApplyPolicies", **objects)
    assert [item.action for item in moved.objects] == [
        policies_pb2.APPLY_ACTION_UNCHANGED,
        policies_pb2.APPLY_ACTION_UPDATED,
        policies_pb2.APPLY_ACTION_UNCHANGED,
    ]


async def test_applying_waits_for_the_directory_and_takes_pending_groups_when_validating(service: Service) -> None:
    objects: dict[str, Any] = {
        "settings_policies": [settings_policy_to_proto(settings_policy("s", assignments=included("soon")))]
    }
    pending = [policies_pb2.PendingGroup(name="soon", type=policies_pb2.PENDING_GROUP_TYPE_DEVICE)]
    await service.call("ApplyPolicies", validate_only=True, pending_groups=pending, **objects)
    assert (await service.refused("ApplyPolicies", directory_revision=2, **objects)).code == "UNAVAILABLE"
    service.directories.groups, service.directories.revision = {"soon": GroupType.DEVICE}, 2
    assert (await service.call("ApplyPolicies", directory_revision=2, **objects)).revision == 1


async def test_who_may_not_author_is_denied(service: Service) -> None:
    service.hire("reader", {READ})
    service.hire("stranger", {"devices.read"})
    policy = settings_policy_to_proto(settings_policy())
    for rpc, by, request in (
        ("CreateSettingsPolicy", "reader", {"settings_policy": policy}),
        ("UpdateSettingsPolicy", "reader", {"settings_policy": policy}),
        ("DeleteSettingsPolicy", "reader", {"name": "workstations"}),
        ("AssignSettingsPolicy", "reader", {"name": "workstations"}),
        ("ApplyPolicies", "reader", {"settings_policies": [policy]}),
        ("ApplyPolicies", "stranger", {"settings_policies": [policy]}),
        ("ListSettingsPolicies", "stranger", {}),
        ("ListDevicePolicyStates", "stranger", {}),
    ):
        refused = await service.refused(rpc, by, **request)
        assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING"), rpc


async def test_without_a_token_nothing_is_answered(service: Service) -> None:
    assert (await service.refused("ListSettingsPolicies", by="")).code == "UNAUTHENTICATED"


async def test_an_update_keeps_the_assignments_that_the_updater_may_not_change(service: Service) -> None:
    service.hire("emil", {UPDATE, READ})
    policy = settings_policy_to_proto(settings_policy("s", assignments=included("laptops")))
    created = (await service.call("CreateSettingsPolicy", settings_policy=policy)).settings_policy
    created.settings.enabled = False
    created.ClearField("assignments")
    updated = (await service.call("UpdateSettingsPolicy", "emil", settings_policy=created)).settings_policy
    assert not updated.settings.enabled
    assert [target.group for target in updated.assignments.include] == ["laptops"]


async def test_the_audit_record_names_who_changed_what(service: Service) -> None:
    service.hire("emil", {CREATE})
    await service.call("CreateReusableCertificate", "emil", reusable_certificate=certificate_to_proto(reusable()))
    await service.call("DeleteReusableCertificate", name="vendor")
    assert [(row.actor, row.action, row.target) for row in await service.audited()] == [
        ("user:emil", "reusable_certificate_created", "vendor"),
        ("user:root", "reusable_certificate_deleted", "vendor"),
    ]


async def test_device_states_are_listed_as_far_as_they_may_be_seen(service: Service) -> None:
    service.hire("emil", {READ}, scope_tags=["emea"])
    applied = DevicePolicyState(
        device_id="1",
        device_name="ws-1",
        state=DeliveryState.APPLIED,
        offered_revision=7,
        applied_revision=7,
        confirmed=NOW,
        connected=True,
        sha256=b"d" * 32,
    )
    rejected = DevicePolicyState(
        device_id="2",
        device_name="ws-2",
        state=DeliveryState.REJECTED,
        offered_revision=8,
        rejections=("unknown field",),
    )
    service.states.states = [(rejected, frozenset({"emea"})), (applied, frozenset({"apac"}))]
    first = await service.call("ListDevicePolicyStates", page_size=1)
    rest = await service.call("ListDevicePolicyStates", page_token=first.next_page_token)
    shown = [*first.states, *rest.states]
    assert [(state.device_name, state.state) for state in shown] == [
        ("ws-1", policies_pb2.DELIVERY_STATE_APPLIED),
        ("ws-2", policies_pb2.DELIVERY_STATE_REJECTED),
    ]
    assert (shown[0].applied_revision, shown[0].connected, list(shown[1].rejections)) == (7, True, ["unknown field"])
    assert [state.document_sha256 for state in shown] == [b"d" * 32, b""]
    assert shown[0].confirmed.ToDatetime(tzinfo=UTC) == NOW
    assert not shown[1].HasField("confirmed")
    assert [state.device_name for state in (await service.call("ListDevicePolicyStates", "emil")).states] == ["ws-2"]
