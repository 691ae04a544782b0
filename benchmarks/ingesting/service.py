"""The way of events from the mesh door to a database, in a process of its own."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection

import uvloop

from benchmarks.distributing.fleet import allow_many_connections
from services._chassis import logging
from services._chassis.access import AccessControl
from services._chassis.clock import SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.run import COLLECTED_AT
from services._chassis.server import Host, ServiceParts
from services.reporting.agent_servicer import EventStreamServicer, add_to_server
from services.reporting.model.devices import Device
from services.reporting.model.events import Batch, Rejection
from services.reporting.open_streams import OpenStreams
from services.reporting.store.apart import SinkApart
from services.reporting.store.wire import Opening
from services.reporting.workers import GroupCommitWriter

NOWHERE = "nowhere"


def serve(pipe: Connection, settings: ServiceSettings) -> None:
    """Take in events for one database URL after the other, until there is none."""
    logging.configure(level="warning", as_json=True)
    allow_many_connections()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)  # as every service runs
    uvloop.run(_serve(pipe, settings))


async def _serve(pipe: Connection, settings: ServiceSettings) -> None:
    while url := await asyncio.to_thread(pipe.recv):
        async with ingesting(url, settings) as address:
            pipe.send(address)
            await asyncio.to_thread(pipe.recv)
        pipe.send("closed")


class Forgetful:
    """Store nothing: what is left is the cost of the streams."""

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        """Forget the batches."""
        return [()] * len(batches)

    async def close(self) -> None:
        """Close nothing."""


async def durable(url: str) -> SinkApart:
    """Make the service's tables, and return what writes into them, as the service does; its process is not started yet."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    await database.close()
    address = database.url.render_as_string(hide_password=False)
    opening = Opening(address, "warning", log_as_json=True, environment=dict(os.environ))
    return SinkApart(opening, monotonic=SystemClock().monotonic)


@asynccontextmanager
async def ingesting(url: str, settings: ServiceSettings) -> AsyncIterator[str]:
    """Run the way of events from the mesh door to the database; hand out the door's address."""
    sink = Forgetful() if url == NOWHERE else await durable(url)
    await sink.store([])  # the process that writes has started before anything is measured, as in a service that runs
    writer = GroupCommitWriter(sink)
    servicer = EventStreamServicer(admitted, OpenStreams(), writer, SystemClock())
    add = partial(add_to_server, servicer)
    host = Host(settings)
    bound = host.bind()
    host.add(ServiceParts(name="reporting", access=AccessControl(SystemClock()), mesh=[add], workers=[writer.worker()]))
    await host.start()
    yield bound.mesh_address
    await host.stop()
    await writer.close()
    await sink.close()


async def admitted(device_id: str, _serial: str) -> Device:
    """Know every device, whatever certificate it shows."""
    return Device(device_id, "name", enrolled=True)
