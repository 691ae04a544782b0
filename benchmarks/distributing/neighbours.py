"""What surrounds the policy service: rbac and device services that say what the benchmark wants, and nothing else."""

# ruff: noqa: N802 - the contracts name the methods

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.distributing.fleet import allow_many_connections
from epm.access.v1 import access_pb2, access_pb2_grpc
from epm.device.v1 import devices_pb2, groups_pb2, lifecycle_pb2, lifecycle_pb2_grpc
from services._chassis.access_client import snapshot_to_proto
from services._chassis.config import ServiceSettings
from services._chassis.run import run_until_signalled
from services._chassis.server import ServiceParts
from services.policy.__main__ import build
from tests.fakes.access import FakeAccess

TRANSFER = 1000
"""Devices in one message, as the device service does it."""

REGIONS = ("emea", "apac", "amer", "nordics")
HEARTBEAT = 5.0


class Access(access_pb2_grpc.AccessServiceServicer):
    """Know one Owner."""

    def __init__(self, access: FakeAccess) -> None:
        self._snapshot = snapshot_to_proto(access.control.access().snapshot)

    async def WatchAccess(
        self, _request: access_pb2.WatchAccessRequest, _context: object
    ) -> AsyncIterator[access_pb2.WatchAccessResponse]:
        """Tell the snapshot, and then that it holds."""
        yield access_pb2.WatchAccessResponse(snapshot=self._snapshot)
        while True:
            await asyncio.sleep(HEARTBEAT)
            yield access_pb2.WatchAccessResponse(heartbeat=access_pb2.Heartbeat(revision=self._snapshot.revision))

    async def ReportTokenUse(self, _request: Any, _context: object) -> access_pb2.ReportTokenUseResponse:
        """Forget it."""
        return access_pb2.ReportTokenUseResponse()


class Directory(lifecycle_pb2_grpc.DirectoryServiceServicer):
    """Tell a directory that the benchmark changes."""

    def __init__(self, devices: Sequence[lifecycle_pb2.DirectoryDevice]) -> None:
        self.revision = 1
        self.states = 0
        self.devices = devices
        self._news: asyncio.Queue[lifecycle_pb2.WatchDirectoryResponse] = asyncio.Queue()

    def put(
        self,
        *,
        devices: Sequence[lifecycle_pb2.DirectoryDevice] = (),
        groups: Sequence[lifecycle_pb2.DirectoryGroup] = (),
    ) -> None:
        """Change devices and groups."""
        self.revision += 1
        self._news.put_nowait(
            lifecycle_pb2.WatchDirectoryResponse(devices=devices, groups=groups, revision=self.revision)
        )

    async def WatchDirectory(
        self, _request: lifecycle_pb2.WatchDirectoryRequest, _context: object
    ) -> AsyncIterator[lifecycle_pb2.WatchDirectoryResponse]:
        """Tell everything, then the news, to the one who watches."""
        starts = range(0, len(self.devices), TRANSFER)
        for start in starts:
            yield lifecycle_pb2.WatchDirectoryResponse(
                reset=start == 0,
                more=start != starts[-1],
                devices=self.devices[start : start + TRANSFER],
                revision=1,
            )
        while True:
            yield await self._news.get()

    async def ReportSettingsStates(
        self, request: lifecycle_pb2.ReportSettingsStatesRequest, _context: object
    ) -> lifecycle_pb2.ReportSettingsStatesResponse:
        """Count them."""
        self.states += len(request.states)
        return lifecycle_pb2.ReportSettingsStatesResponse()

    async def ReportUsedGroups(self, _request: Any, _context: object) -> lifecycle_pb2.ReportUsedGroupsResponse:
        """Forget them."""
        return lifecycle_pb2.ReportUsedGroupsResponse()

    async def ReportSightings(self, _request: Any, _context: object) -> lifecycle_pb2.ReportSightingsResponse:
        """Forget them."""
        return lifecycle_pb2.ReportSightingsResponse()


def directory_device(device_id: str, number: int) -> lifecycle_pb2.DirectoryDevice:
    """Show a device of a fleet: it has one user, and belongs to a region."""
    return lifecycle_pb2.DirectoryDevice(
        device_id=device_id,
        name=f"PC-{number:05}",
        enrolment_state=devices_pb2.ENROLMENT_STATE_ENROLLED,
        os="windows",
        os_version=f"10.0.{number % 7}",
        architecture="x86_64",
        ownership=devices_pb2.OWNERSHIP_CORPORATE,
        tags=[REGIONS[number % len(REGIONS)]],
        users=[f"user-{number}@example.com"],
        scope_tags=["default"],
    )


def device_group(name: str, *, members: Sequence[str] = (), where: str = "") -> lifecycle_pb2.DirectoryGroup:
    """Show a group of devices."""
    return lifecycle_pb2.DirectoryGroup(name=name, type=groups_pb2.GROUP_TYPE_DEVICE, members=members, filter=where)


def neighbours(access: FakeAccess, directory: Directory) -> ServiceParts:
    """Hand both services over."""
    return ServiceParts(
        name="neighbours",
        access=access.control,
        mesh=[
            partial(access_pb2_grpc.add_AccessServiceServicer_to_server, Access(access)),
            partial(lifecycle_pb2_grpc.add_DirectoryServiceServicer_to_server, directory),
        ],
    )


def run_policy(pipe: Connection, settings: ServiceSettings, log: Path) -> None:
    """Be the policy service, in a process of its own, as an operator starts it; its log goes to a file."""
    allow_many_connections()

    def tell(bound: ServiceSettings) -> None:
        pipe.send((bound.mesh_address, bound.public_address))

    with log.open("wb") as stream:
        os.dup2(stream.fileno(), 2)
    sys.exit(run_until_signalled(settings, {"policy": build}, tell))
