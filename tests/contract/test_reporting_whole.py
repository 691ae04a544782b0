"""The service as `build` puts it together, between the real rbac service and a directory: an event in, a report out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from epm.device.v1 import devices_pb2, lifecycle_pb2, lifecycle_pb2_grpc
from epm.reporting.v1 import agent_pb2_grpc, reports_pb2, reports_pb2_grpc
from services._chassis import pki
from services._chassis.config import CertificateFiles, ServiceSettings
from services._chassis.run import Build, running
from services._chassis.server import ServiceParts
from services.rbac.__main__ import build as build_rbac
from services.reporting.__main__ import build as build_reporting
from tests.builders.doors import OpenDoors, bearer, device_identity, service_identity, settings_for
from tests.builders.refusals import refusal_of
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock
from tests.fakes.reporting import DeviceStream, completed, decided


class FakeDirectory(lifecycle_pb2_grpc.DirectoryServiceServicer):
    """Answer WatchDirectory as the device service does: everything first, then what changes."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[lifecycle_pb2.DirectoryDevice] = asyncio.Queue()

    def tell(self, device_id: str, name: str, *, retired: bool = False) -> None:
        """Let the directory show the device so."""
        state = devices_pb2.ENROLMENT_STATE_RETIRED if retired else devices_pb2.ENROLMENT_STATE_ENROLLED
        self._told.put_nowait(
            lifecycle_pb2.DirectoryDevice(device_id=device_id, name=name, enrolment_state=state, scope_tags=["emea"])
        )

    async def WatchDirectory(
        self, _request: lifecycle_pb2.WatchDirectoryRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[lifecycle_pb2.WatchDirectoryResponse]:
        """Send the changes as the test tells them."""
        yield lifecycle_pb2.WatchDirectoryResponse(reset=True, revision=1)
        while True:
            device = await self._told.get()
            yield lifecycle_pb2.WatchDirectoryResponse(devices=[device], revision=2)

    async def ReportSettingsStates(
        self, _request: lifecycle_pb2.ReportSettingsStatesRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> lifecycle_pb2.ReportSettingsStatesResponse:
        """Take no notice: the policy service alone calls this."""
        return lifecycle_pb2.ReportSettingsStatesResponse()

    async def build(self, _settings: ServiceSettings) -> ServiceParts:
        """Hand the directory over as a service."""
        add = partial(lifecycle_pb2_grpc.add_DirectoryServiceServicer_to_server, self)
        access = FakeAccess()
        access.owner()
        return ServiceParts(name="device", access=access.control, mesh=[add])


@dataclass
class Installation:
    """A process that runs rbac and reporting, with a directory beside them."""

    doors: OpenDoors
    directory: FakeDirectory
    owner: tuple[tuple[str, str], ...]


@pytest.fixture
async def installation(tmp_path: Path, database_url: str) -> AsyncIterator[Installation]:
    files = CertificateFiles(tmp_path / "certs" / "reporting.crt", tmp_path / "certs" / "reporting.key")
    pki.write_issued(service_identity("reporting"), tmp_path / "certs", "reporting")
    settings = settings_for(tmp_path, service_certificate=files, database_url=database_url)
    directory = FakeDirectory()  # type: ignore[abstract]  # what is not overridden answers UNIMPLEMENTED
    reporting = partial(build_reporting, clock=FakeClock())
    builds: dict[str, Build] = {"rbac": build_rbac, "reporting": reporting, "device": directory.build}
    async with running(settings, builds) as host:
        await host.wait_until_serving()
        owner = bearer((tmp_path / "owner-token").read_text().strip())
        yield Installation(OpenDoors(host, host.settings), directory, owner)


async def test_an_event_of_a_device_is_in_the_report_once_it_is_acknowledged(installation: Installation) -> None:
    installation.directory.tell("d1", "ws-17")
    async with installation.doors.mesh(device_identity("d1")) as channel:
        stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        await stream.hello()
        await stream.send([decided(1), completed(2, "attempt-1", exit_code=3)])
        await stream.acknowledged(2)
    async with installation.doors.public() as channel:
        stub = reports_pb2_grpc.ReportingServiceStub(channel)
        found = await stub.ListElevations(reports_pb2.ListElevationsRequest(), metadata=installation.owner)
        refused = await refusal_of(stub.ListElevations(reports_pb2.ListElevationsRequest()))
    assert [(one.device_name, one.decided.user, one.exit_code) for one in found.elevations] == [("ws-17", "alice", 3)]
    assert refused.code == "UNAUTHENTICATED"


async def test_a_device_that_the_directory_retires_is_cut_off(installation: Installation) -> None:
    installation.directory.tell("d1", "ws-17")
    async with installation.doors.mesh(device_identity("d1")) as channel:
        stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        await stream.hello()
        installation.directory.tell("d1", "ws-17", retired=True)
        assert (await stream.failure())[0] == "PERMISSION_DENIED"
        again = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        assert await again.failure() == ("PERMISSION_DENIED", "the device is retired; enrol it again with a new token")
