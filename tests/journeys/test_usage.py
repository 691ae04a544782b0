"""What devices report shows who is ready, what is in the way, and, after the policy service has asked, in lint."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from elevation.model import Assignments, DefaultResponse, Include, SettingsPolicy
from epm.elevation.v1 import event_pb2
from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc, policies_pb2, policies_pb2_grpc
from epm.reporting.v1 import agent_pb2_grpc, insights_pb2, insights_pb2_grpc
from services.policy.codec.authored import settings_policy_to_proto
from tests.builders.whole import Whole, whole
from tests.fakes.reporting import SHA256, DeviceStream, decided, unmanaged

PATIENCE = 60.0
"""Seconds that it may take on a busy machine until the policy service was told."""


def asking(name: str) -> policies_pb2.SettingsPolicy:
    """Return a settings policy by which files without a rule need an approval."""
    assignments = Assignments((Include("all-devices"),))
    return settings_policy_to_proto(
        SettingsPolicy(name, default_response=DefaultResponse.SUPPORT_APPROVED, assignments=assignments)
    )


async def report(house: Whole, events: list[event_pb2.ElevationEvent]) -> None:
    """Enrol a device and have it report."""
    device = await house.enrol()
    async with house.mesh(device.identity) as channel:
        stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        await stream.hello()
        await stream.send(events)
        await stream.acknowledged(len(events))


async def create(house: Whole, policy: policies_pb2.SettingsPolicy) -> Any:
    """Save a settings policy."""
    stub = policies_pb2_grpc.PolicyServiceStub(house.public)
    request = policies_pb2.CreateSettingsPolicyRequest(settings_policy=policy)
    return await stub.CreateSettingsPolicy(request, metadata=house.owner)


async def found(house: Whole) -> list[tuple[str, str]]:
    """Return what lint finds in what is stored."""
    stub = analysis_pb2_grpc.AnalysisServiceStub(house.public)
    call = stub.Lint(analysis_pb2.LintRequest(), metadata=house.owner)
    try:
        parts = [part async for part in call]
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return []  # the directory was not told yet
    return [(finding.id, finding.name) for part in parts for finding in part.findings]


async def test_a_file_that_is_approved_again_and_again_is_told_by_lint_and_by_saves(tmp_path: Path) -> None:
    now = datetime.now(UTC) - timedelta(minutes=1)
    grants = [decided(n, at=now, user=f"user-{n % 2}", source=event_pb2.SOURCE_GRANT) for n in range(1, 6)]
    async with whole(tmp_path) as house:
        await create(house, asking("base"))
        await report(house, grants)
        assert await found(house) == []
    async with whole(tmp_path) as house:
        async with asyncio.timeout(PATIENCE):
            while ("L28", "base") not in await found(house):
                pass
        saved = await create(house, asking("more"))
    (finding,) = [finding for finding in saved.findings if finding.id == "L28"]
    assert finding.name == "more"
    assert f"({SHA256}) was elevated 5 times under an approval by 2 users" in finding.message


async def test_who_is_ready_and_what_is_in_the_others_way_shows_as_soon_as_devices_have_told(tmp_path: Path) -> None:
    now = datetime.now(UTC) - timedelta(minutes=1)
    told = [decided(1, at=now), unmanaged(2, at=now, user="bob"), decided(3, at=now, user="bob")]
    async with whole(tmp_path) as house:
        await create(house, asking("base"))
        await report(house, told)
        stub = insights_pb2_grpc.InsightsServiceStub(house.public)
        ready = await stub.ListReadiness(insights_pb2.ListReadinessRequest(), metadata=house.owner)
        in_way = await stub.ListObstacles(insights_pb2.ListObstaclesRequest(), metadata=house.owner)
    assert [(entry.user, entry.readiness, entry.administrator, entry.obstacle_count) for entry in ready.entries] == [
        ("alice", insights_pb2.READINESS_READY, False, 0),
        ("bob", insights_pb2.READINESS_PARTLY, True, 1),
    ]
    assert ready.split == insights_pb2.ReadinessSplit(managed_only=1, both=1)
    (obstacle,) = in_way.obstacles
    assert (obstacle.application.file_name, obstacle.users, obstacle.users_freed) == ("setup.exe", 1, 1)
    assert obstacle.attempt_id == "attempt-2"
