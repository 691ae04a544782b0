"""How many questions about attempts are worked on at once."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from epm.reporting.v1 import insights_pb2, insights_pb2_grpc, intake_pb2, intake_pb2_grpc, reports_pb2, reports_pb2_grpc
from services._chassis.db import Database
from services._chassis.errors import LimitError
from services._chassis.server import ServiceParts
from services.reporting.admin_servicer import ReportingServicer
from services.reporting.insights_servicer import InsightsServicer
from services.reporting.intake import Retries
from services.reporting.intake_servicer import IntakeServicer
from services.reporting.store.insights import SqlInsights
from services.reporting.store.intake import SqlIntake
from services.reporting.store.readiness import SqlReadiness
from services.reporting.store.reports import SqlReports
from services.reporting.store.stored import SqlStored
from services.reporting.turns import Turns
from services.reporting.watching import Watches
from tests.builders.doors import bearer, open_doors
from tests.builders.refusals import refusal_of
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock

STUBS: dict[str, Any] = {
    "GetElevation": (reports_pb2_grpc.ReportingServiceStub, reports_pb2),
    "ListElevations": (reports_pb2_grpc.ReportingServiceStub, reports_pb2),
    "SummarizeElevations": (reports_pb2_grpc.ReportingServiceStub, reports_pb2),
    "ListApplications": (reports_pb2_grpc.ReportingServiceStub, reports_pb2),
    "ListPublishers": (reports_pb2_grpc.ReportingServiceStub, reports_pb2),
    "ListUsers": (reports_pb2_grpc.ReportingServiceStub, reports_pb2),
    "GetOverview": (insights_pb2_grpc.InsightsServiceStub, insights_pb2),
    "GetTrend": (insights_pb2_grpc.InsightsServiceStub, insights_pb2),
    "ListUserApplications": (insights_pb2_grpc.InsightsServiceStub, insights_pb2),
    "ListReadiness": (insights_pb2_grpc.InsightsServiceStub, insights_pb2),
    "ListObstacles": (insights_pb2_grpc.InsightsServiceStub, insights_pb2),
    "ListDeadLetters": (intake_pb2_grpc.IntakeServiceStub, intake_pb2),
    "GetDeadLetter": (intake_pb2_grpc.IntakeServiceStub, intake_pb2),
    "ListGaps": (intake_pb2_grpc.IntakeServiceStub, intake_pb2),
    "ListDiagnostics": (intake_pb2_grpc.IntakeServiceStub, intake_pb2),
}


async def test_who_asks_too_much_at_once_is_told_to_come_back_and_nobody_else_is() -> None:
    turns = Turns(of_all=3, of_one=2, patience=0.01)
    async with AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(turns.taken("user:greedy"))
        with pytest.raises(LimitError, match="2 questions of yours") as refused:
            await held.enter_async_context(turns.taken("user:greedy"))
        assert (refused.value.reason, refused.value.retry_after) == ("TOO_MANY_QUESTIONS", timedelta(seconds=1))
        await held.enter_async_context(turns.taken("user:other"))
        with pytest.raises(LimitError, match="3 questions about attempts"):
            await held.enter_async_context(turns.taken("user:third"))
    async with turns.taken("user:greedy"):
        pass


async def test_a_question_waits_for_its_turn() -> None:
    turns = Turns(of_all=1, of_one=1, patience=60)
    answered = []

    async def ask(name: str) -> None:
        async with turns.taken(name):
            answered.append(name)

    async with turns.taken("user:first"):
        waiting = [asyncio.ensure_future(ask(name)) for name in ("user:a", "user:b", "user:a")]
        await asyncio.wait(waiting, timeout=0.01)
        assert answered == []
    await asyncio.gather(*waiting)
    assert sorted(answered) == ["user:a", "user:a", "user:b"]


async def test_who_goes_while_waiting_takes_no_turn() -> None:
    turns = Turns(of_all=1, of_one=1, patience=60)

    async def ask() -> None:
        async with turns.taken("user:gone"):
            raise AssertionError("there is no turn")

    async with turns.taken("user:first"):
        waiting = asyncio.ensure_future(ask())
        await asyncio.wait([waiting], timeout=0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with turns.taken("user:gone"):
        pass


@pytest.mark.parametrize("rpc", STUBS)
async def test_every_question_about_attempts_takes_a_turn(tmp_path: Path, rpc: str) -> None:
    database = await Database.connect(f"sqlite:///{tmp_path}/reporting.db", service="reporting")
    access, none, clock = FakeAccess(), Turns(of_all=0, patience=0), FakeClock()
    watches = Watches(SqlStored(database), database.changes, monotonic=clock.monotonic)
    reports = ReportingServicer(SqlReports(database), watches, access.control, turns=none)
    insights = InsightsServicer(SqlInsights(database), SqlReadiness(database), clock.now, turns=none)
    store = SqlIntake(database)
    retries = Retries(store, lambda _: pytest.fail("stored"), lambda *_: pytest.fail("read"), clock.now)
    adding = [
        partial(reports_pb2_grpc.add_ReportingServiceServicer_to_server, reports),
        partial(insights_pb2_grpc.add_InsightsServiceServicer_to_server, insights),
        partial(
            intake_pb2_grpc.add_IntakeServiceServicer_to_server,
            IntakeServicer(store, retries, lambda device_id: device_id, turns=none),
        ),
    ]
    parts = ServiceParts(name="reporting", access=access.control, public=adding)
    token = access.grant("user:reader", ["policy_authoring.view_reports"])
    stub, messages = STUBS[rpc]
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        request = getattr(messages, f"{rpc}Request")()
        refused = await refusal_of(getattr(stub(channel), rpc)(request, metadata=bearer(token)))
    await database.close()
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_QUESTIONS")
    assert refused.retry_after == timedelta(seconds=1)
