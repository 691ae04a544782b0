"""What objects carry over TLS beside their content: accepted findings, facts of certificates, who made them when."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from elevation.model import LintIgnore
from epm.elevation.v1 import rules_pb2
from epm.policy.v1 import policies_pb2
from services._chassis.errors import InvalidError
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto, settings_policy_to_proto
from services.policy.usecases.scope import ASSIGN, CREATE, READ, UPDATE
from tests.builders.authoring import desk
from tests.builders.authoring_service import Service, running
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy
from tests.fakes.clock import NOW

IGNORES = [rules_pb2.LintIgnore(finding="L18", reason="as agreed"), rules_pb2.LintIgnore(finding="D23", reason="x")]
CONTENTS: dict[str, tuple[str, Any]] = {
    "SettingsPolicy": ("settings_policy", settings_policy_to_proto(settings_policy("it"))),
    "RulesPolicy": ("rules_policy", rules_policy_to_proto(rules_policy("it"))),
    "ReusableCertificate": ("reusable_certificate", certificate_to_proto(reusable("it"))),
}
DOCUMENTS = {
    "SettingsPolicy": "ElevationSettingsPolicy",
    "RulesPolicy": "ElevationRulesPolicy",
    "ReusableCertificate": "ReusableCertificate",
}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path) as made:
        yield made


def accepting(kind: str, *ignores: rules_pb2.LintIgnore) -> dict[str, Any]:
    field, content = CONTENTS[kind]
    message = type(content)()
    message.CopyFrom(content)
    message.lint_ignores.extend(ignores)
    return {field: message}


@pytest.mark.parametrize("kind", CONTENTS)
async def test_accepted_findings_come_back_and_stand_in_the_audit_record(service: Service, kind: str) -> None:
    field, _ = CONTENTS[kind]
    await service.call(f"Create{kind}", **accepting(kind, *IGNORES))
    found = getattr(await service.call(f"Get{kind}", name="it"), field)
    assert list(found.lint_ignores) == IGNORES
    spec = json.loads((await service.audited())[-1].after)["spec"]
    assert spec["lint"] == [{"ignore": "L18", "reason": "as agreed"}, {"ignore": "D23", "reason": "x"}]


@pytest.mark.parametrize("kind", CONTENTS)
async def test_accepting_a_finding_changes_nothing_for_devices(service: Service, kind: str) -> None:
    field, _ = CONTENTS[kind]
    created = getattr(await service.call(f"Create{kind}", **accepting(kind)), field)
    created.lint_ignores.extend(IGNORES)
    updated = getattr(await service.call(f"Update{kind}", **{field: created}), field)
    assert (updated.metadata.change, updated.metadata.revision) == (2, 1)


@pytest.mark.parametrize("kind", CONTENTS)
async def test_accepting_needs_a_check_that_there_may_be_and_a_reason(service: Service, kind: str) -> None:
    field, _ = CONTENTS[kind]
    wrong = accepting(kind, rules_pb2.LintIgnore(finding="X1", reason=" "))
    refused = await service.refused(f"Create{kind}", **wrong)
    assert refused.fields == {f"{field}.lint_ignores[0].finding", f"{field}.lint_ignores[0].reason"}


async def test_a_certificate_tells_what_it_is_and_says_nothing_of_it_itself(service: Service) -> None:
    message = certificate_to_proto(reusable("it"))
    message.subject, message.fingerprint = "CN=somebody else", "00"
    created = (await service.call("CreateReusableCertificate", reusable_certificate=message)).reusable_certificate
    certificate = reusable().certificate
    assert (created.subject, created.issuer) == (certificate.subject, certificate.issuer)
    assert created.subject.startswith("CN=")
    assert created.fingerprint == hashlib.sha256(certificate.der).hexdigest()
    assert created.not_before.ToDatetime(tzinfo=UTC) == certificate.not_before
    assert created.not_after.ToDatetime(tzinfo=UTC) == certificate.not_after
    listed = await service.call("ListReusableCertificates", filter=f"fingerprint = {created.fingerprint}")
    assert list(listed.reusable_certificates) == [created]


@pytest.mark.parametrize("kind", CONTENTS)
async def test_an_object_tells_who_made_it_and_who_changed_it_last(service: Service, kind: str) -> None:
    field, _ = CONTENTS[kind]
    service.hire("emil", {CREATE, READ})
    created = getattr(await service.call(f"Create{kind}", by="emil", **accepting(kind)), field)
    assert (created.metadata.created_by, created.metadata.updated_by) == ("user:emil", "user:emil")
    created.metadata.description = "changed"
    service.clock.advance(timedelta(hours=1))
    about = getattr(await service.call(f"Update{kind}", **{field: created}), field).metadata
    assert (about.created_by, about.updated_by) == ("user:emil", "user:root")
    assert (about.created.ToDatetime(tzinfo=UTC), about.updated.ToDatetime(tzinfo=UTC)) == (
        NOW,
        NOW + timedelta(hours=1),
    )
    assert (about.change, about.applied_change, about.etag) == (2, 0, "2")


@pytest.mark.parametrize("kind", CONTENTS)
async def test_a_duplicate_is_like_the_original_and_for_nobody(service: Service, kind: str) -> None:
    field, _ = CONTENTS[kind]
    given = accepting(kind, *IGNORES)
    given[field].metadata.labels["owner"] = "team"
    given[field].metadata.scope_tags.append("emea")
    if kind != "ReusableCertificate":
        given[field].assignments.include.add(group="laptops")
    original = getattr(await service.call(f"Create{kind}", **given), field)
    ref = policies_pb2.ObjectRef(kind=DOCUMENTS[kind], name="it")
    copy = getattr((await service.call("DuplicateObject", original=ref, new_name="copy")).object, field)
    assert (copy.metadata.name, copy.metadata.revision) == ("copy", 2)
    if kind != "ReusableCertificate":
        original.ClearField("assignments")
        assert copy.HasField("assignments")
        assert not copy.assignments.include
        copy.ClearField("assignments")
    assert list(copy.metadata.scope_tags) == ["emea"]
    assert dict(copy.metadata.labels) == {"owner": "team"}
    copy.metadata.CopyFrom(original.metadata)
    assert copy == original


async def test_duplicating_takes_a_name_that_is_free_and_an_original_in_sight(service: Service) -> None:
    await service.call("CreateSettingsPolicy", **accepting("SettingsPolicy"))
    service.hire("emil", {CREATE, READ}, scope_tags={"emea"})
    service.hire("blind", {CREATE})

    async def refused(kind: str, name: str, new_name: str, by: str = "root") -> tuple[str, set[str]]:
        ref = policies_pb2.ObjectRef(kind=kind, name=name)
        told = await service.refused("DuplicateObject", by=by, original=ref, new_name=new_name)
        return told.code, told.fields

    assert await refused("ElevationSettingsPolicy", "it", "it") == ("ALREADY_EXISTS", set())
    assert await refused("ElevationSettingsPolicy", "it", "") == ("INVALID_ARGUMENT", {"new_name"})
    assert await refused("SettingsPolicy", "it", "new") == ("INVALID_ARGUMENT", {"original.kind"})
    assert await refused("ElevationSettingsPolicy", "nobody", "new") == ("NOT_FOUND", set())
    assert await refused("ElevationRulesPolicy", "it", "new") == ("NOT_FOUND", set())
    assert await refused("ElevationSettingsPolicy", "it", "new", by="emil") == ("NOT_FOUND", set())
    assert (await refused("ElevationSettingsPolicy", "it", "new", by="blind"))[0] == "PERMISSION_DENIED"


async def test_duplicating_hands_out_no_tags_out_of_scope(service: Service) -> None:
    shared = accepting("SettingsPolicy")
    shared["settings_policy"].metadata.scope_tags.extend(["apac", "emea"])
    await service.call("CreateSettingsPolicy", **shared)
    service.hire("emil", {CREATE, READ}, scope_tags={"emea"})
    ref = policies_pb2.ObjectRef(kind="ElevationSettingsPolicy", name="it")
    refused = await service.refused("DuplicateObject", by="emil", original=ref, new_name="new")
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "SCOPE_TAG_OUT_OF_SCOPE")


async def test_an_operator_says_how_many_rules_a_policy_holds(tmp_path: Path) -> None:
    async with running(tmp_path, most_rules=2) as service:
        rules = [rule("a"), rule("b"), rule("c")]
        wide = rules_policy_to_proto(rules_policy("wide", *rules))
        refused = await service.refused("CreateRulesPolicy", rules_policy=wide)
        assert refused.problems == {
            "rules_policy.rules": "has 3 rules; at most 2 go into one policy, so split it",
        }
        narrow = rules_policy_to_proto(rules_policy("wide", *rules[:2]))
        created = (await service.call("CreateRulesPolicy", rules_policy=narrow)).rules_policy
        created.rules.append(wide.rules[2])
        refused = await service.refused("UpdateRulesPolicy", rules_policy=created)
        assert refused.fields == {"rules_policy.rules"}
        refused = await service.refused("ApplyPolicies", rules_policies=[wide])
        assert refused.fields == {"rules_policies[0].rules"}


async def test_a_policy_may_hold_as_many_rules_as_an_operator_allows() -> None:
    at = desk()
    at.most_rules = 1000
    rules = [replace(rule(f"r{number}"), lint=(LintIgnore("L7", "x"),)) for number in range(1000)]
    assert len((await at.create(rules_policy("wide", *rules))).content.rules) == 1000


async def test_a_policy_keeps_what_no_author_could_write_any_more_and_gets_no_more_of_it() -> None:
    at = desk()
    odd = replace(rule("COP"), lint=(LintIgnore("L99", "x"), LintIgnore("L7", "x"), LintIgnore("L7", "x")))
    old = rules_policy("old", odd, rule("\u0421\u041e\u0420"), lint=(LintIgnore("L1", "x"),))
    kept = await at.keep(old)
    changed = await at.update(replace(old, description="as it was"), etag=kept.about.etag)
    assert (changed.content.rules, changed.content.lint) == (old.rules, old.lint)
    worse = replace(old, lint=(*old.lint, LintIgnore("L98", "x")))
    with pytest.raises(InvalidError) as refused:
        await at.update(worse, etag=changed.about.etag)
    assert [problem.field for problem in refused.value.problems] == ["rules_policy.lint_ignores[1].finding"]


async def test_a_list_is_filtered_and_sorted_as_the_call_says(service: Service) -> None:
    for name in ("a", "b", "c"):
        policy = settings_policy(name, assignments=included(*(["laptops"] if name != "b" else [])))
        await service.call("CreateSettingsPolicy", settings_policy=settings_policy_to_proto(policy))
    first = await service.call(
        "ListSettingsPolicies", filter="assigned = laptops", order_by="updated desc", page_size=1
    )
    assert [item.metadata.name for item in first.settings_policies] == ["c"]
    rest = await service.call(
        "ListSettingsPolicies",
        filter="assigned = laptops",
        order_by="updated desc",
        page_size=1,
        page_token=first.next_page_token,
    )
    assert [item.metadata.name for item in rest.settings_policies] == ["a"]
    refused = await service.refused("ListSettingsPolicies", filter="a", order_by="b", page_size=-1)
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"filter", "order_by", "page_size"})


async def test_a_filter_finds_nothing_that_is_out_of_sight(service: Service) -> None:
    for name, tag in (("seen", "emea"), ("hidden", "apac")):
        given = accepting("SettingsPolicy")
        given["settings_policy"].metadata.name = name
        given["settings_policy"].metadata.scope_tags.append(tag)
        await service.call("CreateSettingsPolicy", **given)
    service.hire("emil", {READ, UPDATE, ASSIGN}, scope_tags={"emea"})
    found = await service.call("ListSettingsPolicies", by="emil", filter="scopeTag = apac OR name:*")
    assert [item.metadata.name for item in found.settings_policies] == ["seen"]
