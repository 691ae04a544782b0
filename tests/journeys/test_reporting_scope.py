"""What the settings of a device do not let leave it is not taken, whatever client the device has; all four services in one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from elevation.model import Assignments, Include, ReportingScope, SettingsPolicy
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epm.reporting.v1 import agent_pb2_grpc, reports_pb2, reports_pb2_grpc
from services.policy.codec.authored import settings_policy_to_proto
from tests.builders.device_service import EnrolledDevice
from tests.builders.whole import Whole, whole
from tests.fakes.reporting import DeviceStream, decided, unmanaged

pytestmark = pytest.mark.xdist_group("scope")
PATIENCE = 30.0


def policy(scope: ReportingScope | None) -> policies_pb2.SettingsPolicy:
    """Return the settings of all devices; without a scope nothing is sent."""
    assignments = Assignments((Include("all-devices"),))
    sends = scope is not None
    return settings_policy_to_proto(
        SettingsPolicy("all", send_reporting_data=sends, reporting_scope=scope, assignments=assignments)
    )


@asynccontextmanager
async def stream(house: Whole, device: EnrolledDevice) -> AsyncIterator[DeviceStream]:
    """Open a stream as a client that heeds no settings."""
    async with house.mesh(device.identity) as channel:
        opened = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        await opened.hello()
        yield opened


async def stored(house: Whole) -> set[str]:
    """Return the attempts that administrators find."""
    stub = reports_pb2_grpc.ReportingServiceStub(house.public)
    page = await stub.ListElevations(reports_pb2.ListElevationsRequest(page_size=1000), metadata=house.owner)
    return {elevation.attempt_id for elevation in page.elevations}


class Client:
    """Sends one managed and one unmanaged attempt again and again, and tells which came to be refused."""

    def __init__(self, opened: DeviceStream) -> None:
        self._stream = opened
        self._sent = 0

    async def refused(self) -> tuple[bool, bool]:
        """Send both; say of each whether it was refused."""
        now = datetime.now(UTC)
        managed, other = self._sent + 1, self._sent + 2
        self._sent = other
        await self._stream.send([decided(managed, at=now), unmanaged(other, at=now)], first=managed)
        seen: set[int] = set()
        while True:
            ack = (await self._stream.read()).ack
            seen.update(one.seq for one in ack.rejected)
            if ack.committed_through >= other:
                return managed in seen, other in seen

    async def until(self, expected: tuple[bool, bool]) -> list[str]:
        """Send until this is refused; return the last two."""
        async with asyncio.timeout(PATIENCE):
            while await self.refused() != expected:
                pass
        return [f"attempt-{self._sent - 1}", f"attempt-{self._sent}"]


async def test_a_client_that_heeds_no_settings_is_held_to_them(tmp_path: Path) -> None:
    async with whole(tmp_path) as house:
        policies = policies_pb2_grpc.PolicyServiceStub(house.public)
        made = await policies.CreateSettingsPolicy(
            policies_pb2.CreateSettingsPolicyRequest(settings_policy=policy(ReportingScope.MANAGED)),
            metadata=house.owner,
        )
        device = await house.enrol()
        async with stream(house, device) as opened:
            client = Client(opened)
            managed, other = await client.until((False, True))
            assert {managed, other} & await stored(house) == {managed}
            etag = made.settings_policy.metadata.etag
            for scope, refused in ((None, (True, True)), (ReportingScope.ALL, (False, False))):
                changed = policy(scope)
                changed.metadata.etag = etag
                answer = await policies.UpdateSettingsPolicy(
                    policies_pb2.UpdateSettingsPolicyRequest(settings_policy=changed), metadata=house.owner
                )
                etag = answer.settings_policy.metadata.etag
                both = set(await client.until(refused))
                assert both & await stored(house) == (set() if scope is None else both)
