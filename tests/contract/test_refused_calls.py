"""Refused calls end in the audit log of the service that refused them, however many there are."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis.audit import Act
from services._chassis.db import Database
from services._chassis.refusal_writer import RefusalWriter
from services._chassis.refusals import Bounds, Refused
from services._chassis.server import ServiceParts
from services.rbac.__main__ import build
from tests.builders.audit import AUDIT, demo_service
from tests.builders.doors import OpenDoors, bearer, open_doors, settings_for
from tests.builders.whole import answer, whole
from tests.fakes.clock import NOW

REFUSED = 20_000
AT_ONCE = 100


async def test_refused_calls_join_the_chain_with_who_called_and_take_no_revision(
    empty_database_url: str, tmp_path: Path
) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        before = await service.database.current_revision()
        writer = RefusalWriter.on(service.database, AUDIT, lambda: NOW)
        act = Act(actor="user:alice", source="ipv4:192.0.2.1:5", request_id="r-1", decision_id="d-1")
        refused = Refused(act=act, method="/a/B", reason="RIGHT_MISSING", message="no", at=NOW)
        writer.refusals.denied(refused)
        writer.refusals.failed("192.0.2.7", refused)
        await writer.close()
        (denied, failed) = await service.records()
        assert (denied.action, denied.actor, denied.source, denied.target) == (
            "call_denied",
            "user:alice",
            "ipv4:192.0.2.1:5",
            "/a/B",
        )
        assert (denied.request_id, denied.decision_id, denied.revision) == ("r-1", "d-1", 0)
        assert (failed.action, failed.target) == ("authentication_failed", "192.0.2.7")
        assert await service.database.current_revision() == before
        assert (await service.verdict()).whole


@dataclass
class House:
    """The rbac service behind real doors."""

    doors: OpenDoors
    parts: ServiceParts
    channel: grpc.aio.Channel
    owner: tuple[tuple[str, str], ...]

    @property
    def stub(self) -> Any:
        return rbac_pb2_grpc.RbacServiceStub(self.channel)

    async def token_of(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return what the calls of somebody without any role carry."""
        issued = await self.stub.IssueToken(rbac_pb2.IssueTokenRequest(principal=f"user:{name}"), metadata=self.owner)
        return bearer(issued.secret)


@asynccontextmanager
async def rbac(folder: Path) -> AsyncIterator[House]:
    parts = await build(settings_for(folder))
    async with open_doors(folder, parts) as doors, doors.public() as channel:
        yield House(doors, parts, channel, bearer((folder / "owner-token").read_text().strip()))


async def counted(folder: Path, action: str, service: str = "rbac") -> int:
    """Return how many calls the audit log of a service accounts for."""
    database = await Database.connect(f"sqlite:///{folder / service}.db", service=service)
    log = sa.table(f"{service}_audit", sa.column("details"), sa.column("action"))
    asked = sa.select(log.c.details).where(log.c.action == action)
    async with database.read() as tx:
        details = [json.loads(text) for text in (await tx.execute(asked)).scalars()]
    await database.close()
    return sum(int(each["count"]) for each in details)


async def code_of(call: Awaitable[object]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def flood(calls: Callable[[int], Awaitable[object]], times: int) -> list[grpc.StatusCode]:
    """Make so many calls, a hundred at once; return how each ended."""
    numbers = iter(range(times))

    async def caller() -> list[grpc.StatusCode]:
        return [await code_of(calls(number)) for number in numbers]

    ended = await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return [code for codes in ended for code in codes]


@pytest.mark.timeout(600)
async def test_a_flood_of_refused_calls_keeps_nobody_else_out_and_every_one_of_them_counts(tmp_path: Path) -> None:
    bounds = Bounds()
    most = bounds.queue + bounds.callers + bounds.origins + 2
    waiting: list[int] = []
    async with rbac(tmp_path) as house:
        strangers = [await house.token_of(f"stranger-{number}") for number in range(20)]

        def refused(number: int) -> Any:
            waiting.append(house.parts.refusals.waiting)
            return house.stub.ListRoles(rbac_pb2.ListRolesRequest(), metadata=strangers[number % len(strangers)])

        def permitted(number: int) -> Any:
            tag = rbac_pb2.ScopeTag(name=f"tag-{number % 5}", description=str(number))
            return house.stub.ApplyAccess(rbac_pb2.ApplyAccessRequest(scope_tags=[tag]), metadata=house.owner)

        with capture_logs():  # a line a call, which is not looked at
            denied, allowed = await asyncio.gather(flood(refused, REFUSED), flood(permitted, 200))
    assert (len(denied), set(denied)) == (REFUSED, {grpc.StatusCode.PERMISSION_DENIED})
    assert (len(allowed), set(allowed)) == (200, {grpc.StatusCode.OK})
    assert max(waiting) <= most
    assert await counted(tmp_path, "call_denied") == REFUSED


async def test_a_flood_of_guesses_keeps_no_good_token_out(tmp_path: Path) -> None:
    async with rbac(tmp_path) as house:

        def guess(number: int) -> Any:
            return house.stub.WhoAmI(rbac_pb2.WhoAmIRequest(), metadata=bearer(f"epm_guess-{number}"))

        def good(_number: int) -> Any:
            return house.stub.WhoAmI(rbac_pb2.WhoAmIRequest(), metadata=house.owner)

        with capture_logs():
            guessed, allowed = await asyncio.gather(flood(guess, 2000), flood(good, 200))
    assert set(guessed) == {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert set(allowed) == {grpc.StatusCode.OK}
    assert await counted(tmp_path, "authentication_failed") == 2000


DENIED_BY = {
    "rbac": "/epm.rbac.v1.RbacService/ListRoles",
    "device": "/epm.device.v1.DeviceService/ListDevices",
    "policy": "/epm.policy.v1.PolicyService/ListRulesPolicies",
    "reporting": "/epm.reporting.v1.ReportingService/ListElevations",
}


async def test_each_service_writes_down_whom_it_refused_and_whom_it_did_not_know(tmp_path: Path) -> None:
    async with whole(tmp_path) as made:
        workers = [{worker.name for worker in part.workers} for part in made.host._parts]
        stranger = await made.token("stranger")
        await made.settled()
        ended = [await code_of(answer(made.public, path, b"", stranger)) for path in DENIED_BY.values()]
        unknown = [await code_of(answer(made.public, path, b"", ())) for path in DENIED_BY.values()]
        noted = [len(part.access.uses.take(10)) for part in made.host._parts]
    assert ended == [grpc.StatusCode.PERMISSION_DENIED] * 4
    assert unknown == [grpc.StatusCode.UNAUTHENTICATED] * 4
    assert [await counted(tmp_path, "call_denied", service) for service in DENIED_BY] == [1] * 4
    assert [await counted(tmp_path, "authentication_failed", service) for service in DENIED_BY] == [1] * 4
    assert all(noted)
    assert all(names >= {"write_refusals", "report_token_use"} for names in workers)
