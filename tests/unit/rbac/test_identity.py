"""Tokens of identity providers at the doors of the rbac service, and the way to log in that anybody may ask for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services.rbac.__main__ import build
from tests.builders.doors import bearer, open_doors, settings_for
from tests.builders.issuer import ISSUER, claims, key_set, public_ec, public_rsa, token
from tests.builders.migrated import put_databases
from tests.builders.refusals import Refusal, refusal_of
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from epm.rbac.v1.rbac_pb2_grpc import RbacServiceAsyncStub

ALICE = token(claims(groups=["epm-admins"]))
GROUPS = [rbac_pb2.PrincipalGroup(name="admins")]
ROLE = rbac_pb2.RoleAssignment(name="admins", role="Role Administrator", members=["group:admins"])


def issuer(**values: Any) -> rbac_pb2.TrustedIssuer:
    chosen: dict[str, Any] = {
        "name": "corp",
        "issuer": ISSUER,
        "audiences": ["epm"],
        "jwks": key_set(),
        "principal_prefix": "corp:",
        "groups_claim": "groups",
        "group_mappings": [rbac_pb2.GroupMapping(claim_value="epm-admins", principal_group="admins")],
        "client_id": "epm-cli",
    }
    return rbac_pb2.TrustedIssuer(**{**chosen, **values})


@dataclass
class House:
    """Call the service as anybody."""

    stub: "RbacServiceAsyncStub"
    folder: Path

    @property
    def owner(self) -> str:
        return (self.folder / "owner-token").read_text().strip()

    async def trust(self, **values: Any) -> None:
        request = rbac_pb2.ApplyAccessRequest(
            principal_groups=GROUPS, role_assignments=[ROLE], trusted_issuers=[issuer(**values)]
        )
        await self.stub.ApplyAccess(request, metadata=bearer(self.owner))

    async def who(self, text: str) -> rbac_pb2.WhoAmIResponse:
        return await self.stub.WhoAmI(rbac_pb2.WhoAmIRequest(), metadata=bearer(text))

    async def refused(self, text: str) -> Refusal:
        return await refusal_of(self.who(text))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = FakeClock()
    values: dict[str, Any] = {"access_bound": timedelta(days=1000)}
    put_databases(tmp_path)
    parts = await build(settings_for(tmp_path, **values), clock)
    async with open_doors(tmp_path, parts, clock=clock, **values) as doors, doors.public() as channel:
        yield House(rbac_pb2_grpc.RbacServiceStub(channel), tmp_path)


async def test_who_brings_a_token_of_a_trusted_issuer_is_known_with_the_rights_of_its_groups(house: House) -> None:
    await house.trust()
    who = await house.who(ALICE)
    assert (who.principal, list(who.role_assignments)) == ("user:corp:alice", ["admins"])
    assert "roles.assign" in who.rights


async def test_without_the_group_in_the_token_the_same_principal_has_none_of_its_rights(house: House) -> None:
    await house.trust()
    assert list((await house.who(token())).rights) == []


async def test_a_group_of_the_organisation_lets_its_members_call(house: House) -> None:
    await house.trust()
    request = rbac_pb2.ListTrustedIssuersRequest()
    answer = await house.stub.ListTrustedIssuers(request, metadata=bearer(ALICE))
    (found,) = answer.trusted_issuers
    found.ClearField("etag")
    assert found == issuer()
    refusal = await refusal_of(house.stub.ListTrustedIssuers(request, metadata=bearer(token())))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")


async def test_a_token_of_an_issuer_that_nobody_trusts_is_refused(house: House) -> None:
    refusal = await house.refused(ALICE)
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "TOKEN_ISSUER_UNKNOWN")


async def test_what_changes_about_an_issuer_counts_at_once(house: House) -> None:
    await house.trust()
    await house.who(ALICE)
    await house.trust(jwks=key_set(public_ec()))
    assert (await house.refused(ALICE)).reason == "TOKEN_KEY_UNKNOWN"
    await house.trust(jwks=key_set(public_rsa()))
    await house.who(ALICE)
    request = rbac_pb2.DeleteTrustedIssuerRequest(name="corp")
    await house.stub.DeleteTrustedIssuer(request, metadata=bearer(house.owner))
    assert (await house.refused(ALICE)).reason == "TOKEN_ISSUER_UNKNOWN"


async def test_a_token_that_fills_the_metadata_is_taken_and_a_longer_one_refused(house: House) -> None:
    await house.trust()
    assert (await house.who(token(claims(more="a" * 8400)))).principal == "user:corp:alice"
    assert (await house.refused(token(claims(more="a" * 9000)))).code == "UNAUTHENTICATED"
    assert (await house.refused(token(claims(more="a" * 60_000)))).code == "RESOURCE_EXHAUSTED"


async def test_anybody_may_ask_where_to_log_in_and_learns_no_more(house: House) -> None:
    await house.trust()
    request = rbac_pb2.ApplyAccessRequest(
        trusted_issuers=[
            issuer(name="ci", issuer="https://ci.example.com", principal_prefix="ci:", client_id=""),
        ]
    )
    await house.stub.ApplyAccess(request, metadata=bearer(house.owner))
    answer = await house.stub.GetLoginOptions(rbac_pb2.GetLoginOptionsRequest())
    assert list(answer.options) == [
        rbac_pb2.LoginOption(name="corp", issuer=ISSUER, client_id="epm-cli", audience="epm")
    ]
