"""Every method that writes, over TLS: rehearsed, repeated under an identifier, and told what lint finds."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from elevation.lint.findings import Finding, Severity, Subject
from epm.policy.v1 import lint_pb2, policies_pb2
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto, settings_policy_to_proto
from tests.builders.authoring_service import Service, running
from tests.builders.policy import reusable, rules_policy, settings_policy

CONTENTS: dict[str, tuple[str, Any]] = {
    "SettingsPolicy": ("settings_policy", settings_policy_to_proto(settings_policy("it"))),
    "RulesPolicy": ("rules_policy", rules_policy_to_proto(rules_policy("it"))),
    "ReusableCertificate": ("reusable_certificate", certificate_to_proto(reusable("it"))),
}
LAPTOPS = policies_pb2.Assignments(include=[policies_pb2.IncludedGroup(group="laptops")])
WRITING = [
    method.name
    for method in policies_pb2.DESCRIPTOR.services_by_name["PolicyService"].methods
    if "validate_only" in method.input_type.fields_by_name
]
VOLATILE = ("revision", "etag", "change", "created", "updated")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path) as made:
        for kind, (field, content) in CONTENTS.items():
            await made.call(f"Create{kind}", **{field: content})
        yield made


async def request_of(service: Service, rpc: str) -> dict[str, Any]:
    """Return the fields of a call that changes something."""
    if rpc == "ApplyPolicies":
        return {"settings_policies": [settings_policy_to_proto(settings_policy("new"))]}
    if rpc == "DuplicateObject":
        return {"original": policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="it"), "new_name": "new"}
    verb = next(verb for verb in ("Create", "Update", "Delete", "Assign") if rpc.startswith(verb))
    kind = rpc.removeprefix(verb)
    if verb == "Delete":
        return {"name": "it"}
    if verb == "Assign":
        return {"name": "it", "assignments": LAPTOPS}
    field, content = CONTENTS[kind]
    message = type(content)()
    message.CopyFrom(content)
    if verb == "Create":
        message.metadata.name = "new"
    else:
        message.CopyFrom(getattr(await service.call(f"Get{kind}", name="it"), field))
        message.metadata.description = "changed"
    return {field: message}


def steady(answer: Any) -> Any:
    """Return the answer without what a rehearsal cannot know."""
    plain = type(answer)()
    plain.CopyFrom(answer)
    for _, value in plain.ListFields():
        about = getattr(value, "metadata", None)
        if hasattr(value, "WhichOneof") and "object" in value.DESCRIPTOR.oneofs_by_name:
            about = getattr(value, value.WhichOneof("object")).metadata
        if about is not None:
            for name in VOLATILE:
                about.ClearField(name)
    if isinstance(plain, policies_pb2.ApplyPoliciesResponse):
        plain.revision = 0
        for applied in plain.objects:
            applied.etag = ""
    return plain


async def state(service: Service) -> tuple[int, int]:
    return await service.database.current_revision(), len(await service.audited())


@pytest.mark.parametrize("rpc", WRITING)
async def test_a_rehearsal_changes_nothing_and_is_answered_as_the_call_would_be(service: Service, rpc: str) -> None:
    fields, before = await request_of(service, rpc), await state(service)
    rehearsed = await service.call(rpc, **fields, validate_only=True)
    assert await state(service) == before
    done = await service.call(rpc, **fields)
    assert await state(service) == (before[0] + 1, before[1] + 1)
    assert steady(rehearsed) == steady(done)


@pytest.mark.parametrize("rpc", WRITING)
async def test_a_repeated_call_does_nothing_and_gets_the_answer_of_the_first(service: Service, rpc: str) -> None:
    fields = await request_of(service, rpc)
    first = await service.call(rpc, **fields, request_id="id-1")
    await change_everything(service)
    before = await state(service)
    assert await service.call(rpc, **fields, request_id="id-1") == first
    assert await state(service) == before
    used = await service.refused("DeleteSettingsPolicy", name="any", request_id="id-1")
    assert (used.code, used.reason) == ("ALREADY_EXISTS", "REQUEST_ID_USED")


async def change_everything(service: Service) -> None:
    for many in ("SettingsPolicies", "RulesPolicies", "ReusableCertificates"):
        listed = await service.call(f"List{many}")
        objects = next((value for _, value in listed.ListFields()), ())
        for item in objects:
            await service.call(f"Delete{item.DESCRIPTOR.name}", name=item.metadata.name)


@pytest.mark.parametrize("rpc", WRITING)
async def test_an_identifier_that_is_none_is_refused(service: Service, rpc: str) -> None:
    refused = await service.refused(rpc, **await request_of(service, rpc), request_id="no id")
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"request_id"})


async def test_every_method_that_may_be_rehearsed_may_be_repeated() -> None:
    methods = policies_pb2.DESCRIPTOR.services_by_name["PolicyService"].methods
    repeatable = [method.name for method in methods if "request_id" in method.input_type.fields_by_name]
    assert repeatable == WRITING
    assert len(WRITING) == 13


def found(severity: Severity, name: str, *, path: str = "rules[0].detection.fileHash", ignored: str = "") -> Finding:
    return Finding(
        check="L15",
        severity=severity,
        subject=Subject("ElevationRulesPolicy", name, "setup"),
        path=path,
        message="is found",
        why="it matters",
        remedy="mend it",
        related=(Subject("ElevationSettingsPolicy", "it"),),
        ignored_because=ignored,
    )


TELLING = [rpc for rpc in WRITING if not rpc.startswith("Delete")]


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize("rpc", TELLING)
async def test_what_lint_finds_comes_with_the_answer(service: Service, rpc: str, *, validate_only: bool) -> None:
    fields = await request_of(service, rpc)
    name = "it" if rpc.startswith(("Update", "Assign")) else "new"
    service.linting.found = [
        found(Severity.HIGH, name),
        found(Severity.WARNING, name, ignored="known"),
        found(Severity.INFO, "another"),
    ]
    answer = await service.call(rpc, **fields, validate_only=validate_only)
    assert list(answer.findings) == [
        lint_pb2.Finding(
            id="L15",
            severity=lint_pb2.SEVERITY_HIGH,
            kind="ElevationRulesPolicy",
            name=name,
            rule="setup",
            path="rules[0].detection.fileHash",
            message="is found",
            why="it matters",
            remedy="mend it",
            related=[lint_pb2.RelatedObject(kind="ElevationSettingsPolicy", name="it")],
        )
    ]


async def test_an_answer_carries_at_most_200_findings(service: Service) -> None:
    service.linting.found = [found(Severity.INFO, "new")] * 201
    answer = await service.call("CreateRulesPolicy", **await request_of(service, "CreateRulesPolicy"))
    assert len(answer.findings) == 200


@pytest.mark.parametrize("rpc", ["CreateRulesPolicy", "UpdateRulesPolicy", "DuplicateObject"])
@pytest.mark.parametrize("validate_only", [False, True])
async def test_an_error_of_lint_blocks_the_save(service: Service, rpc: str, *, validate_only: bool) -> None:
    fields, before = await request_of(service, rpc), await state(service)
    service.linting.found = [found(Severity.ERROR, "it" if rpc.startswith("Update") else "new")]
    refused = await service.refused(rpc, **fields, validate_only=validate_only)
    place = "original" if rpc == "DuplicateObject" else "rules_policy"
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {f"{place}.rules[0].detection.file_hash"})
    assert "is found (L15); mend it" in refused.message
    assert await state(service) == before


async def test_an_error_of_lint_comes_with_all_the_others(service: Service) -> None:
    service.linting.found = [found(Severity.ERROR, "new")]
    policy = rules_policy_to_proto(rules_policy("new", description="x" * 1025))
    refused = await service.refused("CreateRulesPolicy", rules_policy=policy)
    assert refused.fields == {"rules_policy.rules[0].detection.file_hash", "rules_policy.metadata.description"}


async def test_an_assignment_is_refused_for_errors_about_assignments_alone(service: Service) -> None:
    service.linting.found = [found(Severity.ERROR, "it")]
    await service.call("AssignRulesPolicy", name="it", assignments=LAPTOPS)
    service.linting.found = [found(Severity.ERROR, "it", path="assignments.include[0].filter")]
    assert await service.call("AssignRulesPolicy", name="it")
    refused = await service.refused("AssignRulesPolicy", name="it", assignments=LAPTOPS)
    assert refused.fields == {"assignments.include[0].filter"}
