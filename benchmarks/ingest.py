"""Measure ingest: events a second from `StreamEvents` into SQLite and PostgreSQL, beside what the bare driver can do.

Agents stream over mutual TLS to the service in a process of its own; an event counts once it is acknowledged, which is
after its commit. In the same round, on the same disk and with the same durability, a bare driver inserts the same rows:
in groups as large as the load lets them grow (the limit that ingest is measured against), and with a commit for each row
(what a naive writer would do). Every way gets an empty database each time. Agents and service share the machine's cores.

Run by `make bench` or `python benchmarks/ingest.py [--rounds N]`. Writes results/ingest.json.
"""

import argparse
import asyncio
import json
import multiprocessing
import sqlite3
import statistics
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
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

from epm.elevation.v1 import event_pb2, rules_pb2
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
from services.reporting.model.devices import Device, Directory
from services.reporting.model.events import microseconds
from services.reporting.store.rows import ATTEMPTS, Row, rows_of
from services.reporting.store.sink import DurableSink
from services.reporting.streams import OpenStreams
from services.reporting.usecases import admit
from services.reporting.workers import GroupCommitWriter
from tests.builders.doors import authority, device_identity, settings_for
from tests.postgres import Cluster, PostgresMissingError, shared_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "ingest.json"
METHOD = "/epm.reporting.v1.EventStreamService/StreamEvents"
NAIVE_ROWS = 400
BUDGET = 40.0
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
    Load("catching up", streams=8, batch=100, window=2, events=16_000),
    Load("one by one", streams=50, batch=1, window=1, events=2_500),
)


@dataclass(frozen=True, slots=True)
class Journal:
    """What one agent sends, as bytes: making events is not what is measured."""

    device_id: str
    batches: tuple[bytes, ...]
    last_seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured, in events a second, and the seconds from sending a batch to its acknowledgement."""

    streamed: float
    bare: float
    naive: float
    waits: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The medians of the rounds; ratios are taken within each round."""

    database: str
    load: str
    streams: int
    batch: int
    rounds: int
    events_per_second: float
    bare_per_second: float
    naive_per_second: float
    ratio_to_bare: float
    ratio_to_naive: float
    ack_p50_ms: float
    ack_p99_ms: float


# ---- what is sent -----------------------------------------------------------------------------------------------------


def an_event(number: int) -> event_pb2.ElevationEvent:
    """Make event `number`: some hundred users and applications, as a fleet would report them."""
    tool = number % 211
    event = event_pb2.ElevationEvent(
        event_id=str(uuid_utils.uuid7()),
        attempt_id=str(uuid_utils.uuid7()),
        boot_id="01930000-0000-7000-8000-000000000001",
        decided=event_pb2.Decided(
            user=f"user-{number % 307}@example.com",
            trigger=event_pb2.TRIGGER_REQUEST,
            platform=rules_pb2.PLATFORM_WINDOWS,
            file=event_pb2.FileFacts(
                path=f"C:\\Program Files\\Tool {tool}\\tool-{tool}.exe",
                sha256=f"{tool:064x}",
                version=f"1.{tool}.0.0",
                product_name=f"Tool {tool}",
                company_name="Example",
                publisher=f"CN=Example {tool % 17}",
            ),
            arguments=["/silent"],
            outcome=event_pb2.OUTCOME_ELEVATE,
            source=event_pb2.SOURCE_RULE,
            managed=True,
            elevation_type=rules_pb2.ELEVATION_TYPE_AUTOMATIC,
            policy="developer-tools",
            policy_revision=7,
            rule=f"tool-{tool}",
            reason="the rule elevates the file without a prompt",
            result=event_pb2.ATTEMPT_RESULT_ELEVATED,
        ),
    )
    event.occurred.GetCurrentTime()
    return event


def journals(load: Load) -> list[Journal]:
    """Make the journals of the agents; every round has new events."""
    each = load.events // load.streams
    made = []
    for agent in range(load.streams):
        events = [an_event(agent * each + number) for number in range(each)]
        batches, last_seqs = [], []
        for start in range(0, each, load.batch):
            entries = [
                agent_pb2.JournalEntry(seq=start + place, event=event)
                for place, event in enumerate(events[start : start + load.batch], 1)
            ]
            message = agent_pb2.EventBatch(journal_id="security", entries=entries)
            batches.append(agent_pb2.StreamEventsRequest(batch=message).SerializeToString())
            last_seqs.append(start + len(entries))
        made.append(Journal(f"device-{agent}", tuple(batches), tuple(last_seqs)))
    return made


def rows_in(sent: Sequence[Journal]) -> list[Row]:
    """Return the rows that the journals become, one journal after the other."""
    rows: list[Row] = []
    for key, journal in enumerate(sent, 1):
        for body in journal.batches:
            message = agent_pb2.StreamEventsRequest.FromString(body).batch
            received = microseconds(SystemClock().now())
            batch = batch_from_proto(message, device_id=journal.device_id, device_name="name", received=received)
            rows += rows_of([batch], {(journal.device_id, "security"): key}).events[ATTEMPTS]
    return rows


# ---- the service, in a process of its own -----------------------------------------------------------------------------


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


@asynccontextmanager
async def ingesting(url: str, settings: ServiceSettings) -> AsyncIterator[str]:
    """Run the way of events from the mesh door to the database; hand out the door's address."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    sink, streams, directory = DurableSink.on(database.url), OpenStreams(), Directory()
    writer = GroupCommitWriter(sink)
    most = max(load.streams for load in LOADS)
    directory.replace({f"device-{agent}": Device(f"device-{agent}", "name", enrolled=True) for agent in range(most)})

    async def admitted(device_id: str) -> Device:
        return admit(directory, device_id)

    servicer = EventStreamServicer(admitted, streams, writer, SystemClock())
    add = partial(agent_pb2_grpc.add_EventStreamServiceServicer_to_server, servicer)
    host = Host(settings)
    bound = host.bind()
    host.add(ServiceParts(name="reporting", access=AccessControl(SystemClock()), mesh=[add], workers=[writer.worker()]))
    await host.start()
    yield bound.mesh_address
    await host.stop()
    await writer.close()
    await sink.close()
    await database.close()


# ---- the agents -------------------------------------------------------------------------------------------------------


class Agent:
    """Stream a journal and note how long each batch waits for its acknowledgement."""

    def __init__(self, journal: Journal, load: Load, call: Any) -> None:
        self._journal = journal
        self._load = load
        self._call = call
        self.waits: list[float] = []

    async def greet(self) -> None:
        """Open the stream."""
        hello = agent_pb2.StreamEventsRequest(hello=agent_pb2.EventsHello(agent_version="0.1.0"))
        await self._call.write(hello.SerializeToString())
        await self._call.read()

    async def report(self) -> None:
        """Send everything, and return once everything is acknowledged."""
        sent_at: list[float] = []
        acknowledged = 0
        while acknowledged < len(self._journal.batches):
            while len(sent_at) < min(acknowledged + self._load.window, len(self._journal.batches)):
                sent_at.append(perf_counter())
                await self._call.write(self._journal.batches[len(sent_at) - 1])
            through = (await self._call.read()).ack.committed_through
            while acknowledged < len(sent_at) and self._journal.last_seqs[acknowledged] <= through:
                self.waits.append(perf_counter() - sent_at[acknowledged])
                acknowledged += 1


async def streamed(address: str, load: Load, sent: Sequence[Journal]) -> tuple[float, list[float]]:
    """Let all agents report at once; return the seconds that it takes, and how long each batch waited."""
    channels = [_channel(address, journal.device_id) for journal in sent]
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


# ---- the bare driver --------------------------------------------------------------------------------------------------


async def make_tables(url: str) -> None:
    """Make the service's tables."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    await database.close()


def bare(url: str, rows: Sequence[Row], group: int) -> float:
    """Insert the rows, a commit for each group; return the seconds that it takes."""
    uvloop.run(make_tables(url))
    with _connected(url) as (connection, placeholder):
        cursor, statement = connection.cursor(), ATTEMPTS.insert(placeholder)
        start = perf_counter()
        for first in range(0, len(rows), group):
            cursor.execute("BEGIN")
            cursor.executemany(statement, rows[first : first + group])
            cursor.execute("COMMIT")
        return perf_counter() - start


@contextmanager
def _connected(url: str) -> Iterator[tuple[Any, str]]:
    connection: Any
    if url.startswith("sqlite"):
        connection, placeholder = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None), "?"
        connection.execute("PRAGMA synchronous=FULL")
    else:
        connection, placeholder = psycopg.connect(url, autocommit=True), "%s"
        connection.execute("SET synchronous_commit = on")
    try:
        yield connection, placeholder
    finally:
        connection.close()


# ---- the measurement --------------------------------------------------------------------------------------------------


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
            self._pipe.send(url)
            seconds, waits = uvloop.run(streamed(self._pipe.recv(), load, sent))
            self._pipe.send("enough")
            self._pipe.recv()
        with self.fresh(database) as url:
            bare_seconds = bare(url, rows, load.group)
        with self.fresh(database) as url:
            naive_seconds = bare(url, rows[:NAIVE_ROWS], 1)
        return Round(
            streamed=len(rows) / seconds,
            bare=len(rows) / bare_seconds,
            naive=NAIVE_ROWS / naive_seconds,
            waits=tuple(waits),
        )


def summed_up(database: str, load: Load, rounds: Sequence[Round]) -> Result:
    """Make medians of the rounds."""
    waits = sorted(wait for one in rounds for wait in one.waits)
    return Result(
        database=database,
        load=load.name,
        streams=load.streams,
        batch=load.batch,
        rounds=len(rounds),
        events_per_second=statistics.median(one.streamed for one in rounds),
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
        f"{'database':<12}{'load':<13}{'streams x batch':>16}{'events/s':>10}{'bare/s':>9}{'naive/s':>9}{'of bare':>9}"
        f"{'of naive':>10}{'ack p50 ms':>12}{'p99 ms':>8}"
    )
    for one in results:
        print(
            f"{one.database:<12}{one.load:<13}{f'{one.streams} x {one.batch}':>16}{one.events_per_second:>10,.0f}"
            f"{one.bare_per_second:>9,.0f}{one.naive_per_second:>9,.0f}{one.ratio_to_bare:>9.2f}"
            f"{one.ratio_to_naive:>9.1f}x{one.ack_p50_ms:>12.1f}{one.ack_p99_ms:>8.1f}"
        )


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
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
        results = measure(Bench(folder, pipe, cluster), ("SQLite", "PostgreSQL") if cluster else ("SQLite",), rounds)
        pipe.send("")
        process.join()
    print_table(results)
    RESULTS.parent.mkdir(exist_ok=True)
    rows = [asdict(result) for result in results]
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
