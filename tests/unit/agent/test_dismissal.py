"""A device that its own policy service calls retired, banned or deleted elevates nothing more; nobody else's word ends anything."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from agent_stub.conversations import Links
from agent_stub.links import keep
from agent_stub.policy.keeper import PolicyKeeper
from elevation.document import PolicyDocument
from tests.builders.grants import grant
from tests.fakes.agent import NOW, FakeDelays, document
from tests.unit.agent.programs import PATIENCE
from tests.unit.agent.test_streams import CONTENT, Device, open_device, session

DENIED = grpc.StatusCode.PERMISSION_DENIED
YEAR = timedelta(days=365)


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    async with open_device(tmp_path) as opened:
        yield opened


def because(reason: str, domain: str = "openepm") -> ErrorInfo:
    return ErrorInfo(reason=reason, domain=domain)


def farewell() -> PolicyDocument:
    found = document()
    return replace(found, any_user=replace(found.any_user, settings=None), users=())


def holds(device: Device, content: PolicyDocument) -> None:
    device.keeper.apply(device.servers.installation.offer(content, 3), NOW)


def restarted(device: Device, folder: Path) -> PolicyKeeper:
    again = PolicyKeeper(folder, device.servers.installation.identity())
    assert again.load() == []
    return again


async def refused(device: Device, code: grpc.StatusCode, info: ErrorInfo) -> None:
    """Let the server refuse the hello."""
    device.servers.policy.refusal = code, info
    with pytest.raises(grpc.aio.AioRpcError):
        await device.policy().session(device.link)


@pytest.mark.parametrize("reason", ["DEVICE_NOT_ENROLLED", "DEVICE_BANNED", "DEVICE_UNKNOWN"])
async def test_no_policy_is_in_force_on_a_device_that_is_one_no_more_also_after_a_restart(
    device: Device, tmp_path: Path, reason: str
) -> None:
    holds(device, CONTENT)
    await refused(device, DENIED, because(reason))
    assert (device.keeper.held, device.changes.qsize()) == (None, 1)
    assert restarted(device, tmp_path).held is None


@pytest.mark.parametrize(
    ("code", "info"),
    [
        (DENIED, because("DEVICE_NOT_ENROLLED", domain="proxy.example.com")),
        (DENIED, because("CERTIFICATE_REPLACED")),
        (DENIED, because("")),
        (grpc.StatusCode.UNAVAILABLE, because("DEVICE_NOT_ENROLLED")),
    ],
    ids=["another domain", "replaced", "no reason", "another code"],
)
async def test_any_other_refusal_leaves_the_policy_in_force(
    device: Device, tmp_path: Path, code: grpc.StatusCode, info: ErrorInfo
) -> None:
    holds(device, CONTENT)
    await refused(device, code, info)
    assert (device.keeper.held is not None, device.changes.qsize()) == (True, 0)
    assert restarted(device, tmp_path).held is not None


async def test_a_device_that_is_sent_away_as_retired_without_a_document_has_no_policy_either(
    device: Device, tmp_path: Path
) -> None:
    holds(device, CONTENT)
    device.goodbye(reason="GO_AWAY_REASON_RETIRED")
    assert (await device.policy().session(device.link)).reason == "RETIRED"
    assert (device.keeper.held, restarted(device, tmp_path).held) == (None, None)


async def test_the_document_that_a_retired_device_was_given_stays(device: Device, tmp_path: Path) -> None:
    holds(device, farewell())
    await refused(device, DENIED, because("DEVICE_NOT_ENROLLED"))
    assert device.changes.qsize() == 0
    assert restarted(device, tmp_path).held is not None


async def test_grants_alone_are_no_farewell(device: Device) -> None:
    holds(device, replace(farewell(), grants=(grant(),)))
    await refused(device, DENIED, because("DEVICE_NOT_ENROLLED"))
    assert device.keeper.held is None


async def test_what_was_dismissed_by_mistake_comes_again_and_nothing_older_does(device: Device, tmp_path: Path) -> None:
    holds(device, CONTENT)
    await refused(device, DENIED, because("DEVICE_NOT_ENROLLED"))
    device.servers.policy.refusal = None
    await device.said()
    async with session(asyncio.create_task(device.policy().session(device.link))):
        assert (await device.said()).hello.revision == 0
        device.servers.policy.offer(device.servers.installation.offer(CONTENT, 2))
        assert "older than revision 3" in (await device.said()).nack.reasons[0]
        device.servers.policy.offer(device.servers.installation.offer(CONTENT, 3))
        assert (await device.said()).ack.revision == 3
    assert restarted(device, tmp_path).held is not None


async def test_a_document_that_was_put_off_does_not_come_into_force_after_the_dismissal(device: Device) -> None:
    stream = device.policy()
    async with session(asyncio.create_task(stream.session(device.link))):
        await device.said()
        early = device.servers.installation.offer(CONTENT, 3, issued=NOW + YEAR, expires=NOW + 2 * YEAR)
        device.servers.policy.offer(early)
        assert (await device.said()).nack.temporary
    await asyncio.wait_for(device.servers.policy.ended.acquire(), PATIENCE)
    device.now = NOW + YEAR
    device.goodbye(reason="GO_AWAY_REASON_RETIRED")
    await stream.session(device.link)
    device.servers.policy.outbox.put_nowait(device.servers.policy.greeting)
    device.goodbye(reason="GO_AWAY_REASON_DRAINING")
    await stream.session(device.link)
    assert device.keeper.held is None


async def test_a_device_that_another_service_refuses_asks_the_policy_service_at_once(device: Device) -> None:
    links, delays = Links(), FakeDelays()
    device.servers.device.refusal = DENIED, "no"
    async with session(asyncio.create_task(keep(links.check_in, device.check_in().session, delays))):
        await asyncio.wait_for(links.policy.pause(FakeDelays(), 3600), PATIENCE)


async def test_a_device_that_another_service_does_not_answer_waits_for_the_policy_service_as_usual(
    device: Device,
) -> None:
    links, delays = Links(), FakeDelays()
    device.servers.device.refusal = grpc.StatusCode.UNAVAILABLE, "no"
    async with session(asyncio.create_task(keep(links.check_in, device.check_in().session, delays))):
        await delays.waiting.acquire()
        paused = FakeDelays()
        async with session(asyncio.create_task(links.policy.pause(paused, 3600))):
            await asyncio.wait_for(paused.waiting.acquire(), PATIENCE)
