"""A clone of a device over the whole installation: it is seen, quarantined where the operator says so, and forgiven."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import tenacity

from epm.device.v1 import devices_pb2, devices_pb2_grpc
from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from tests.builders.device_service import EnrolledDevice
from tests.builders.whole import Whole, whole

PATIENCE = 20.0


async def say_hello(house: Whole, device: EnrolledDevice, run_id: str) -> None:
    """Open a stream as one run of the agent, and close it once the server has something to offer."""
    async with house.mesh(device.identity) as channel:
        call: Any = agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy()
        hello = agent_pb2.Hello(capabilities=["policy-document/1"], run_id=run_id)
        await call.write(agent_pb2.StreamPolicyRequest(hello=hello))
        assert (await call.read()).HasField("welcome")
        assert (await call.read()).HasField("offer")
        call.cancel()


async def shown(house: Whole, device: EnrolledDevice) -> devices_pb2.Device:
    """Return the device as its operator sees it."""
    stub: Any = devices_pb2_grpc.DeviceServiceStub(house.public)
    answer = await stub.GetDevice(devices_pb2.GetDeviceRequest(device=device.device_id), metadata=house.owner)
    found: devices_pb2.Device = answer.device
    return found


async def until_suspected(house: Whole, device: EnrolledDevice) -> devices_pb2.Device:
    """Return the device once it is marked."""

    async def marked() -> devices_pb2.Device:
        found = await shown(house, device)
        assert found.HasField("suspected_clone")
        return found

    waiting = tenacity.AsyncRetrying(
        wait=tenacity.wait_fixed(0.1), stop=tenacity.stop_after_delay(PATIENCE), reraise=True
    )
    return await waiting(marked)


@pytest.mark.parametrize("answer", ["flag", "quarantine"])
async def test_two_lines_of_life_are_seen_and_a_device_that_is_cleared_starts_without_suspicion(
    tmp_path: Path, answer: str
) -> None:
    async with whole(tmp_path, on_suspected_clone=answer, policy_heartbeat=timedelta(hours=1)) as house:
        device = await house.enrol()
        await say_hello(house, device, "original")
        await say_hello(house, device, "clone")
        assert not (await shown(house, device)).HasField("suspected_clone")
        await say_hello(house, device, "original")
        assert (await until_suspected(house, device)).quarantined is (answer == "quarantine")

        stub: Any = devices_pb2_grpc.DeviceServiceStub(house.public)
        cleared = devices_pb2.ClearSuspectedCloneRequest(device_id=device.device_id, reason="reinstalled the copy")
        await stub.ClearSuspectedClone(cleared, metadata=house.owner)
        await say_hello(house, device, "original")
        found = await shown(house, device)
        assert (found.HasField("suspected_clone"), found.quarantined) == (False, False)
