"""Rules that are proposed for files that were seen, as the service answers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elevation.codec.events import encode_file
from elevation.codec.rules import decode_rule
from elevation.model import (
    ChildProcesses,
    ElevationType,
    FileEvidence,
    Platform,
    ReusableCertificate,
    Rule,
)
from epm.elevation.v1 import event_pb2, rules_pb2
from services.policy.model.certificates import fingerprint_of
from tests.builders.analysis import Questions, office, questions, tagged, tools
from tests.builders.elevation import HASH, OTHER_HASH, certificate, evidence, policy, publisher, rule, signer
from tests.fakes.policy_delivery import settings, stored

SETUP = evidence(
    version="1.84.2.0",
    description="Setup of it",
    product_name="It",
    internal_name="it-setup",
    company_name="Vendor",
    signers=(signer(),),
)
VENDOR = ReusableCertificate("vendor", certificate("vendor"))
PLATFORMS = {
    Platform.WINDOWS: rules_pb2.PLATFORM_WINDOWS,
    Platform.LINUX: rules_pb2.PLATFORM_LINUX,
    Platform.MACOS: rules_pb2.PLATFORM_MACOS,
}
LINUX = rules_pb2.PLATFORM_LINUX
DER = [certificate("vendor").der, certificate("issuing").der]


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Questions]:
    async with questions(tmp_path, office()) as made:
        yield made


def seen(file: FileEvidence = SETUP, **fields: Any) -> dict[str, Any]:
    """Say what was seen, as an event tells it."""
    return {"file": encode_file(file), "platform": rules_pb2.PLATFORM_WINDOWS, **fields}


async def proposed(asked: Questions, file: FileEvidence = SETUP, **fields: Any) -> Rule:
    found = await asked.call("ProposeRule", **seen(file, **fields))
    return decode_rule(found.rule)


async def test_the_narrowest_detection_is_proposed(asked: Questions) -> None:
    made = await proposed(asked, certificates=DER)
    detection = made.detection
    assert (made.name, made.elevation_type, made.arguments) == ("setup", ElevationType.USER_CONFIRMED, None)
    assert made.child_processes is ChildProcesses.REQUIRE_RULE
    assert (detection.file_name, detection.file_path, detection.file_hash) == ("setup.exe", "", HASH)
    assert detection.certificate == publisher()
    assert (detection.product_name, detection.internal_name) == ("It", "it-setup")
    assert (detection.file_description, detection.minimum_version) == ("Setup of it", "")


async def test_every_field_of_the_detection_is_explained(asked: Questions) -> None:
    found = await asked.call("ProposeRule", **seen())
    assert [note.partition(":")[0] for note in found.notes] == [
        "fileName",
        "filePath",
        "fileHash",
        "certificate",
        "minimumVersion",
        "fileDescription",
        "productName",
        "internalName",
    ]
    assert "the fingerprint of the signing certificate alone" in found.notes[3]


async def test_a_new_policy_is_for_nobody_and_a_stored_one_is_whole_with_its_etag(asked: Questions) -> None:
    new = (await asked.call("ProposeRule", **seen(origin="event e1"))).rules_policy
    assert (new.metadata.name, new.metadata.etag, len(new.rules)) == ("setup", "", 1)
    assert not new.assignments.include
    assert new.metadata.description == new.rules[0].description == "Made from event e1: setup.exe 1.84.2.0"
    asked.world.author(stored(settings()), stored(replace(tools("tools"), description="ours"), 7))
    found = await asked.call("ProposeRule", **seen(policy="tools"))
    whole = found.rules_policy
    assert (whole.metadata.name, whole.metadata.etag, whole.metadata.description) == ("tools", "7", "ours")
    assert [each.name for each in whole.rules] == ["setup", "setup-2"]
    assert whole.assignments.include[0].group == "all-devices"
    assert whole.rules[1] == found.rule


async def test_names_are_unique_whatever_their_case(asked: Questions) -> None:
    asked.world.author(stored(tools("Setup")), stored(tools("setup-2")))
    assert (await asked.call("ProposeRule", **seen())).rules_policy.metadata.name == "setup-3"
    refused = await asked.refused("ProposeRule", **seen(policy="Setup", rule_name="SETUP"))
    assert refused.problems == {"rule_name": '"SETUP" is the name of another rule of the policy; choose another name'}


@pytest.mark.parametrize(
    ("path", "folder"), [(r"C:\Installers\setup.exe", r"C:\Installers"), (r"C:\setup.exe", "C:\\")]
)
async def test_the_same_path_is_the_folder_of_the_file(asked: Questions, path: str, folder: str) -> None:
    made = await proposed(asked, replace(SETUP, path=path), same_path=True)
    assert made.detection.file_path == folder


async def test_later_versions_are_recognised_by_their_publisher(asked: Questions) -> None:
    made = await proposed(asked, certificates=DER, by_publisher=True)
    detection = made.detection
    assert (detection.certificate, detection.file_hash, detection.minimum_version) == (publisher(), "", "1.84.2.0")
    assert (detection.product_name, detection.internal_name, detection.file_description) == ("It", "it-setup", "")


async def test_a_stored_certificate_that_may_be_seen_is_named(asked: Questions) -> None:
    asked.world.author(stored(settings()), certificates=[VENDOR])
    for given in ([], DER):
        made = await proposed(asked, by_publisher=True, certificates=given)
        assert made.detection.certificate is not None
        assert (made.detection.certificate.reusable, made.detection.certificate.certificate) == ("vendor", None)
    asked.hire("looker", scope_tags=["emea"])
    refused = await asked.refused("ProposeRule", "looker", **seen(by_publisher=True))
    assert "no reusable certificate that you may see has it" in refused.problems["by_publisher"]


@pytest.mark.parametrize(
    ("changed", "fields", "field", "message"),
    [
        ({"signers": ()}, {"by_publisher": True}, "by_publisher", "tells of no signature"),
        ({}, {"by_publisher": True, "platform": LINUX}, "by_publisher", "carry no certificates"),
        ({}, {"by_publisher": True, "elevation_type": 1, "certificates": DER}, "by_publisher", "AUTOMATIC"),
        ({"sha256": ""}, {}, "file.sha256", "set by_publisher"),
        ({"sha256": "", "path": "/opt/x"}, {"platform": LINUX}, "file.sha256", "set same_path"),
        ({"sha256": ""}, {"elevation_type": 1}, "file.sha256", "AUTOMATIC needs it"),
        ({"sha256": "12"}, {}, "file.sha256", "is not a SHA-256"),
        ({"path": ""}, {}, "file.path", "is missing"),
        ({"path": r"C:\x\a*b.exe"}, {}, "file.path", "rename the file"),
        ({"path": r"C:\x\a.doc"}, {}, "file.path", "needs the extension exe, msi or ps1"),
        ({"path": "C:\\x\\a\x07.exe"}, {}, "file.path", "control character"),
        ({"path": "C:\\x\\" + "a" * 300 + ".exe"}, {}, "file.path", "has 304 characters"),
        ({"path": "a.exe"}, {"same_path": True}, "same_path", "names no folder"),
        ({"path": r"\\server\share\a.exe"}, {"same_path": True}, "same_path", "network"),
        ({"path": "/a?/b"}, {"same_path": True, "platform": LINUX}, "same_path", "leave same_path out"),
        ({}, {"same_arguments": True, "elevation_type": 5}, "same_arguments", "does not go with DENY"),
        ({}, {"same_arguments": True, "arguments": ["a\nb"]}, "arguments", "control character"),
        ({}, {"rule_name": "a\x07"}, "rule_name", "control character"),
        ({}, {"origin": "a\x07"}, "origin", "control character"),
        ({}, {"platform": 0}, "platform", "is missing"),
        ({}, {"platform": 9}, "platform", "unknown value"),
        ({}, {"elevation_type": 9}, "elevation_type", "unknown value"),
        ({}, {"certificates": [b"x"]}, "certificates[0]", "is not a DER certificate"),
        ({}, {"certificates": [certificate("other").der]}, "certificates[0]", "give the signing one first"),
    ],
)
async def test_evidence_that_allows_no_rule_is_refused_with_the_reason(
    asked: Questions, changed: dict[str, Any], fields: dict[str, Any], *, field: str, message: str
) -> None:
    refused = await asked.refused("ProposeRule", **seen(replace(SETUP, **changed), **fields))
    assert refused.code == "INVALID_ARGUMENT"
    assert message in refused.problems[field]
    assert refused.fields == {field}


async def test_a_signature_that_counts_no_more_is_left_out_and_nothing_is_recognised_by_it(asked: Questions) -> None:
    expired = replace(SETUP, signers=(signer("expired"),))
    der = [certificate("expired").der]
    assert (await proposed(asked, expired, certificates=der)).detection.certificate is None
    refused = await asked.refused("ProposeRule", **seen(expired, certificates=der, by_publisher=True))
    assert "is not valid now" in refused.problems["by_publisher"]


async def test_a_rule_for_linux_says_what_becomes_of_children_and_names_no_certificate(asked: Questions) -> None:
    tool = evidence("/opt/tools/tool", product_name="tools")
    made = await proposed(asked, tool, platform=LINUX, certificates=DER)
    assert (made.child_processes, made.detection.certificate) == (ChildProcesses.REQUIRE_RULE, None)
    assert (made.detection.file_hash, made.detection.product_name) == (HASH, "tools")
    unread = await proposed(asked, replace(tool, sha256=""), platform=LINUX, same_path=True)
    assert (unread.detection.file_path, unread.detection.file_hash) == ("/opt/tools", "")


async def test_the_same_arguments_are_quoted_for_the_platform(asked: Questions) -> None:
    arguments = ["/log", r"C:\a b", 'say "x"']
    made = await proposed(asked, same_arguments=True, arguments=arguments)
    assert made.arguments == (r'/log "C:\a b" "say \"x\""',)
    assert (await proposed(asked, same_arguments=True)).arguments == ()
    assert (await proposed(asked, arguments=arguments)).arguments is None


async def test_a_rule_may_deny(asked: Questions) -> None:
    made = await proposed(asked, elevation_type=rules_pb2.ELEVATION_TYPE_DENY)
    assert (made.elevation_type, made.child_processes) == (ElevationType.DENY, None)


async def test_facts_that_no_rule_can_hold_are_left_blank(asked: Questions) -> None:
    file = replace(SETUP, product_name="a\x07", description="x" * 1025, internal_name="\u202eevil")
    found = await asked.call("ProposeRule", **seen(file))
    detection = decode_rule(found.rule).detection
    assert (detection.product_name, detection.file_description, detection.internal_name) == ("", "", "")
    assert "productName: blank: that of the file holds a control character" in found.notes


async def test_rules_that_recognise_the_file_already_are_told(asked: Questions) -> None:
    signed = policy(rule("any-version", certificate=publisher(), minimum_version="1.0"), name="signed")
    asked.world.author(
        stored(settings()),
        stored(tools("tools")),
        stored(tools("others", file_hash=OTHER_HASH)),
        stored(signed),
        stored(policy(rule("named", certificate=None, file_hash=HASH), name="mac", platform=Platform.MACOS)),
        tagged(tools("secret"), "emea"),
    )
    asked.hire("looker", scope_tags=["default"])
    found = await asked.call("ProposeRule", "looker", **seen())
    assert {(each.name, each.rule) for each in found.existing} == {("tools", "setup"), ("signed", "any-version")}


async def test_a_rule_by_its_folder_is_told_with_the_remark_that_root_alone_must_write_there(asked: Questions) -> None:
    by_folder = rule("by-folder", file_name="tool", file_path="/opt", children=ChildProcesses.DENY)
    asked.world.author(stored(policy(by_folder, name="opt", platform=Platform.LINUX)))
    found = await asked.call("ProposeRule", **seen(evidence("/opt/tool"), platform=LINUX))
    assert [(each.name, each.rule) for each in found.existing] == [("opt", "by-folder")]
    assert found.notes[-1].startswith('the rule "by-folder" of "opt" recognises the file already where nobody but root')


async def test_of_many_rules_that_recognise_the_file_the_first_are_named_and_all_counted(asked: Questions) -> None:
    many = [policy(*(rule(f"r{n}", file_hash=HASH) for n in range(100)), name=f"p{number}") for number in range(3)]
    asked.world.author(*map(stored, many))
    found = await asked.call("ProposeRule", **seen())
    assert len(found.existing) == 200
    assert found.notes[-1] == "300 rules recognise the file already; the first 200 are named"


async def test_lint_speaks_of_the_policy_as_it_would_be(asked: Questions) -> None:
    asked.world.author(stored(settings()), stored(tools("tools")))
    found = await asked.call("ProposeRule", **seen(policy="tools"))
    assert found.findings
    assert {(each.name, each.rule) for each in found.findings if each.rule} <= {
        ("tools", "setup"),
        ("tools", "setup-2"),
    }


async def test_the_policy_has_to_be_there_to_be_for_the_platform_and_to_have_room(asked: Questions) -> None:
    asked.world.author(tagged(tools("secret"), "emea"), stored(policy(rule(), name="mac", platform=Platform.MACOS)))
    asked.hire("looker", scope_tags=["default"])
    for name in ("none", "secret"):
        refused = await asked.refused("ProposeRule", "looker", **seen(policy=name))
        assert (refused.code, refused.message) == (
            "NOT_FOUND",
            f'there is no rules policy "{name}"; list them for their names',
        )
    refused = await asked.refused("ProposeRule", **seen(policy="mac"))
    assert refused.problems == {"policy": '"mac" is for MACOS and the file for WINDOWS; name another one or none'}
    full = policy(*(rule(f"rule-{number}", file_hash=HASH) for number in range(100)), name="full")
    asked.world.author(stored(full))
    refused = await asked.refused("ProposeRule", **seen(policy="full"))
    assert "101 rules" in refused.problems["policy"]


def test_what_an_event_tells_of_a_signature_is_the_fingerprint_of_the_certificate() -> None:
    told: event_pb2.FileFacts = encode_file(SETUP)
    assert told.publisher_fingerprint == fingerprint_of(certificate("vendor"))
