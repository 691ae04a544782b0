"""Trusted issuers on the command line: applied from documents, and shown as documents that can be applied again."""

import pytest

from epm.rbac.v1 import rbac_pb2
from services._chassis.errors import InvalidError, Problem
from tests.builders.console import Console
from tests.builders.documents import document, write_documents
from tests.fakes.server import FakeServer

ISSUER = rbac_pb2.TrustedIssuer(
    name="corp",
    issuer="https://id.example.com",
    audiences=["epm"],
    jwks='{"keys": []}',
    principal_prefix="corp:",
    groups_claim="groups",
    group_mappings=[rbac_pb2.GroupMapping(claim_value="epm-admins", principal_group="tier2")],
    client_id="epm-cli",
)
SPEC = (
    "{issuer: 'https://id.example.com', audiences: [epm], KEYS, principalPrefix: 'corp:', groupsClaim: groups,\n"
    "  groupMappings: [{claimValue: epm-admins, principalGroup: tier2}], clientId: epm-cli}"
)


@pytest.mark.parametrize(
    ("keys", "changed"),
    [
        ("jwksFile: keys.json", {}),
        ("jwksUri: 'https://id.example.com/keys'", {"jwks_uri": "https://id.example.com/keys"}),
    ],
)
def test_an_issuer_is_applied_with_its_keys(
    console: Console, server: FakeServer, keys: str, changed: dict[str, str]
) -> None:
    (console.folder / "documents").mkdir()
    (console.folder / "documents" / "keys.json").write_text('{"keys": []}')
    write_documents(console.folder / "documents", document("TrustedIssuer", "corp", SPEC.replace("KEYS", keys)))

    outcome = console.run("apply", "-f", console.folder / "documents")

    assert (outcome.code, outcome.err) == (0, "")
    expected = rbac_pb2.TrustedIssuer()
    expected.CopyFrom(ISSUER)
    expected.MergeFrom(rbac_pb2.TrustedIssuer(**changed))  # type: ignore[arg-type]
    assert list(server.requests(rbac_pb2.ApplyAccessRequest)[-1].trusted_issuers) == [expected]


def test_what_the_server_refuses_of_an_issuer_is_shown_with_its_line(console: Console, server: FakeServer) -> None:
    problem = Problem("trusted_issuers[0].group_mappings[0].principal_group", "there is no principal group")
    server.on(rbac_pb2.ApplyAccessRequest, InvalidError([problem]))
    text = document("TrustedIssuer", "corp", SPEC.replace("KEYS, ", ""))
    write_documents(console.folder / "documents", text)

    outcome = console.run("apply", "-f", console.folder / "documents")

    line = 1 + text[: text.index("principalGroup")].count("\n")
    assert f":{line}: spec.groupMappings[0].principalGroup: there is no principal group" in outcome.err


def test_an_issuer_that_is_shown_can_be_applied_again(console: Console, server: FakeServer) -> None:
    server.on(rbac_pb2.ListTrustedIssuersRequest, rbac_pb2.ListTrustedIssuersResponse(trusted_issuers=[ISSUER]))
    write_documents(console.folder / "documents", console.run("get", "trusted-issuer", "corp").out)

    again = console.run("apply", "-f", console.folder / "documents")
    server.on(rbac_pb2.ListTrustedIssuersRequest, rbac_pb2.ListTrustedIssuersResponse())
    anew = console.run("apply", "-f", console.folder / "documents")

    assert (again.code, again.err, again.out) == (0, "", "unchanged  TrustedIssuer corp\n")
    assert (anew.code, anew.err) == (0, "")
    assert list(server.requests(rbac_pb2.ApplyAccessRequest)[-1].trusted_issuers) == [ISSUER]
