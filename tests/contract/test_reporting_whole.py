"""The service as `build` puts it together, between the real rbac service and a directory: an event in, a report out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from epm.device.v1 import devices_pb2, groups_pb2, lifecycle_pb2, lifecycle_pb2_grpc
from epm.reporting.v1 import (
    agent_pb2_grpc,
    export_pb2,
    export_pb2_grpc,
    insights_pb2,
    insights_pb2_grpc,
    reports_pb2,
    reports_pb2_grpc,
)
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
        self._told: asyncio.Queue[lifecycle_pb2.WatchDirectoryResponse] = asyncio.Queue()

    def tell(self, device_id: str, name: str, *, retired: bool = False) -> None:
        """Let the directory show the device so."""
        state = devices_pb2.ENROLMENT_STATE_RETIRED if retired else devices_pb2.ENROLMENT_STATE_ENROLLED
        device = lifecycle_pb2.DirectoryDevice(
            device_id=device_id, name=name, enrolment_state=state, scope_tags=["emea"]
        )
        self._told.put_nowait(lifecycle_pb2.WatchDirectoryResponse(devices=[device], revision=2))

    def tell_group(self, name: str, *members: str) -> None:
        """Let the directory show a group of devices so."""
        kind = groups_pb2.GROUP_TYPE_DEVICE
        group = lifecycle_pb2.DirectoryGroup(name=name, type=kind, members=members, scope_tags=["emea"])
        self._told.put_nowait(lifecycle_pb2.WatchDirectoryResponse(groups=[group], revision=2))

    async def WatchDirectory(
        self, _request: lifecycle_pb2.WatchDirectoryRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[lifecycle_pb2.WatchDirectoryResponse]:
        """Send the changes as the test tells them."""
        yield lifecycle_pb2.WatchDirectoryResponse(reset=True, revision=1)
        while True:
            yield await self._told.get()

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


async def test_reports_of_every_kind_are_about_the_groups_that_the_directory_tells(installation: Installation) -> None:
    installation.directory.tell_group("lab", "ws-17")
    installation.directory.tell("d1", "ws-17")
    async with installation.doors.mesh(device_identity("d1")) as channel:
        stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        await stream.hello()
        await stream.send([decided(1)])
        await stream.acknowledged(1)
    async with installation.doors.public() as channel:
        for ask in _every_question(channel, installation.owner):
            assert await ask("lab") is not None
            refused = await refusal_of(ask("nothing"))
            assert refused.problems == {
                "filter.device_groups": 'names a device group that is not there: "nothing"; list the groups for those there are'
            }


def _every_question(channel: grpc.aio.Channel, owner: Any) -> Iterator[Callable[[str], Awaitable[Any]]]:
    """Give how a report of every service is asked for by a group; each gives what it tells first."""
    reports = reports_pb2_grpc.ReportingServiceStub(channel)
    insights = insights_pb2_grpc.InsightsServiceStub(channel)
    exports = export_pb2_grpc.ExportServiceStub(channel)

    def about(group: str) -> reports_pb2.ElevationFilter:
        return reports_pb2.ElevationFilter(device_groups=[group])

    async def elevations(group: str) -> Any:
        found = await reports.ListElevations(reports_pb2.ListElevationsRequest(filter=about(group)), metadata=owner)
        return found.elevations[0]

    async def overview(group: str) -> Any:
        return await insights.GetOverview(insights_pb2.GetOverviewRequest(filter=about(group)), metadata=owner)

    async def readiness(group: str) -> Any:
        return await insights.ListReadiness(insights_pb2.ListReadinessRequest(filter=about(group)), metadata=owner)

    async def watch(group: str) -> Any:
        asked = reports_pb2.WatchElevationsRequest(filter=about(group))
        return await first(reports.WatchElevations(asked, metadata=owner))

    async def report(group: str) -> Any:
        kind, form = export_pb2.REPORT_KIND_ELEVATIONS, export_pb2.EXPORT_FORMAT_CSV
        asked = export_pb2.ExportReportRequest(report=kind, format=form, filter=about(group))
        return await first(exports.ExportReport(asked, metadata=owner))

    async def events(group: str) -> Any:
        call = exports.ExportEvents(metadata=owner)
        hello = export_pb2.ExportHello(consumer="siem", filter=about(group))
        await call.write(export_pb2.ExportEventsRequest(hello=hello))
        return await first(call)

    async def first(call: Any) -> Any:
        found = await call.read()
        if found is grpc.aio.EOF:
            raise grpc.aio.AioRpcError(
                await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
            )
        call.cancel()
        return found

    return iter((elevations, overview, readiness, watch, report, events))


async def test_a_device_that_the_directory_retires_is_cut_off(installation: Installation) -> None:
    installation.directory.tell("d1", "ws-17")
    async with installation.doors.mesh(device_identity("d1")) as channel:
        stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        await stream.hello()
        installation.directory.tell("d1", "ws-17", retired=True)
        assert (await stream.failure())[0] == "PERMISSION_DENIED"
        again = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        assert await again.failure() == ("PERMISSION_DENIED", "the device is retired; enrol it again with a new token")
