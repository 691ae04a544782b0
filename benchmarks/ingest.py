"""Measure ingest: events a second from `StreamEvents` into SQLite and PostgreSQL, beside what the bare driver can do.

Agents stream over mutual TLS to the service in a process of its own; an event counts once it is acknowledged, which is
after its commit. In the same round, on the same disk and with the same durability, a bare driver inserts the same rows:
in groups as large as the load lets them grow (the limit that ingest is measured against), and with a commit for each row
(what a naive writer would do). The same streams into a sink that stores nothing show what the streams alone cost. Every
way gets an empty database each time; only ingest counts what it stores. Agents and service share the machine's cores.

Run by `make bench` or `python benchmarks/ingest.py [--rounds N] [--quick]`. Writes results/ingest.json after more than one round.
"""

import argparse
import asyncio
import json
import multiprocessing
import sqlite3
import statistics
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc.aio
import psycopg
import uuid_utils
import uvloop

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2, agent_pb2_grpc
from services._chassis import logging
from services._chassis.access import AccessControl
from services._chassis.clock import SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import Host, ServiceParts
from services.reporting.agent_servicer import EventStreamServicer
from services.reporting.codec.incoming import batch_from_proto
from services.reporting.model.devices import Device
from services.reporting.model.events import Batch, Rejection, microseconds
from services.reporting.open_streams import OpenStreams
from services.reporting.store.dimensions import Dimension
from services.reporting.store.rows import ATTEMPTS, Row, name_of, rows_of
from services.reporting.store.sink import DurableSink
from services.reporting.workers import GroupCommitWriter
from tests.builders.doors import authority, device_identity, settings_for
from tests.fakes.reporting import decided, message
from tests.postgres import Cluster, PostgresMissingError, shared_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "ingest.json"
METHOD = "/epm.reporting.v1.EventStreamService/StreamEvents"
NOWHERE = "nowhere"
NAIVE_ROWS = 400
BUDGET = 35.0
"""Seconds after which no further round begins: a busy machine measures fewer rounds, not longer."""


@dataclass(frozen=True, slots=True)
class Load:
    """Say how many agents send what: each has at most `window` batches unacknowledged."""

    name: str
    streams: int
    batch: int
    window: int
    events: int

    @property
    def group(self) -> int:
        """Return how many events can wait for a commit at once."""
        return self.streams * self.window * self.batch


LOADS = (
    Load("8 agents, batches of 100", streams=8, batch=100, window=2, events=16_000),
    Load("50 agents, one by one", streams=50, batch=1, window=1, events=2_500),
)
Journal = tuple[bytes, ...]
"""The batches of one agent as bytes, each as large as the load says: making events is not what is measured."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured, in events a second, and the seconds from sending a batch to its acknowledgement."""

    streamed: float
    forgotten: float
    bare: float
    naive: float
    waits: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The medians of the rounds; ratios are taken within each round."""

    database: str
    load: str
    rounds: int
    events_per_second: float
    forgotten_per_second: float
    bare_per_second: float
    naive_per_second: float
    ratio_to_bare: float
    ratio_to_naive: float
    ack_p50_ms: float
    ack_p99_ms: float


def an_event(number: int) -> event_pb2.ElevationEvent:
    """Make event `number`: some hundred users and applications, as a fleet would report them."""
    tool = number % 211
    facts = {
        "path": f"C:\\Program Files\\Tool {tool}\\tool-{tool}.exe",
        "sha256": f"{tool:064x}",
        "product_name": f"Tool {tool}",
        "publisher": f"CN=Example {tool % 17}",
    }
    told = {"user": f"user-{number % 307}@example.com", "arguments": ["/silent"], "rule": f"tool-{tool}"}
    attempt_id, reason = str(uuid_utils.uuid7()), "the rule elevates the file without a prompt"
    return decided(number, at=SystemClock().now(), attempt=attempt_id, file=facts, reason=reason, **told)


def journals(load: Load) -> list[Journal]:
    """Make the journals of the agents; every round has new events."""
    each = load.events // load.streams
    made = []
    for agent in range(load.streams):
        events = [an_event(agent * each + number) for number in range(each)]
        batches = [message(events[start : start + load.batch], first=start + 1) for start in range(0, each, load.batch)]
        made.append(tuple(agent_pb2.StreamEventsRequest(batch=batch).SerializeToString() for batch in batches))
    return made


class Numbers:
    """Number what attempts are counted by as it comes."""

    def __init__(self) -> None:
        self._known: dict[tuple[Dimension, Row], int] = {}

    def keys_of(self, dimension: Dimension, members: Sequence[Row]) -> list[int]:
        """Return the numbers of the members."""
        return [self._known.setdefault((dimension, member), len(self._known) + 1) for member in members]


def rows_in(sent: Sequence[Journal]) -> list[Row]:
    """Return the rows that the journals become, one journal after the other."""
    rows: list[Row] = []
    known = Numbers()
    for key, journal in enumerate(sent, 1):
        for body in journal:
            told = agent_pb2.StreamEventsRequest.FromString(body).batch
            received = microseconds(SystemClock().now())
            batch = batch_from_proto(told, device_id=f"device-{key}", device_name="name", received=received)
            rows += rows_of([batch], {name_of(batch): key}, 1, known).events[ATTEMPTS]
    return rows


def serve(pipe: Connection, settings: ServiceSettings) -> None:
    """Take in events for one database URL after the other, until there is none."""
    logging.configure(level="warning", as_json=True)
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


async def durable(url: str) -> DurableSink:
    """Make the service's tables, and return what writes into them."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    await database.close()
    return DurableSink.on(database.url)


@asynccontextmanager
async def ingesting(url: str, settings: ServiceSettings) -> AsyncIterator[str]:
    """Run the way of events from the mesh door to the database; hand out the door's address."""
    sink = Forgetful() if url == NOWHERE else await durable(url)
    writer = GroupCommitWriter(sink)
    servicer = EventStreamServicer(admitted, OpenStreams(), writer, SystemClock())
    add = partial(agent_pb2_grpc.add_EventStreamServiceServicer_to_server, servicer)
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


class Agent:
    """Stream a journal and note how long each batch waits for its acknowledgement."""

    def __init__(self, journal: Journal, load: Load, call: Any) -> None:
        self._journal = journal
        self._load = load
        self._call = call
        self._credit = 0
        self.waits: list[float] = []

    async def greet(self) -> None:
        """Open the stream."""
        hello = agent_pb2.StreamEventsRequest(hello=agent_pb2.EventsHello(agent_version="0.1.0"))
        await self._call.write(hello.SerializeToString())
        self._credit = (await self._call.read()).welcome.credit

    async def report(self) -> None:
        """Send everything, and return once everything is acknowledged."""
        sent_at: list[float] = []
        acknowledged = 0
        while acknowledged < len(self._journal):
            window = min(self._load.window, max(self._credit // self._load.batch, 1))
            while len(sent_at) < min(acknowledged + window, len(self._journal)):
                sent_at.append(perf_counter())
                await self._call.write(self._journal[len(sent_at) - 1])
            response = await self._call.read()
            if response.HasField("credit"):
                self._credit = response.credit.credit
            through = response.ack.committed_through
            while (acknowledged + 1) * self._load.batch <= through:
                self.waits.append(perf_counter() - sent_at[acknowledged])
                acknowledged += 1


async def streamed(address: str, load: Load, sent: Sequence[Journal]) -> tuple[float, list[float]]:
    """Let all agents report at once; return the seconds that it takes, and how long each batch waited."""
    channels = [_channel(address, f"device-{number}") for number in range(len(sent))]
    reply = agent_pb2.StreamEventsResponse.FromString
    agents = [
        Agent(journal, load, channel.stream_stream(METHOD, None, reply)())
        for journal, channel in zip(sent, channels, strict=True)
    ]
    await asyncio.gather(*(agent.greet() for agent in agents))
    start = perf_counter()
    await asyncio.gather(*(agent.report() for agent in agents))
    seconds = perf_counter() - start
    await asyncio.gather(*(channel.close() for channel in channels))
    return seconds, [wait for agent in agents for wait in agent.waits]


def _channel(address: str, device_id: str) -> grpc.aio.Channel:
    identity = device_identity(device_id)
    return grpc.aio.secure_channel(
        address, grpc.ssl_channel_credentials(authority().pem, identity.key, identity.certificate)
    )


def bare(url: str, rows: Sequence[Row], group: int) -> float:
    """Insert the rows, a commit for each group; return the seconds that it takes."""
    uvloop.run(durable(url))
    with closing(_connected(url)) as connection:
        cursor, statement = connection.cursor(), ATTEMPTS.insert("?" if url.startswith("sqlite") else "%s")
        start = perf_counter()
        for first in range(0, len(rows), group):
            cursor.execute("BEGIN")
            cursor.executemany(statement, rows[first : first + group])
            cursor.execute("COMMIT")
        return perf_counter() - start


def _connected(url: str) -> Any:
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        file.execute("PRAGMA synchronous=FULL")
        return file
    server = psycopg.connect(url, autocommit=True)
    server.execute("SET synchronous_commit = on")
    return server


class Bench:
    """Measure, with a service at the other end of the pipe."""

    def __init__(self, folder: Path, pipe: Connection, cluster: Cluster | None) -> None:
        self._folder = folder
        self._pipe = pipe
        self._cluster = cluster
        self._files = 0

    @contextmanager
    def fresh(self, database: str) -> Iterator[str]:
        """Hand out the URL of an empty database."""
        if database == "PostgreSQL" and self._cluster is not None:
            with self._cluster.fresh_database() as url:
                yield url
            return
        self._files += 1
        yield f"sqlite:///{self._folder / f'{self._files}.db'}"

    def one_round(self, database: str, load: Load) -> Round:
        """Measure every way once, one after the other."""
        sent = journals(load)
        rows = rows_in(sent)
        with self.fresh(database) as url:
            seconds, waits = self._streamed(url, load, sent)
        forgotten_seconds, _ = self._streamed(NOWHERE, load, sent)
        with self.fresh(database) as url:
            bare_seconds = bare(url, rows, load.group)
        with self.fresh(database) as url:
            naive_seconds = bare(url, rows[:NAIVE_ROWS], 1)
        return Round(
            streamed=len(rows) / seconds,
            forgotten=len(rows) / forgotten_seconds,
            bare=len(rows) / bare_seconds,
            naive=NAIVE_ROWS / naive_seconds,
            waits=tuple(waits),
        )

    def _streamed(self, url: str, load: Load, sent: Sequence[Journal]) -> tuple[float, list[float]]:
        self._pipe.send(url)
        measured = uvloop.run(streamed(self._pipe.recv(), load, sent))
        self._pipe.send("enough")
        self._pipe.recv()
        return measured


def summed_up(database: str, load: Load, rounds: Sequence[Round]) -> Result:
    """Make medians of the rounds."""
    waits = sorted(wait for one in rounds for wait in one.waits)
    return Result(
        database=database,
        load=load.name,
        rounds=len(rounds),
        events_per_second=statistics.median(one.streamed for one in rounds),
        forgotten_per_second=statistics.median(one.forgotten for one in rounds),
        bare_per_second=statistics.median(one.bare for one in rounds),
        naive_per_second=statistics.median(one.naive for one in rounds),
        ratio_to_bare=statistics.median(one.streamed / one.bare for one in rounds),
        ratio_to_naive=statistics.median(one.streamed / one.naive for one in rounds),
        ack_p50_ms=waits[len(waits) // 2] * 1000,
        ack_p99_ms=waits[len(waits) * 99 // 100] * 1000,
    )


def measure(bench: Bench, databases: Sequence[str], rounds: int) -> list[Result]:
    """Measure all databases and loads in turns, round by round, as long as there is time."""
    start = perf_counter()
    cases = [(database, load) for load in LOADS for database in databases]
    measured: dict[tuple[str, Load], list[Round]] = {case: [] for case in cases}
    for done in range(rounds):
        if done and (perf_counter() - start) * (done + 1) / done > BUDGET:
            break
        for case in cases:
            measured[case].append(bench.one_round(*case))
    return [summed_up(database, load, measured[database, load]) for database, load in cases]


def print_table(results: Sequence[Result]) -> None:
    """Print what was measured."""
    print(
        f"{'database':<12}{'load':<25}{'events/s':>10}{'unstored/s':>12}{'bare/s':>9}{'naive/s':>9}{'of bare':>9}"
        f"{'of naive':>10}{'ack p50 ms':>12}{'p99 ms':>8}"
    )
    for one in results:
        print(
            f"{one.database:<12}{one.load:<25}{one.events_per_second:>10,.0f}"
            f"{one.forgotten_per_second:>12,.0f}{one.bare_per_second:>9,.0f}{one.naive_per_second:>9,.0f}{one.ratio_to_bare:>9.2f}"
            f"{one.ratio_to_naive:>9.1f}x{one.ack_p50_ms:>12.1f}{one.ack_p99_ms:>8.1f}"
        )


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_const", dest="rounds", const=1, help="one round, to see that it runs")
    rounds = parser.parse_args().rounds
    logging.configure(level="warning", as_json=True)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        cluster = None
        try:
            cluster = held.enter_context(shared_cluster(folder, durable=True))
        except PostgresMissingError as error:
            print(f"without PostgreSQL: {error}")
        pipe, other = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(other, settings_for(folder)))
        process.start()
        results = measure(Bench(folder, pipe, cluster), ("SQLite", "PostgreSQL")[: 2 if cluster else 1], rounds)
        pipe.send("")
        process.join()
    print_table(results)
    if rounds > 1:
        kept = json.dumps({"rows": [asdict(result) for result in results]}, indent=2)
        RESULTS.write_text(kept + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
