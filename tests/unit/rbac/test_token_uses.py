"""Tokens' last use: what services report, what administrators see of it, and what of tokens is sent to services."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.access.v1 import access_pb2, access_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis.access_client import reporting_over
from services._chassis.errors import UnavailableError
from services._chassis.server import ServiceParts
from services._chassis.token_use import TokenUseReporter
from services.rbac.__main__ import build
from services.rbac.model.grants import EXPIRED_KEPT, published
from services.rbac.model.nouns import AccessState, Token
from tests.builders.doors import OpenDoors, bearer, device_identity, open_doors, service_identity, settings_for
from tests.builders.migrated import put_databases
from tests.builders.refusals import refusal_of
from tests.fakes.clock import NOW, FakeClock

MINUTE = timedelta(minutes=1)


@dataclass
class House:
    """The rbac service, with administrators on one side and another service on the other."""

    doors: OpenDoors
    parts: ServiceParts
    stub: Any
    mesh: grpc.aio.Channel
    clock: FakeClock

    async def token(self) -> rbac_pb2.Token:
        """Return the Owner's token as a list shows it."""
        secret = (self.doors.settings.data_dir / "owner-token").read_text().strip()
        listed = await self.stub.ListTokens(rbac_pb2.ListTokensRequest(), metadata=bearer(secret))
        (token,) = listed.tokens
        assert isinstance(token, rbac_pb2.Token)
        return token

    async def report(self, *uses: access_pb2.TokenUse) -> None:
        stub = access_pb2_grpc.AccessServiceStub(self.mesh)
        await stub.ReportTokenUse(access_pb2.ReportTokenUseRequest(uses=uses))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = FakeClock()
    values: dict[str, Any] = {"access_bound": timedelta(days=1000)}
    put_databases(tmp_path)
    parts = await build(settings_for(tmp_path, **values), clock)
    async with (
        open_doors(tmp_path, parts, clock=clock, **values) as doors,
        doors.public() as public,
        doors.mesh(service_identity("policy")) as mesh,
    ):
        yield House(doors, parts, rbac_pb2_grpc.RbacServiceStub(public), mesh, clock)


def use(token_id: str, used: datetime) -> access_pb2.TokenUse:
    stamp = Timestamp()
    stamp.FromDatetime(used)
    return access_pb2.TokenUse(token_id=token_id, used=stamp)


async def test_a_token_shows_when_it_was_last_used(house: House) -> None:
    token = await house.token()
    assert not token.HasField("last_used")
    await house.report(use(token.token_id, NOW - MINUTE))
    assert (await house.token()).last_used.ToDatetime() == (NOW - MINUTE).replace(tzinfo=None)


async def test_what_a_service_noted_arrives_by_way_of_its_reporter(house: House) -> None:
    token = await house.token()
    uses = house.parts.access.uses
    uses.note(token.token_id, NOW - MINUTE)
    await TokenUseReporter(uses, reporting_over(house.mesh)).report_all()
    assert (await house.token()).last_used.ToDatetime() == (NOW - MINUTE).replace(tzinfo=None)


async def test_a_revoked_token_shows_its_last_use_in_the_answer(house: House) -> None:
    token = await house.token()
    secret = (house.doors.settings.data_dir / "owner-token").read_text().strip()
    await house.report(use(token.token_id, NOW))
    await house.stub.IssueToken(rbac_pb2.IssueTokenRequest(principal="user:owner"), metadata=bearer(secret))
    request = rbac_pb2.RevokeTokenRequest(token_id=token.token_id)
    assert (await house.stub.RevokeToken(request, metadata=bearer(secret))).token.HasField("last_used")


async def test_a_use_that_is_still_to_come_counts_as_now(house: House) -> None:
    token = await house.token()
    await house.report(use(token.token_id, NOW + timedelta(days=365)))
    assert (await house.token()).last_used.ToDatetime() == NOW.replace(tzinfo=None)


async def test_a_report_of_unknown_tokens_is_taken_and_forgotten(house: House) -> None:
    await house.report(use("none", NOW))
    assert not (await house.token()).HasField("last_used")


async def test_all_problems_of_a_report_come_at_once(house: House) -> None:
    bad = [
        use("", NOW),
        access_pb2.TokenUse(token_id="t"),
        access_pb2.TokenUse(token_id="t" * 129, used=Timestamp(seconds=10**15)),
    ]
    refusal = await refusal_of(house.report(*bad))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields == {"uses[0].token_id", "uses[1].used", "uses[2].token_id", "uses[2].used"}


async def test_a_report_of_more_than_a_thousand_is_refused(house: House) -> None:
    refusal = await refusal_of(house.report(*[use("t", NOW)] * 1001))
    assert refusal.fields == {"uses"}


@pytest.mark.parametrize("name", ["rbac", "gateway", "device/d1"])
async def test_nobody_but_the_other_services_reports(house: House, name: str) -> None:
    identity = device_identity("d1") if "/" in name else service_identity(name)
    async with house.doors.mesh(identity) as channel:
        stub = access_pb2_grpc.AccessServiceStub(channel)
        refusal = await refusal_of(stub.ReportTokenUse(access_pb2.ReportTokenUseRequest()))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")


async def test_a_report_that_does_not_arrive_is_kept(house: House) -> None:
    uses = house.parts.access.uses
    uses.take(1000)
    uses.note("t1", NOW)
    async with house.doors.mesh(service_identity("stranger")) as channel:
        with pytest.raises(UnavailableError):
            await TokenUseReporter(uses, reporting_over(channel)).report_all()
    assert uses.take(10) == {"t1": NOW}


def test_tokens_that_are_revoked_or_expired_long_ago_are_not_sent() -> None:
    def token(name: str, **ends: datetime) -> Token:
        return Token(
            token_id=name, digest=name.encode(), principal="user:a", description="", created=NOW - MINUTE, **ends
        )

    tokens = [
        token("good"),
        token("ends later", expires=NOW + MINUTE),
        token("expired just now", expires=NOW),
        token("expired long ago", expires=NOW - EXPIRED_KEPT),
        token("revoked", revoked=NOW),
    ]
    state = AccessState(tokens={each.token_id: each for each in tokens})
    sent = [each.token_id for each in published(state, 7, NOW).tokens]
    assert sent == ["good", "ends later", "expired just now"]
