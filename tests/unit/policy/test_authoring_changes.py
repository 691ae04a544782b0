"""Rules policies and reusable certificates are changed, assigned and deleted over real TLS, down to a database."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from epm.policy.v1 import policies_pb2
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto
from services.policy.usecases.scope import ASSIGN, READ, UPDATE
from tests.builders.authoring_service import AuditRow, Service, running
from tests.builders.elevation import pem
from tests.builders.policy import included, reusable, rules_policy

LAPTOPS = included("laptops")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path) as made:
        yield made


async def create(service: Service, **changes: Any) -> policies_pb2.RulesPolicy:
    message = rules_policy_to_proto(rules_policy(**changes))
    made: policies_pb2.RulesPolicy = (await service.call("CreateRulesPolicy", rules_policy=message)).rules_policy
    return made


async def create_certificate(service: Service) -> policies_pb2.ReusableCertificate:
    message = certificate_to_proto(reusable())
    answer = await service.call("CreateReusableCertificate", reusable_certificate=message)
    made: policies_pb2.ReusableCertificate = answer.reusable_certificate
    return made


async def get(service: Service, name: str = "tools") -> policies_pb2.RulesPolicy:
    found: policies_pb2.RulesPolicy = (await service.call("GetRulesPolicy", name=name)).rules_policy
    return found


def to(*groups: str, leaving_out: str = "") -> policies_pb2.Assignments:
    return policies_pb2.Assignments(
        include=[policies_pb2.IncludedGroup(group=group) for group in groups],
        exclude=[policies_pb2.ExcludedGroup(group=leaving_out)] if leaving_out else [],
    )


async def last_audited(service: Service) -> AuditRow:
    return (await service.audited())[-1]


async def test_updated_rules_are_stored_under_a_new_revision_and_etag(service: Service) -> None:
    policy = await create(service, assignments=LAPTOPS)
    policy.rules[0].detection.file_name = "other*.exe"
    updated = (await service.call("UpdateRulesPolicy", rules_policy=policy)).rules_policy
    assert (policy.metadata.revision, policy.metadata.etag) == (1, "1")
    assert (updated.metadata.revision, updated.metadata.etag) == (2, "2")
    assert [found.detection.file_name for found in updated.rules] == ["other*.exe"]
    assert [target.group for target in updated.assignments.include] == ["laptops"]
    assert await get(service) == updated


async def test_an_update_that_no_device_notices_moves_the_etag_alone(service: Service) -> None:
    policy = await create(service)
    policy.metadata.description = "told better"
    updated = (await service.call("UpdateRulesPolicy", rules_policy=policy)).rules_policy
    assert (updated.metadata.revision, updated.metadata.etag) == (1, "2")


async def test_an_update_that_is_repeated_finds_its_own_work(service: Service) -> None:
    policy = await create(service)
    policy.rules[0].description = "changed"
    first = await service.call("UpdateRulesPolicy", rules_policy=policy)
    assert await service.call("UpdateRulesPolicy", rules_policy=policy) == first
    assert [row.action for row in await service.audited()] == ["rules_policy_created", "rules_policy_updated"]


async def test_the_audit_record_holds_rules_before_and_after(service: Service) -> None:
    service.hire("emil", {UPDATE})
    policy = await create(service)
    policy.rules[0].detection.file_name = "other*.exe"
    await service.call("UpdateRulesPolicy", "emil", rules_policy=policy)
    row = await last_audited(service)
    assert row[:3] == ("user:emil", "rules_policy_updated", "tools")
    assert "setup*.exe" in row.before
    assert "other*.exe" not in row.before
    assert "other*.exe" in row.after


async def test_every_change_under_a_stale_etag_is_refused_with_the_etag_that_counts(service: Service) -> None:
    stale = await create(service, assignments=LAPTOPS)
    newer = policies_pb2.RulesPolicy()
    newer.CopyFrom(stale)
    newer.rules[0].description = "mine"
    await service.call("UpdateRulesPolicy", rules_policy=newer)
    kept, audited = await get(service), await service.audited()

    stale.rules[0].description = "theirs"
    for rpc, request in (
        ("UpdateRulesPolicy", {"rules_policy": stale}),
        ("AssignRulesPolicy", {"name": "tools", "etag": "1", "assignments": to("all-devices")}),
        ("DeleteRulesPolicy", {"name": "tools", "etag": "1"}),
    ):
        refused = await service.refused(rpc, **request)
        assert (refused.code, refused.reason) == ("ABORTED", "STALE_ETAG"), rpc
        assert 'its etag is now "2"' in refused.message, rpc
    assert await get(service) == kept
    assert await service.audited() == audited


async def test_a_certificate_under_a_stale_etag_is_refused_with_the_etag_that_counts(service: Service) -> None:
    certificate = await create_certificate(service)
    certificate.pem = pem("other")
    await service.call("UpdateReusableCertificate", reusable_certificate=certificate)
    certificate.pem = pem("vendor-renewed")
    refused = await service.refused("UpdateReusableCertificate", reusable_certificate=certificate)
    assert (refused.code, refused.reason) == ("ABORTED", "STALE_ETAG")
    assert 'its etag is now "2"' in refused.message


async def test_a_certificate_is_replaced_under_a_new_revision_and_etag(service: Service) -> None:
    certificate = await create_certificate(service)
    certificate.pem = pem("vendor-renewed")
    answer = await service.call("UpdateReusableCertificate", reusable_certificate=certificate)
    updated = answer.reusable_certificate
    assert (updated.metadata.revision, updated.metadata.etag) == (2, "2")
    assert updated.pem.strip() == pem("vendor-renewed").strip()
    found = await service.call("GetReusableCertificate", name="vendor")
    assert found.reusable_certificate == updated
    row = await last_audited(service)
    assert row[:3] == ("user:root", "reusable_certificate_updated", "vendor")
    assert json.loads(row.before)["spec"] != json.loads(row.after)["spec"]


async def test_a_certificate_that_cannot_be_read_is_refused_and_the_old_one_stays(service: Service) -> None:
    certificate = await create_certificate(service)
    certificate.pem = "hello"
    refused = await service.refused("UpdateReusableCertificate", reusable_certificate=certificate)
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"reusable_certificate.pem"})
    found = await service.call("GetReusableCertificate", name="vendor")
    assert found.reusable_certificate.metadata.etag == "1"


async def test_an_update_names_every_reference_that_leads_nowhere(service: Service) -> None:
    policy = await create(service)
    certificate = policy.rules[0].detection.certificate
    certificate.reusable = "nobody's"
    policy.rules.add().CopyFrom(policy.rules[0])
    policy.rules[1].name = "second"
    refused = await service.refused("UpdateRulesPolicy", rules_policy=policy)
    places = {f"rules_policy.rules[{number}].detection.certificate.reusable" for number in (0, 1)}
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", places)
    assert (await get(service)).metadata.etag == "1"


async def test_a_rule_may_name_a_certificate_in_sight_alone(service: Service) -> None:
    service.hire("emil", {UPDATE, READ}, scope_tags=["emea"])
    await create_certificate(service)
    message = rules_policy_to_proto(rules_policy())
    message.metadata.scope_tags[:] = ["emea"]
    policy = (await service.call("CreateRulesPolicy", rules_policy=message)).rules_policy
    policy.rules[0].detection.certificate.reusable = "vendor"
    refused = await service.refused("UpdateRulesPolicy", "emil", rules_policy=policy)
    assert refused.fields == {"rules_policy.rules[0].detection.certificate.reusable"}
    await service.call("UpdateRulesPolicy", rules_policy=policy)


async def test_assignments_are_stored_under_a_new_revision_and_etag(service: Service) -> None:
    await create(service)
    wanted = to("laptops", leaving_out="all-devices")
    assigned = (await service.call("AssignRulesPolicy", name="tools", etag="1", assignments=wanted)).rules_policy
    assert (assigned.metadata.revision, assigned.metadata.etag) == (2, "2")
    assert assigned.assignments == wanted
    assert await get(service) == assigned
    row = await last_audited(service)
    assert row[:3] == ("user:root", "rules_policy_assigned", "tools")
    assert "laptops" not in row.before
    assert "laptops" in row.after


async def test_an_assignment_names_every_group_that_is_not_there(service: Service) -> None:
    await create(service)
    wanted = to("laptops", "nowhere", leaving_out="neither")
    refused = await service.refused("AssignRulesPolicy", name="tools", assignments=wanted)
    assert (refused.code, refused.fields) == (
        "INVALID_ARGUMENT",
        {"assignments.include[1].group", "assignments.exclude[0].group"},
    )
    assert not (await get(service)).assignments.include


@pytest.mark.parametrize(
    ("wanted", "outside"),
    [
        (to("laptops", "all-devices"), "all-devices"),
        (to("laptops", leaving_out="all-devices"), "all-devices"),
        (to("all-devices"), "all-devices, laptops"),
        (to(), "laptops"),
    ],
    ids=["added", "excluded", "exchanged", "taken away"],
)
async def test_groups_out_of_scope_are_neither_given_nor_taken(
    service: Service, wanted: policies_pb2.Assignments, outside: str
) -> None:
    service.hire("emil", {ASSIGN, READ}, scope_groups=[] if outside.endswith("laptops") else ["laptops"])
    kept = await create(service, assignments=LAPTOPS)
    refused = await service.refused("AssignRulesPolicy", "emil", name="tools", assignments=wanted)
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "GROUP_OUT_OF_SCOPE")
    assert f"does not reach {outside};" in refused.message
    assert await get(service) == kept


async def test_a_deleted_policy_is_gone_and_the_record_holds_what_it_was(service: Service) -> None:
    await create(service, assignments=LAPTOPS)
    await service.call("DeleteRulesPolicy", name="tools", etag="1")
    assert (await service.refused("GetRulesPolicy", name="tools")).code == "NOT_FOUND"
    assert (await service.refused("DeleteRulesPolicy", name="tools", etag="1")).code == "NOT_FOUND"
    row = await last_audited(service)
    assert row[:3] == ("user:root", "rules_policy_deleted", "tools")
    assert "laptops" in row.before
    assert row.after == ""


async def test_a_name_that_was_deleted_comes_back_under_a_newer_revision(service: Service) -> None:
    await create(service)
    await service.call("DeleteRulesPolicy", name="tools")
    again = await create(service)
    assert (again.metadata.revision, again.metadata.etag) == (3, "3")


async def test_what_is_out_of_sight_can_be_neither_changed_nor_assigned_nor_deleted(service: Service) -> None:
    service.hire("emil", {ASSIGN, UPDATE, READ, "policy_authoring.delete"}, scope_tags=["emea"])
    policy, certificate = await create(service), await create_certificate(service)
    kept = await service.audited()
    for rpc, request in (
        ("UpdateRulesPolicy", {"rules_policy": policy}),
        ("AssignRulesPolicy", {"name": "tools", "assignments": to()}),
        ("DeleteRulesPolicy", {"name": "tools"}),
        ("UpdateReusableCertificate", {"reusable_certificate": certificate}),
    ):
        assert (await service.refused(rpc, "emil", **request)).code == "NOT_FOUND", rpc
    assert await service.audited() == kept
