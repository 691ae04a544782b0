"""Who watches and takes nothing is sent away, holds nobody up, and loses nothing: on both databases."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio

from epm.reporting.v1 import export_pb2, reports_pb2, reports_pb2_grpc
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.admin_servicer import ReportingServicer
from services.reporting.store.reports import SqlReports
from services.reporting.store.stored import SqlStored
from services.reporting.watching import Watches
from tests.builders.doors import bearer, open_doors
from tests.builders.exportoffice import open_office
from tests.builders.refusals import refusal_of
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.reporting import batch, completed, decided, diagnostic

LARGE = "x" * 200_000
KINDS = (export_pb2.EVENT_KIND_ATTEMPT, export_pb2.EVENT_KIND_COMPLETION, export_pb2.EVENT_KIND_DIAGNOSTIC)
EVERYTHING = reports_pb2.ElevationFilter()
EVERYTHING.occurred_from.seconds = 1


async def rest(call: Any, seen: list[Any]) -> None:
    """Read to the end of a stream."""
    while (message := await call.read()) is not grpc.aio.EOF:
        seen.append(message)


def attempts(seen: list[Any]) -> list[str]:
    """Return the attempts of messages."""
    return [one.attempt_id for message in seen for one in message.elevations]


async def test_a_watcher_that_takes_nothing_loses_its_place_and_goes_on_later(
    database_url: str, tmp_path: Path
) -> None:
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    sink, access = DurableSink.on(database.url, database.changes.announce), FakeAccess()
    watches = Watches(SqlStored(database), database.changes, monotonic=time.monotonic, most=1, patience=0.5)
    servicer = ReportingServicer(SqlReports(database), watches, access.control)
    add = partial(reports_pb2_grpc.add_ReportingServiceServicer_to_server, servicer)
    parts = ServiceParts(name="reporting", access=access.control, public=[add])
    metadata = bearer(access.grant("user:watcher", ["policy_authoring.view_reports"]))
    await sink.store([batch([decided(number, reason=LARGE) for number in range(1, 101)])])
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        stub = reports_pb2_grpc.ReportingServiceStub(channel)
        hung = stub.WatchElevations(reports_pb2.WatchElevationsRequest(filter=EVERYTHING), metadata=metadata)
        beginning = await hung.read()
        assert watches.guests.number == 1
        await sink.store([batch([decided(200)], device="d2")])
        await watches.guests.idle()
        assert watches.guests.number == 0
        seen: list[Any] = [beginning]
        refused = await refusal_of(rest(hung, seen))
        assert refused.reason == "WATCH_STALLED"
        asked = reports_pb2.WatchElevationsRequest(filter=EVERYTHING, cursor=seen[-1].cursor)
        again = stub.WatchElevations(asked, metadata=metadata)
        while attempts(seen)[-1:] != ["attempt-200"]:
            seen.append(await again.read())
        again.cancel()
    assert attempts(seen) == [*(f"attempt-{number}" for number in range(1, 101)), "attempt-200"]
    await watches.guests.idle()
    await sink.close()
    await database.close()


async def test_a_consumer_of_every_kind_that_takes_nothing_loses_its_place_slows_no_intake_and_loses_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with open_office(database_url, tmp_path, most_events=100, patience=0.2) as office:
        token = office.reader()
        await office.sink.store([batch([decided(number, reason=LARGE) for number in range(1, 101)])])
        async with office.stream(token) as hung:
            await hung.hello(kinds=KINDS)
            await hung.read_all(0)
            # While nobody reads, events of every kind are stored.
            for number in range(200, 240, 2):
                events = [completed(number, f"attempt-{number - 199}"), diagnostic(number + 1, f"CODE-{number}")]
                await office.sink.store([batch(events, first=number)])
            await office.exports.guests.idle()
            assert office.exports.guests.number == 0
            assert (await hung.refusal()).reason == "WATCH_STALLED"
        async with office.stream(token) as again:
            await again.hello(kinds=KINDS)
            found = await again.read_all(1)
            while not found[-1].startswith("CODE-238"):
                await again.acknowledge()
                found += await again.read_all(1)
    assert len(found) == len(set(found)) == 140
