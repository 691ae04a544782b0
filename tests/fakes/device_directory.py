"""The device service as other services meet it: it shows devices and hears what settings policies want of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any

import grpc.aio

from epm.device.v1 import devices_pb2, lifecycle_pb2, lifecycle_pb2_grpc
from services._chassis.config import ServiceSettings
from services._chassis.server import ServiceParts
from tests.fakes.access import FakeAccess

REVISION = 5


def entry(
    device_id: str, *users: str, enrolled: bool = True, tags: Iterable[str] = ()
) -> lifecycle_pb2.DirectoryDevice:
    """Show a device that is called as its id in capitals."""
    states = devices_pb2.ENROLMENT_STATE_RETIRED, devices_pb2.ENROLMENT_STATE_ENROLLED
    return lifecycle_pb2.DirectoryDevice(
        device_id=device_id,
        name=device_id.upper(),
        enrolment_state=states[enrolled],
        os="windows",
        os_version="10.0",
        architecture="x86_64",
        ownership=devices_pb2.OWNERSHIP_CORPORATE,
        tags=tags,
        users=users,
        scope_tags=["emea"],
    )


class FakeDeviceService(lifecycle_pb2_grpc.DirectoryServiceServicer):
    """Shows the same devices to whoever watches, and keeps the settings states that it is told."""

    def __init__(self, *devices: lifecycle_pb2.DirectoryDevice, stays: bool = True) -> None:
        self.asked: list[int] = []
        self.heard: list[lifecycle_pb2.SettingsState] = []
        self.used = lifecycle_pb2.ReportUsedGroupsRequest()
        self.sightings: list[lifecycle_pb2.Sighting] = []
        self._devices = devices
        self._stays = stays
        self._told = asyncio.Event()

    async def until(self, desired: str, *, acknowledged: bool) -> None:
        """Wait until this was told of a device."""
        async with asyncio.timeout(20):
            while (desired, acknowledged) not in self.states():
                await self._told.wait()

    async def until_used(self, *groups: str) -> None:
        """Wait until policies were told to be assigned to these groups, and no others."""
        async with asyncio.timeout(20):
            while [group.name for group in self.used.groups] != list(groups):
                await self._told.wait()

    def states(self) -> list[tuple[str, bool]]:
        """Return what was told: what is wanted, and whether the device knows."""
        names = ((lifecycle_pb2.DesiredState.Name(state.desired), state.acknowledged) for state in self.heard)
        return [(name.removeprefix("DESIRED_STATE_"), acknowledged) for name, acknowledged in names]

    async def WatchDirectory(
        self, request: lifecycle_pb2.WatchDirectoryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[lifecycle_pb2.WatchDirectoryResponse]:
        """Show the devices; then stay, or end."""
        self.asked.append(request.revision)
        yield lifecycle_pb2.WatchDirectoryResponse(reset=True, devices=self._devices, revision=REVISION)
        if self._stays:
            await asyncio.Event().wait()

    async def ReportSettingsStates(
        self, request: lifecycle_pb2.ReportSettingsStatesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> lifecycle_pb2.ReportSettingsStatesResponse:
        """Keep the states."""
        self.heard.extend(request.states)
        self._told.set()
        self._told = asyncio.Event()
        return lifecycle_pb2.ReportSettingsStatesResponse()

    async def ReportUsedGroups(
        self, request: lifecycle_pb2.ReportUsedGroupsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> lifecycle_pb2.ReportUsedGroupsResponse:
        """Keep what was told last."""
        self.used = request
        self._told.set()
        self._told = asyncio.Event()
        return lifecycle_pb2.ReportUsedGroupsResponse()

    async def ReportSightings(
        self, request: lifecycle_pb2.ReportSightingsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> lifecycle_pb2.ReportSightingsResponse:
        """Keep the sightings."""
        self.sightings.extend(request.sightings)
        return lifecycle_pb2.ReportSightingsResponse()

    async def build(self, _settings: ServiceSettings) -> ServiceParts:
        """Hand the service over."""
        add = partial(lifecycle_pb2_grpc.add_DirectoryServiceServicer_to_server, self)
        access = FakeAccess()
        access.owner()
        return ServiceParts(name="device", access=access.control, mesh=[add])
