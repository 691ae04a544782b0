"""Certificates (V5) and argument lists (V8) are checked alike whether a rule comes as a document or as a message."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest

from elevation.rule_checks import MAX_COMMAND_LINE, MAX_COMMAND_LINES
from epm.elevation.v1 import rules_pb2
from epm.policy.v1 import policies_pb2
from epmctl.documents.load import DocumentSet, load
from epmctl.errors import BadInputError
from tests.builders.authoring_service import Service, running
from tests.builders.documents import HASH, document, write_documents
from tests.builders.elevation import pem

TOO_MANY = MAX_COMMAND_LINES + 1
TOO_LONG = "x" * (MAX_COMMAND_LINE + 1)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path) as made:
        yield made


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong with a rule, as a document says it and as a message does."""

    written: str
    """What the rule's document says besides its name and its file."""
    key: str
    message: rules_pb2.Rule
    field: str
    told: str


def certified(**condition: object) -> rules_pb2.Rule:
    return rules_pb2.Rule(detection=rules_pb2.Detection(certificate=rules_pb2.CertificateCondition(**condition)))  # type: ignore[arg-type]


def restricted(*lines: str, **fields: object) -> rules_pb2.Rule:
    listed = rules_pb2.ArgumentList(command_lines=lines)
    return rules_pb2.Rule(arguments=listed, detection=rules_pb2.Detection(file_hash=HASH), **fields)  # type: ignore[arg-type]


def with_certificate(text: str) -> str:
    return f"detection: {{fileName: a.exe, certificate: {{{text}}}}}"


def with_arguments(text: str, *, elevation_type: str = "USER_CONFIRMED") -> str:
    return f"detection: {{fileName: a.exe, fileHash: {HASH}}}\nelevationType: {elevation_type}\narguments: {text}"


CERTIFICATE, ARGUMENTS = "detection.certificate", "arguments"
FLAWS = {
    "a certificate without a type": Flaw(
        with_certificate("reusable: vendor"),
        f"{CERTIFICATE}.type",
        certified(reusable="vendor"),
        f"{CERTIFICATE}.type",
        "missing",
    ),
    "a type without a certificate": Flaw(
        with_certificate("type: PUBLISHER"),
        CERTIFICATE,
        certified(type=rules_pb2.CERTIFICATE_TYPE_PUBLISHER),
        CERTIFICATE,
        "reusable",
    ),
    "a certificate that cannot be read": Flaw(
        with_certificate("type: PUBLISHER, pem: hello"),
        f"{CERTIFICATE}.pem",
        certified(type=rules_pb2.CERTIFICATE_TYPE_PUBLISHER, pem="hello"),
        f"{CERTIFICATE}.pem",
        "is not a PEM certificate",
    ),
    "a certificate that is not there": Flaw(
        with_certificate("type: CERTIFICATE_AUTHORITY, reusable: nobody's"),
        f"{CERTIFICATE}.reusable",
        certified(type=rules_pb2.CERTIFICATE_TYPE_CERTIFICATE_AUTHORITY, reusable="nobody's"),
        f"{CERTIFICATE}.reusable",
        "does not exist",
    ),
    "arguments on a rule that denies": Flaw(
        with_arguments("[/silent]", elevation_type="DENY"),
        ARGUMENTS,
        restricted("/silent", elevation_type=rules_pb2.ELEVATION_TYPE_DENY),
        ARGUMENTS,
        "do not go with DENY",
    ),
    "an empty list on a rule that denies": Flaw(
        with_arguments("[]", elevation_type="DENY"),
        ARGUMENTS,
        restricted(elevation_type=rules_pb2.ELEVATION_TYPE_DENY),
        ARGUMENTS,
        "do not go with DENY",
    ),
    "too many command lines": Flaw(
        with_arguments(f"[{', '.join(['/a'] * TOO_MANY)}]"),
        ARGUMENTS,
        restricted(*["/a"] * TOO_MANY),
        ARGUMENTS,
        f"has {TOO_MANY} command lines",
    ),
    "a command line that is too long": Flaw(
        with_arguments(f"[/a, {TOO_LONG}]"),
        f"{ARGUMENTS}[1]",
        restricted("/a", TOO_LONG),
        f"{ARGUMENTS}.command_lines[1]",
        str(MAX_COMMAND_LINE),
    ),
    "a command line with a control character": Flaw(
        with_arguments('["/a\\u0007"]'),
        f"{ARGUMENTS}[0]",
        restricted("/a\a"),
        f"{ARGUMENTS}.command_lines[0]",
        "control",
    ),
}


def read(folder: Path, rule: str, *others: str) -> DocumentSet:
    spec = f"\n  platform: WINDOWS\n  rules:\n    - name: r\n{indent(rule, '      ')}"
    return load([str(write_documents(folder, document("ElevationRulesPolicy", "p", spec), *others))], closed=True)


def reusable(name: str) -> str:
    return document("ReusableCertificate", "vendor", f"\n  pem: |\n{indent(pem(name), '    ')}")


def policy(rule: rules_pb2.Rule) -> policies_pb2.RulesPolicy:
    complete = rules_pb2.Rule(
        name="r",
        elevation_type=rules_pb2.ELEVATION_TYPE_USER_CONFIRMED,
        detection=rules_pb2.Detection(file_name="a.exe"),
    )
    complete.MergeFrom(rule)
    about = policies_pb2.Metadata(name="p")
    return policies_pb2.RulesPolicy(metadata=about, platform=rules_pb2.PLATFORM_WINDOWS, rules=[complete])


async def create_certificate(service: Service, name: str) -> None:
    message = policies_pb2.ReusableCertificate(metadata=policies_pb2.Metadata(name="vendor"), pem=pem(name))
    await service.call("CreateReusableCertificate", reusable_certificate=message)


@pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS)
def test_a_document_is_refused_by_its_key(flaw: Flaw, tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as refused:
        read(tmp_path, flaw.written, reusable("vendor"))
    (line,) = refused.value.lines
    assert f" spec.rules[0].{flaw.key}: " in line
    assert flaw.told in line


@pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS)
async def test_a_message_is_refused_by_its_field(flaw: Flaw, service: Service) -> None:
    await create_certificate(service, "vendor")
    refused = await service.refused("CreateRulesPolicy", rules_policy=policy(flaw.message))
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {f"rules_policy.rules[0].{flaw.field}"})
    assert flaw.told in refused.message


def test_a_document_with_a_certificate_out_of_its_time_is_read(tmp_path: Path) -> None:
    for name in ("expired", "future"):
        found = read(tmp_path, with_certificate("type: PUBLISHER, reusable: vendor"), reusable(name))
        assert [entry.name for entry in found.reusable_certificates()] == ["vendor"]


@pytest.mark.parametrize("name", ["expired", "future"])
async def test_a_certificate_out_of_its_time_is_stored_for_its_rule_never_matches(name: str, service: Service) -> None:
    await create_certificate(service, name)
    condition = certified(type=rules_pb2.CERTIFICATE_TYPE_PUBLISHER, reusable="vendor")
    stored = (await service.call("CreateRulesPolicy", rules_policy=policy(condition))).rules_policy
    assert stored.rules[0].detection.certificate.reusable == "vendor"


async def test_no_list_any_arguments_and_an_empty_list_none_survive_the_store(service: Service) -> None:
    wanted = policy(restricted())
    wanted.rules.add().CopyFrom(wanted.rules[0])
    wanted.rules[1].name = "any"
    wanted.rules[1].ClearField("arguments")
    await service.call("CreateRulesPolicy", rules_policy=wanted)
    kept = (await service.call("GetRulesPolicy", name="p")).rules_policy
    assert {rule.name: rule.HasField("arguments") for rule in kept.rules} == {"r": True, "any": False}


async def test_command_lines_are_kept_to_the_letter(service: Service) -> None:
    lines = ["/Silent", "/silent", '/log "C:\\My Logs\\a.txt"', "", "/a\t/b"]
    await service.call("CreateRulesPolicy", rules_policy=policy(restricted(*lines)))
    kept = (await service.call("GetRulesPolicy", name="p")).rules_policy
    assert list(kept.rules[0].arguments.command_lines) == lines


async def test_a_message_with_an_open_quote_is_refused_by_its_field(service: Service) -> None:
    wanted = policy(restricted("/silent", "'open", child_processes=rules_pb2.CHILD_PROCESSES_DENY))
    wanted.platform = rules_pb2.PLATFORM_LINUX
    refused = await service.refused("CreateRulesPolicy", rules_policy=wanted)
    assert refused.fields == {"rules_policy.rules[0].arguments.command_lines[1]"}
