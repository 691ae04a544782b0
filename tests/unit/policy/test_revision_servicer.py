"""Revisions and planned applies over real TLS with tokens, down to a database."""

from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from elevation.model import GroupType
from epm.access.v1 import objects_pb2
from epm.policy.v1 import policies_pb2, revisions_pb2
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto, settings_policy_to_proto
from services.policy.usecases.scope import CREATE, READ, UPDATE
from tests.builders.authoring_service import Service, running
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy
from tests.fakes.clock import NOW

POLICY = policies_pb2.ObjectRef(kind="ElevationSettingsPolicy", name="workstations")
POLICY_GONE = policies_pb2.ObjectRef(kind="ElevationSettingsPolicy", name="gone")
OWNER = policies_pb2.OwnerLabel(key="owner", value="team")
UNCHANGED, CREATED = policies_pb2.APPLY_ACTION_UNCHANGED, policies_pb2.APPLY_ACTION_CREATED


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path) as made:
        yield made


def policy(**changes: Any) -> policies_pb2.SettingsPolicy:
    made = settings_policy_to_proto(settings_policy(**changes))
    made.metadata.labels["owner"] = "team"
    return made


async def apply(service: Service, *wanted: policies_pb2.SettingsPolicy, **fields: Any) -> Any:
    return await service.call("ApplyPolicies", settings_policies=wanted, **fields)


async def changed_twice(service: Service) -> None:
    await apply(service, policy(assignments=included("laptops")), reason="ticket 1", as_code=True)
    await apply(service, policy(enabled=False), reason="tïcket 2")


def told(revision: revisions_pb2.Revision) -> tuple[object, ...]:
    return revision.change, revision.action, revision.author, revision.reason, revision.as_code


async def test_revisions_are_listed_in_pages_with_who_when_and_why(service: Service) -> None:
    await changed_twice(service)
    first = await service.call("ListRevisions", object=POLICY, page_size=1)
    rest = await service.call("ListRevisions", object=POLICY, page_size=1, page_token=first.next_page_token)
    assert [told(each) for each in (*first.revisions, *rest.revisions)] == [
        (2, revisions_pb2.REVISION_ACTION_UPDATED, "user:root", "tïcket 2", False),
        (1, revisions_pb2.REVISION_ACTION_CREATED, "user:root", "ticket 1", True),
    ]
    assert rest.next_page_token == ""
    (revision,) = first.revisions
    assert revision.time.ToDatetime(tzinfo=UTC) == NOW
    assert (list(revision.scope_tags), revision.revision) == (["default"], 2)


async def test_a_revision_is_shown_as_it_was_without_an_etag(service: Service) -> None:
    await changed_twice(service)
    shown = await service.call("GetRevision", object=POLICY, change=1)
    was = shown.object.settings_policy
    assert (was.settings.enabled, was.assignments.include[0].group) == (True, "laptops")
    assert (was.metadata.name, was.metadata.etag, dict(was.metadata.labels)) == ("workstations", "", {"owner": "team"})
    assert (shown.revision.change, (await service.call("GetRevision", object=POLICY)).revision.change) == (1, 2)


async def test_every_kind_has_revisions(service: Service) -> None:
    certificate, rules = certificate_to_proto(reusable()), rules_policy_to_proto(rules_policy("tools", rule()))
    await service.call("ApplyPolicies", reusable_certificates=[certificate], rules_policies=[rules])
    for kind, name, field in (
        ("ReusableCertificate", "vendor", "reusable_certificate"),
        ("ElevationRulesPolicy", "tools", "rules_policy"),
    ):
        shown = await service.call("GetRevision", object=policies_pb2.ObjectRef(kind=kind, name=name))
        assert shown.object.WhichOneof("object") == field


async def test_revisions_are_compared(service: Service) -> None:
    await changed_twice(service)
    compared = await service.call("DiffRevisions", object=POLICY)
    assert (getattr(compared, "from").change, compared.to.change) == (1, 2)
    assert [(each.kind, each.rule, each.field, each.before, each.after) for each in compared.changes] == [
        (revisions_pb2.FIELD_CHANGE_KIND_CHANGED, "", "enabled", "true", "false"),
        (revisions_pb2.FIELD_CHANGE_KIND_REMOVED, "", "assignments.include", '{"group":"laptops"}', ""),
    ]
    first = await service.call("DiffRevisions", object=POLICY, to=1)
    assert not first.HasField("from")
    assert {each.kind for each in first.changes} == {revisions_pb2.FIELD_CHANGE_KIND_ADDED}
    backwards: dict[str, Any] = {"from": 2, "to": 1}
    back = await service.call("DiffRevisions", object=POLICY, **backwards)
    assert [each.after for each in back.changes] == ["true", '{"group":"laptops"}']


async def test_old_content_comes_back_once_whatever_is_repeated(service: Service) -> None:
    await changed_twice(service)
    asked: dict[str, Any] = {"object": POLICY, "change": 1, "request_id": "r1"}
    rehearsed = await service.call("RollBack", **asked, validate_only=True)
    assert (rehearsed.object.settings_policy.settings.enabled, rehearsed.object.settings_policy.metadata.etag) == (
        True,
        "",
    )
    first = await service.call("RollBack", **asked, reason="back")
    assert first.object.settings_policy.metadata.change == 3
    await apply(service, policy(enabled=False))
    assert await service.call("RollBack", **asked) == first
    newest = (await service.call("ListRevisions", object=POLICY)).revisions
    assert [(each.change, each.rolled_back_to, each.reason) for each in newest[:2]] == [(4, 0, ""), (3, 1, "back")]
    other = await service.refused("RollBack", object=POLICY, change=2, request_id="r1")
    assert (other.code, other.reason) == ("ALREADY_EXISTS", "REQUEST_ID_USED")


async def test_refusals_carry_the_code_that_the_contract_names(service: Service) -> None:
    await changed_twice(service)
    service.hire("reader", {READ})
    service.hire("elsewhere", {READ, UPDATE}, scope_tags=["emea"])
    service.hire("updater", {READ, UPDATE})
    service.directories.groups = {}
    nobody = policies_pb2.ObjectRef(kind="ElevationSettingsPolicy", name="nobody")
    group = policies_pb2.ObjectRef(kind="Group", name="laptops")
    for rpc in ("ListRevisions", "GetRevision", "DiffRevisions", "RollBack"):
        assert (await service.refused(rpc, object=nobody)).code == "NOT_FOUND"
        assert (await service.refused(rpc, "elsewhere", object=POLICY)).code == "NOT_FOUND"
        unknown = await service.refused(rpc, object=group)
        assert (unknown.code, unknown.fields) == ("INVALID_ARGUMENT", {"object.kind"})
    assert (await service.refused("GetRevision", object=POLICY, change=2**64 - 1)).code == "NOT_FOUND"
    assert (await service.refused("RollBack", "reader", object=POLICY, change=1)).code == "PERMISSION_DENIED"
    assert (await service.refused("RollBack", object=POLICY, change=1, etag="1")).code == "ABORTED"
    restored: dict[str, Any] = {"object": POLICY, "change": 1, "with_assignments": True}
    assert (await service.refused("RollBack", "updater", **restored)).code == "PERMISSION_DENIED"
    assert (await service.refused("RollBack", **restored)).code == "INVALID_ARGUMENT"
    token = await service.refused("ListRevisions", object=POLICY, page_token="forged")
    assert (token.code, token.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_a_plan_is_applied_once_and_refused_where_something_changed_since(service: Service) -> None:
    service.directories.groups = {"laptops": GroupType.DEVICE}
    first = await apply(service, policy(), as_code=True, request_id="p1")
    assert [(each.action, each.etag_before, each.etag) for each in first.objects] == [(CREATED, "", "1")]
    await apply(service, policy(enabled=False))
    assert await apply(service, policy(), as_code=True, request_id="p1") == first
    live = (await service.call("GetSettingsPolicy", name="workstations")).settings_policy
    assert (live.settings.enabled, live.metadata.change, live.metadata.applied_change) == (False, 2, 1)
    expected = [objects_pb2.ExpectedObject(kind=POLICY.kind, name=POLICY.name, etag="1")]
    refused = await service.refused("ApplyPolicies", settings_policies=[policy()], expected=expected)
    assert (refused.code, refused.reason) == ("ABORTED", "STALE_ETAG")
    assert 'ElevationSettingsPolicy "workstations" was changed by user:root at 2026-11-23T12:00:00Z' in refused.message


async def test_what_an_owner_s_code_dropped_is_deleted(service: Service) -> None:
    certificate = certificate_to_proto(reusable())
    certificate.metadata.labels["owner"] = "team"
    named = rules_policy_to_proto(rules_policy("tools", rule(reusable="vendor")))
    await apply(service, policy(), reusable_certificates=[certificate], rules_policies=[named])
    gone = policies_pb2.ObjectRef(kind="ReusableCertificate", name="vendor")
    in_use = await service.refused("ApplyPolicies", deletions=[gone], owner=OWNER)
    assert (in_use.code, in_use.reason) == ("FAILED_PRECONDITION", "CERTIFICATE_IN_USE")
    tools = policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="tools")
    not_ours = await service.refused("ApplyPolicies", deletions=[tools], owner=OWNER)
    assert (not_ours.code, not_ours.reason) == ("PERMISSION_DENIED", "NOT_THE_OWNER")
    ownerless = await service.refused("ApplyPolicies", deletions=[POLICY])
    assert (ownerless.code, ownerless.fields) == ("INVALID_ARGUMENT", {"owner"})
    service.hire("writer", {READ, CREATE, UPDATE})
    assert (await service.refused("ApplyPolicies", "writer", deletions=[POLICY], owner=OWNER)).code == (
        "PERMISSION_DENIED"
    )
    applied = await service.call("ApplyPolicies", deletions=[POLICY, POLICY_GONE], owner=OWNER)
    assert [(each.kind, each.name, each.action, each.etag_before, each.etag) for each in applied.objects] == [
        (POLICY.kind, "workstations", policies_pb2.APPLY_ACTION_DELETED, "1", ""),
        (POLICY.kind, "gone", UNCHANGED, "", ""),
    ]
    assert (await service.refused("GetSettingsPolicy", name="workstations")).code == "NOT_FOUND"
    assert (await service.call("GetRevision", object=POLICY)).revision.action == revisions_pb2.REVISION_ACTION_DELETED
