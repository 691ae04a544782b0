"""Reporting behind its public door, and administrators who ask it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from elevation.model import Group, GroupType
from epm.reporting.v1 import reports_pb2, reports_pb2_grpc
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.admin_servicer import ReportingServicer
from services.reporting.model.devices import Directory, KnownGroup
from services.reporting.model.groups import DirectoryMemberships
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.reports import SqlReports
from services.reporting.store.stored import SqlStored
from services.reporting.watching import Watches
from tests.builders.doors import bearer, open_doors
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.reporting import enrolled

VIEW_REPORTS = "policy_authoring.view_reports"
Filter = reports_pb2.ElevationFilter
LISTS: dict[str, Any] = {
    "ListElevations": reports_pb2.ListElevationsRequest,
    "ListApplications": reports_pb2.ListApplicationsRequest,
    "ListPublishers": reports_pb2.ListPublishersRequest,
    "ListUsers": reports_pb2.ListUsersRequest,
}
QUESTIONS: dict[str, Any] = {
    **LISTS,
    "SummarizeElevations": reports_pb2.SummarizeElevationsRequest,
    "GetElevation": partial(reports_pb2.GetElevationRequest, attempt_id="attempt-1"),
}
Call = Callable[..., Awaitable[Any]]


LAB = Group("lab", GroupType.DEVICE, ("name-of-d2",))
PEOPLE = Group("people", GroupType.USER, ("bob",))


def directory(*groups: Group) -> Directory:
    """Return a directory of three devices and these groups, which devices of `emea` and `default` see."""
    known = Directory()
    tags = frozenset({"default", "emea"})
    known.replace(
        {device_id: enrolled(device_id) for device_id in ("d1", "d2", "d3")},
        {group.name: KnownGroup(group, tags) for group in groups},
    )
    return known


@dataclass
class Office:
    """Reporting behind its public door, and who may ask it."""

    access: FakeAccess
    sink: DurableSink
    records: SqlDeviceRecords
    stub: reports_pb2_grpc.ReportingServiceStub

    def reader(self, *tags: str) -> Call:
        """Return how an administrator asks who may view the reports on devices with these tags."""
        return self.caller(self.access.grant(f"user:reader-of-{'-'.join(tags)}", [VIEW_REPORTS], scope_tags=tags))

    def caller(self, token: str) -> Call:
        """Return how the owner of the token asks: by the name of the RPC and the fields of the request."""

        async def ask(rpc: str, **fields: Any) -> Any:
            return await getattr(self.stub, rpc)(QUESTIONS[rpc](**fields), metadata=bearer(token))

        return ask


@asynccontextmanager
async def open_office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    """Open reporting on an empty database, with a group of devices and one of users."""
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    sink, access = DurableSink.on(database.url, database.changes.announce), FakeAccess()
    watches = Watches(SqlStored(database), database.changes, monotonic=time.monotonic)
    groups = DirectoryMemberships(directory(LAB, PEOPLE))
    servicer = ReportingServicer(SqlReports(database), watches, access.control, groups)
    add = partial(reports_pb2_grpc.add_ReportingServiceServicer_to_server, servicer)
    parts = ServiceParts(name="reporting", access=access.control, public=[add])
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        yield Office(access, sink, SqlDeviceRecords(database), reports_pb2_grpc.ReportingServiceStub(channel))
    await watches.guests.idle()
    await sink.close()
    await database.close()


async def walk(ask: Call, rpc: str, items: str, **fields: Any) -> list[Any]:
    """Return everything that a list has, page by page."""
    found: list[Any] = []
    token = ""
    while True:
        page = await ask(rpc, page_token=token, **fields)
        found += getattr(page, items)
        if not (token := page.next_page_token):
            return found
