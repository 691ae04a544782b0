"""Support approvals with the agent as a process: asked, answered, used once, killed in between."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from elevation.document import PolicyDocument
from elevation.model import DefaultResponse, Grant, Settings
from epm.elevation.v1 import event_pb2
from epm.policy.v1 import agent_pb2, requests_pb2
from tests.fakes.agent import DEVICE_NAME, document
from tests.fakes.agent_requests import APPROVED, DENIED, elevation_request
from tests.unit.agent.programs import PATIENCE, Done, Running, agent, started
from tests.unit.agent.whole import Device

ASKING = Settings(default_response=DefaultResponse.SUPPORT_APPROVED)
ALICE = ("--as", "alice", "--answer-confirm", "--justification", "to work")


def content(*grants: Grant) -> PolicyDocument:
    return replace(document(settings=ASKING), grants=grants)


def answers(device: Device, state: "requests_pb2.ElevationRequestState.ValueType", **more: Any) -> None:
    """Let the server tell what became of the first request."""
    request = elevation_request("request-1", state, submitted=datetime.now(UTC), **more)
    outcome = agent_pb2.RequestOutcome(sequence=5, request=request)
    device.servers.policy.outbox.put_nowait(agent_pb2.StreamPolicyResponse(outcome=outcome))


def granted(device: Device, uses: int) -> Grant:
    asked = device.servers.requests.submitted[0]
    now = datetime.now(UTC)
    return Grant(
        "request-1",
        "alice",
        DEVICE_NAME,
        asked.file.sha256,
        tuple(asked.arguments),
        now,
        now + timedelta(hours=8),
        uses,
    )


async def elevates(device: Device, *options: str) -> Done:
    return await agent("elevate", "--state-dir", device.state, *options, *ALICE, "/usr/bin/env", "--", "-i")


async def provisioned(device: Device, process: Running) -> None:
    device.servers.requests.submitted_at = datetime.now(UTC)
    device.offers(content(), 1)
    await device.answers()
    await process.says("component_provisioned")


async def listed(device: Device, user: str = "alice") -> list[dict[str, Any]]:
    done = await agent("requests", "--state-dir", device.state, "--as", user, "--output", "json")
    found: list[dict[str, Any]] = json.loads(done.output)
    return found


async def event_by_grant(device: Device) -> event_pb2.ElevationEvent:
    while True:
        for entry in (await device.batch()).entries:
            if entry.event.decided.grant_id == "request-1":
                return entry.event


async def test_what_is_approved_once_runs_once_and_is_reported(device: Device) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        first = await elevates(device)
        assert (first.code, "the support is asked: request request-1" in first.errors) == (1, True)
        answers(device, APPROVED, max_uses=1)
        assert (await device.answers()).outcomes_kept.sequence == 5
        device.offers(content(granted(device, 1)), 2)
        assert (await device.answers()).ack.revision == 2
        second = await elevates(device)
        assert (second.code, "elevated" in second.output) == (0, True)
        assert "request request-1 for" in second.errors
        third = await elevates(device)
        assert (third.code, "request-2" in third.errors) == (1, True)
        (use,) = (await asyncio.wait_for(device.servers.requests.reports.get(), PATIENCE)).uses
        elevated = await event_by_grant(device)
        assert (use.grant_id, use.attempt_id) == ("request-1", elevated.attempt_id)


async def test_the_user_reads_why_the_support_said_no_and_nobody_else_does(device: Device) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        await elevates(device)
        answers(device, DENIED, reason="use the other tool")
        await device.answers()
        assert [(request["message"], request["new"]) for request in await listed(device)] == [
            ("denied: use the other tool", True)
        ]
        assert [request["new"] for request in await listed(device)] == [False]
        assert await listed(device, "bob") == []


async def test_whoever_waits_runs_as_soon_as_it_is_approved(device: Device) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        command = ("elevate", "--state-dir", device.state, "--wait", *ALICE, "/usr/bin/env", "--", "-i")
        waiting = await started(*command)
        await process.says("request_submitted")
        answers(device, APPROVED)
        await device.answers()
        device.offers(content(granted(device, 1)), 2)
        output, errors = await asyncio.wait_for(waiting.communicate(), PATIENCE)
        assert (waiting.returncode, b"elevated" in output) == (0, True)
        assert b"for /opt/tool: approved until" in errors


async def test_a_kill_loses_neither_a_use_nor_an_outcome(device: Device) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        await elevates(device)
        answers(device, DENIED, reason="no")
        await device.answers()
        device.servers.requests.refusal = (grpc.StatusCode.UNAVAILABLE, "gone")
        device.offers(content(granted(device, 1)), 2)
        await device.answers()
        assert (await elevates(device)).code == 0
        await process.is_killed()
    device.servers.requests.refusal = None
    async with device.runs() as process:
        await process.says("component_provisioned")
        (use,) = (await asyncio.wait_for(device.servers.requests.reports.get(), PATIENCE)).uses
        assert use.grant_id == "request-1"
        again = await elevates(device)
        assert (again.code, "request-2" in again.errors) == (1, True)
        assert {one["id"]: one["state"] for one in await listed(device)} == {
            "request-1": "DENIED",
            "request-2": "PENDING",
        }


async def test_a_device_that_was_retired_while_it_was_away_elevates_by_no_grant(device: Device) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        await elevates(device)
        device.offers(content(granted(device, 9)), 2)
        await device.answers()
        assert (await elevates(device)).code == 0
        await process.is_killed()
    retired = error_details_pb2.ErrorInfo(reason="DEVICE_NOT_ENROLLED", domain="openepm")
    device.servers.policy.refusal = grpc.StatusCode.PERMISSION_DENIED, retired
    async with device.runs() as process:
        await process.says("policy_dismissed")
        await process.says("component_removed")
        assert (await elevates(device)).code == 4
    async with device.runs() as process:
        await process.says("agent_started")
        assert (await device.status())["policy"]["revision"] is None


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED])
async def test_where_nobody_takes_requests_the_user_is_told_that_nothing_was_asked(
    device: Device, code: grpc.StatusCode
) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        device.servers.requests.refusal = (code, "gone")
        done = await elevates(device)
        assert (done.code, "the support was not asked" in done.errors) == (1, True)
        assert await listed(device) == []


async def test_a_request_is_taken_back_on_the_server(device: Device) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        await elevates(device)
        done = await agent("requests", "cancel", "request-1", "--state-dir", device.state, "--as", "alice")
        assert (done.code, "cancelled by you" in done.output) == (0, True)
        assert [(one.id, one.user) for one in device.servers.requests.cancelled] == [("request-1", "alice")]


async def test_a_damaged_ledger_is_reported_to_the_server(device: Device) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        await process.ends()
    (device.state / "grants.json").write_bytes(b"{}")
    async with device.runs() as process:
        await process.says("note_damaged")
        (entry,) = (await device.batch()).entries
    assert entry.event.diagnostic.code == "NOTE_DAMAGED"
    assert "grants with a number of uses count as used up" in entry.event.diagnostic.message


async def test_whoever_is_not_asked_or_gives_no_fitting_reason_learns_why_the_support_was_not(device: Device) -> None:
    async with device.runs() as process:
        await provisioned(device, process)
        command = ("elevate", "--state-dir", device.state, "--as", "alice")
        nobody = await agent(*command, "/usr/bin/env")
        assert (nobody.code, "standard input is no terminal" in nobody.errors) == (1, True)
        wordy = await agent(*command, "--answer-confirm", "--justification", "x" * 257, "/usr/bin/env")
        assert (wordy.code, "give a reason of 1 to 256 characters" in wordy.errors) == (1, True)
        assert await listed(device) == []
