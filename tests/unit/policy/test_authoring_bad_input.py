"""Bad input over the wire: every flaw by its field, all of them at once, and nothing written."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from epm.elevation.v1 import rules_pb2, settings_pb2
from epm.policy.v1 import policies_pb2
from tests.builders.authoring_service import Service, running
from tests.builders.documents import HASH
from tests.builders.elevation import pem

BELL, TURN, UNSEEN, TWIN = "a\ab", "a\u202eb", "a\u200bb", "p\u0430ypal"
LONG = "x" * 5000
RULES = 6
UNKNOWN: Any = 99

Change = Callable[[policies_pb2.RulesPolicy], object]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path) as made:
        yield made


def rules_policy() -> policies_pb2.RulesPolicy:
    """Make a policy of rules that nothing is wrong with."""
    return policies_pb2.RulesPolicy(
        metadata=policies_pb2.Metadata(name="tools"),
        platform=rules_pb2.PLATFORM_WINDOWS,
        rules=[
            rules_pb2.Rule(
                name=f"r{number}",
                elevation_type=rules_pb2.ELEVATION_TYPE_USER_CONFIRMED,
                detection=rules_pb2.Detection(file_name=f"f{number}.exe", file_hash=HASH),
                arguments=rules_pb2.ArgumentList(command_lines=["/a", "/b"]),
            )
            for number in range(RULES)
        ],
        assignments=policies_pb2.Assignments(include=[policies_pb2.IncludedGroup(group="laptops")]),
    )


def settings_policy() -> policies_pb2.SettingsPolicy:
    """Make a settings policy that nothing is wrong with."""
    return policies_pb2.SettingsPolicy(
        metadata=policies_pb2.Metadata(name="on"),
        settings=settings_pb2.ElevationSettings(
            enabled=True,
            default_response=settings_pb2.DEFAULT_RESPONSE_DENY,
            send_reporting_data=True,
            reporting_scope=settings_pb2.REPORTING_SCOPE_ALL,
        ),
    )


ABOUT: dict[str, tuple[Callable[[policies_pb2.Metadata], object], str]] = {
    "no name": (lambda about: about.ClearField("name"), "name"),
    "a blank name": (lambda about: setattr(about, "name", "  "), "name"),
    "a bell in the name": (lambda about: setattr(about, "name", BELL), "name"),
    "a name that turns": (lambda about: setattr(about, "name", TURN), "name"),
    "a name with something unseen": (lambda about: setattr(about, "name", UNSEEN), "name"),
    "a name of two alphabets": (lambda about: setattr(about, "name", TWIN), "name"),
    "a name that is not composed": (lambda about: setattr(about, "name", "cafe\u0301"), "name"),
    "a long name": (lambda about: setattr(about, "name", LONG), "name"),
    "a bell in the description": (lambda about: setattr(about, "description", BELL), "description"),
    "a description that turns": (lambda about: setattr(about, "description", TURN), "description"),
    "a long description": (lambda about: setattr(about, "description", LONG), "description"),
    "a bell in a tag": (lambda about: about.scope_tags.append(BELL), "scope_tags"),
    "an unseen character in a tag": (lambda about: about.scope_tags.append(UNSEEN), "scope_tags"),
    "a bell in a label": (lambda about: about.labels.update({"owner": BELL}), 'labels["owner"]'),
    "a label that turns": (lambda about: about.labels.update({"owner": TURN}), 'labels["owner"]'),
}
IN_RULES: dict[str, tuple[Change, str]] = {
    "no name": (lambda it: it.rules[0].ClearField("name"), "rules[0].name"),
    "a bell in a rule's name": (lambda it: setattr(it.rules[1], "name", BELL), "rules[1].name"),
    "a rule of two alphabets": (lambda it: setattr(it.rules[2], "name", TWIN), "rules[2].name"),
    "two rules of one name": (lambda it: setattr(it.rules[3], "name", "R4"), "rules[4].name"),
    "a bell in a rule's description": (lambda it: setattr(it.rules[0], "description", BELL), "rules[0].description"),
    "a rule's description that turns": (lambda it: setattr(it.rules[1], "description", TURN), "rules[1].description"),
    "a type that nobody knows": (lambda it: setattr(it.rules[2], "elevation_type", 99), "rules[2].elevation_type"),
    "a validation that nobody knows": (lambda it: it.rules[3].validations.append(UNKNOWN), "rules[3].validations[0]"),
    "children that nobody knows": (lambda it: setattr(it.rules[4], "child_processes", 99), "rules[4].child_processes"),
    "no hash": (lambda it: it.rules[5].detection.ClearField("file_hash"), "rules[5].detection.file_hash"),
    "a hash that is none": (
        lambda it: setattr(it.rules[3].detection, "file_hash", "12"),
        "rules[3].detection.file_hash",
    ),
    "a bell in a hash": (lambda it: setattr(it.rules[2].detection, "file_hash", BELL), "rules[2].detection.file_hash"),
    "no file": (lambda it: it.rules[0].detection.ClearField("file_name"), "rules[0].detection.file_name"),
    "a bell in a file": (
        lambda it: setattr(it.rules[1].detection, "file_name", "\a.exe"),
        "rules[1].detection.file_name",
    ),
    "a file that turns": (
        lambda it: setattr(it.rules[2].detection, "file_name", "a\u202efdp.exe"),
        "rules[2].detection.file_name",
    ),
    "a folder of the network": (
        lambda it: setattr(it.rules[0].detection, "file_path", "\\\\host\\share"),
        "rules[0].detection.file_path",
    ),
    "a folder with something unseen": (
        lambda it: setattr(it.rules[1].detection, "file_path", "C:\\a\u200bb"),
        "rules[1].detection.file_path",
    ),
    "a version that is none": (
        lambda it: setattr(it.rules[0].detection, "minimum_version", "one"),
        "rules[0].detection.minimum_version",
    ),
    "a bell in a product": (
        lambda it: setattr(it.rules[0].detection, "product_name", BELL),
        "rules[0].detection.product_name",
    ),
    "a product that turns": (
        lambda it: setattr(it.rules[1].detection, "product_name", TURN),
        "rules[1].detection.product_name",
    ),
    "a long fact": (
        lambda it: setattr(it.rules[0].detection, "file_description", LONG),
        "rules[0].detection.file_description",
    ),
    "an internal name with something unseen": (
        lambda it: setattr(it.rules[0].detection, "internal_name", UNSEEN),
        "rules[0].detection.internal_name",
    ),
    "a long argument": (
        lambda it: it.rules[0].arguments.command_lines.append(LONG * 2),
        "rules[0].arguments.command_lines[2]",
    ),
    "a bell in an argument": (
        lambda it: it.rules[1].arguments.command_lines.append(BELL),
        "rules[1].arguments.command_lines[2]",
    ),
    "an argument that turns": (
        lambda it: it.rules[2].arguments.command_lines.append(TURN),
        "rules[2].arguments.command_lines[2]",
    ),
    "a check that is none": (
        lambda it: it.rules[0].lint_ignores.add(finding="L1000", reason="x"),
        "rules[0].lint_ignores[0].finding",
    ),
    "no reason": (lambda it: it.rules[1].lint_ignores.add(finding="L7"), "rules[1].lint_ignores[0].reason"),
    "a reason that turns": (
        lambda it: it.rules[2].lint_ignores.add(finding="L7", reason=TURN),
        "rules[2].lint_ignores[0].reason",
    ),
    "a reason of the policy's that turns": (
        lambda it: it.lint_ignores.add(finding="L18", reason=TURN),
        "lint_ignores[0].reason",
    ),
    "a check of the policy's that is none": (
        lambda it: it.lint_ignores.extend([good(), rules_pb2.LintIgnore(finding="X", reason="x")]),
        "lint_ignores[1].finding",
    ),
    "a group that is not there": (
        lambda it: it.assignments.include.add(group="unheard-of"),
        "assignments.include[1].group",
    ),
    "a filter that is none": (
        lambda it: setattr(it.assignments.include[0], "filter", "os ="),
        "assignments.include[0].filter",
    ),
    "a filter that turns": (
        lambda it: setattr(it.assignments.include[0], "filter", f'tag = "{TURN}"'),
        "assignments.include[0].filter",
    ),
}
TOGETHER = (
    "a bell in a rule's name",
    "a rule of two alphabets",
    "a bell in a rule's description",
    "a hash that is none",
    "a type that nobody knows",
    "children that nobody knows",
    "no hash",
    "a folder with something unseen",
    "a product that turns",
    "a long argument",
    "a check that is none",
    "a reason of the policy's that turns",
    "a group that is not there",
)


def good() -> rules_pb2.LintIgnore:
    return rules_pb2.LintIgnore(finding="L18", reason="pilot")


async def test_nothing_is_wrong_with_what_is_changed_here(service: Service) -> None:
    await service.call("CreateRulesPolicy", rules_policy=rules_policy())
    await service.call("CreateSettingsPolicy", settings_policy=settings_policy())


@pytest.mark.parametrize(("change", "field"), IN_RULES.values(), ids=IN_RULES)
async def test_one_flaw_of_a_rules_policy_is_refused_by_its_field(service: Service, change: Change, field: str) -> None:
    policy = rules_policy()
    change(policy)
    refused = await service.refused("CreateRulesPolicy", rules_policy=policy)
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {f"rules_policy.{field}"})
    assert refused.problems[f"rules_policy.{field}"].isprintable(), "a refusal shows what was refused"


@pytest.mark.parametrize(("change", "field"), ABOUT.values(), ids=ABOUT)
@pytest.mark.parametrize("kind", ["rules_policy", "settings_policy", "reusable_certificate"])
async def test_one_flaw_of_any_object_is_refused_by_its_field(
    service: Service, kind: str, change: Callable[[policies_pb2.Metadata], object], field: str
) -> None:
    made: dict[str, tuple[str, Any]] = {
        "rules_policy": ("CreateRulesPolicy", rules_policy()),
        "settings_policy": ("CreateSettingsPolicy", settings_policy()),
        "reusable_certificate": (
            "CreateReusableCertificate",
            policies_pb2.ReusableCertificate(metadata=policies_pb2.Metadata(name="vendor"), pem=pem("vendor")),
        ),
    }
    rpc, message = made[kind]
    change(message.metadata)
    refused = await service.refused(rpc, **{kind: message})
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {f"{kind}.metadata.{field}"})


async def test_all_that_is_wrong_is_told_at_once_and_nothing_is_written(service: Service) -> None:
    policy = rules_policy()
    for told in TOGETHER:
        IN_RULES[told][0](policy)
    policy.metadata.description = BELL
    refused = await service.refused("CreateRulesPolicy", rules_policy=policy)
    wanted = {f"rules_policy.{IN_RULES[told][1]}" for told in TOGETHER} | {"rules_policy.metadata.description"}
    assert (refused.code, wanted - refused.fields, refused.fields - wanted) == ("INVALID_ARGUMENT", set(), set())
    assert (await service.refused("GetRulesPolicy", name="tools")).code == "NOT_FOUND"


async def test_all_that_is_wrong_in_all_objects_of_an_apply_is_told_at_once(service: Service) -> None:
    bad, settings = rules_policy(), settings_policy()
    bad.rules[2].detection.file_hash = "12"
    settings.metadata.name = TWIN
    settings.lint_ignores.add(finding="L18")
    certificate = policies_pb2.ReusableCertificate(metadata=policies_pb2.Metadata(name="v"), pem="hello")
    refused = await service.refused(
        "ApplyPolicies", rules_policies=[bad], settings_policies=[settings], reusable_certificates=[certificate]
    )
    assert refused.fields == {
        "rules_policies[0].rules[2].detection.file_hash",
        "settings_policies[0].metadata.name",
        "settings_policies[0].lint_ignores[0].reason",
        "reusable_certificates[0].pem",
    }
    assert (await service.refused("GetRulesPolicy", name="tools")).code == "NOT_FOUND"


async def test_a_name_that_a_copy_gets_is_checked_too(service: Service) -> None:
    await service.call("CreateRulesPolicy", rules_policy=rules_policy())
    original = policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="tools")
    refused = await service.refused("DuplicateObject", original=original, new_name=TWIN)
    assert (refused.code, len(refused.fields)) == ("INVALID_ARGUMENT", 1)


async def test_a_name_that_looks_like_one_that_is_there_is_refused_where_it_is_given(service: Service) -> None:
    first, twin = rules_policy(), rules_policy()
    first.metadata.name, twin.metadata.name = "COP", "\u0421\u041e\u0420"
    await service.call("CreateRulesPolicy", rules_policy=first)
    original = policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="COP")

    refused = await service.refused("CreateRulesPolicy", rules_policy=twin)
    assert refused.problems == {
        "rules_policy.metadata.name": 'looks the same as "COP", which is there already; choose a name that does not'
    }
    assert (await service.refused("DuplicateObject", original=original, new_name=twin.metadata.name)).fields
    assert (await service.refused("ApplyPolicies", rules_policies=[twin])).fields == {"rules_policies[0].metadata.name"}

    settings = settings_policy()
    settings.metadata.name = twin.metadata.name
    await service.call("CreateSettingsPolicy", settings_policy=settings)


async def test_two_names_of_one_apply_that_look_the_same_are_refused(service: Service) -> None:
    first, twin = rules_policy(), rules_policy()
    first.metadata.name, twin.metadata.name = "COP", "\u0421\u041e\u0420"
    refused = await service.refused("ApplyPolicies", rules_policies=[first, twin])
    assert refused.fields == {"rules_policies[0].metadata.name", "rules_policies[1].metadata.name"}


async def test_two_rules_of_a_policy_that_look_the_same_are_refused(service: Service) -> None:
    policy = rules_policy()
    policy.rules[0].name, policy.rules[2].name = "COP", "\u0421\u041e\u0420"
    refused = await service.refused("CreateRulesPolicy", rules_policy=policy)
    assert refused.problems == {
        "rules_policy.rules[2].name": 'looks the same as "COP", the name of rules[0]; choose a name that does not'
    }


async def test_only_checks_that_there_are_are_set_aside_each_once_and_where_it_belongs(service: Service) -> None:
    policy = rules_policy()
    for check in ("L7", "L99", "L1", "L18", "L7"):
        policy.rules[0].lint_ignores.add(finding=check, reason="x")
    policy.lint_ignores.add(finding="L7", reason="x")
    refused = await service.refused("CreateRulesPolicy", rules_policy=policy)
    assert refused.fields == {
        *(f"rules_policy.rules[0].lint_ignores[{number}].finding" for number in (1, 2, 3, 4)),
        "rules_policy.lint_ignores[0].finding",
    }
