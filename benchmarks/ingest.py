"""Measure ingest: events a second from `StreamEvents` into SQLite and PostgreSQL, beside what the bare driver can do.

Agents stream over mutual TLS to the service in a process of its own; an event counts once it is acknowledged, which is
after its commit. Three tables:

1. As fast as it goes. In the same round, on the same disk, with the same durability and settings, a bare driver inserts the same
   rows: in groups as large as the load lets them grow (raw: the limit that ingest is measured against), and with a commit for
   each row (what a naive writer would do). The same streams into a sink that stores nothing show what the streams alone cost.
   It lasts for seconds: in the first one credits still rise, logs of databases are not carried over yet, and indexes are small.
2. Many streams at a pace: how long a message waits for its acknowledgement, from when it was due.
3. Beside sudo_logsrvd, fed by its own protocol: on open connections, and with a connection for each event. It writes to a file,
   syncs nothing, acknowledges nothing and speaks no TLS; OpenEPM does all of it. So its file is synced for it when all is written:
   what both count is durable. Left out where it is not installed.

Every way gets an empty database each time; only ingest counts what it stores. Agents and service share the machine's cores.

Run by `make bench` or `python benchmarks/ingest.py [--rounds N] [--quick]`. Writes results/ingest.json after more than one round.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import uvloop

from benchmarks.distributing.fleet import allow_many_connections
from benchmarks.ingesting.agents import connected_anew, paced, streamed
from benchmarks.ingesting.loads import Journal, Load, journals
from benchmarks.ingesting.raw import raw, rows_in
from benchmarks.ingesting.service import NOWHERE, serve
from benchmarks.rivals import sudo
from services._chassis import logging
from services.reporting.store.rows import Row
from tests.builders.doors import settings_for
from tests.postgres import Cluster, PostgresMissingError, shared_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "ingest.json"
NAIVE_ROWS = 400
BUDGET = 150.0
"""Seconds after which no further round begins: a busy machine measures fewer rounds, not longer."""

# Agents send as much as their credit allows, which begins at 100 and rises to 1,000 events, or to 2,000 where there are four agents.
LOADS = (
    Load("8 agents, batches of 100", streams=8, batch=100, window=10, events=144_000),
    Load("50 agents, one by one", streams=50, batch=1, window=1, events=2_500),
)
RATE = 5_000.0
PACED = Load("2,000 streams, five a message", streams=2_000, batch=5, window=1, events=50_000)
OPEN = Load("4 open connections", streams=4, batch=100, window=20, events=48_000)
ANEW = Load("a connection for each event", streams=4, batch=1, window=1, events=400)
Measured = TypeVar("Measured")


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured, in events a second, and the seconds from sending a batch to its acknowledgement."""

    streamed: float
    forgotten: float
    raw: float
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
    raw_per_second: float
    naive_per_second: float
    ratio_to_raw: float
    ratio_to_naive: float
    ack_p50_ms: float
    ack_p99_ms: float


@dataclass(frozen=True, slots=True)
class Paced:
    """How long messages waited at a pace."""

    database: str
    load: str
    events_per_second: float
    ack_p50_ms: float
    ack_p99_ms: float


@dataclass(frozen=True, slots=True)
class Beside:
    """Events a second of one way, ours and theirs."""

    load: str
    sqlite_per_second: float
    sudo_per_second: float


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

    def one_round(self, database: str, load: Load, sent: Sequence[Journal], rows: Sequence[Row]) -> Round:
        """Measure every way once, one after the other."""
        with self.fresh(database) as url:
            seconds, waits = self.served(url, partial(streamed, load=load, sent=sent))
        forgotten_seconds, _ = self.served(NOWHERE, partial(streamed, load=load, sent=sent))
        with self.fresh(database) as url:
            raw_seconds = raw(url, rows, load.group)
        with self.fresh(database) as url:
            naive_seconds = raw(url, rows[:NAIVE_ROWS], 1)
        return Round(
            streamed=len(rows) / seconds,
            forgotten=len(rows) / forgotten_seconds,
            raw=len(rows) / raw_seconds,
            naive=NAIVE_ROWS / naive_seconds,
            waits=tuple(waits),
        )

    def paced(self, database: str) -> Paced:
        """Measure how long messages wait at a pace."""
        sent = journals(PACED)
        with self.fresh(database) as url:
            waits = sorted(self.served(url, partial(paced, load=PACED, sent=sent, rate=RATE)))
        return Paced(database, PACED.name, RATE, _part(waits, 50), _part(waits, 99))

    def beside(self, rounds: int) -> list[Beside]:
        """Measure ours and sudo_logsrvd in turns. Raises SudoMissingError where there is none."""
        ours: dict[Load, list[float]] = {OPEN: [], ANEW: []}
        theirs: dict[Load, list[float]] = {OPEN: [], ANEW: []}
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder, sudo.running(Path(folder)) as server:
                theirs[OPEN].append(OPEN.events / server.streamed(OPEN.events, OPEN.streams))
                theirs[ANEW].append(ANEW.events / server.connected_anew(ANEW.events, ANEW.streams))
            with self.fresh("SQLite") as url:
                seconds, _ = self.served(url, partial(streamed, load=OPEN, sent=journals(OPEN)))
                ours[OPEN].append(OPEN.events / seconds)
            with self.fresh("SQLite") as url:
                seconds = self.served(url, partial(connected_anew, load=ANEW, sent=journals(ANEW)))
                ours[ANEW].append(ANEW.events / seconds)
        return [
            Beside(load.name, statistics.median(ours[load]), statistics.median(theirs[load])) for load in (OPEN, ANEW)
        ]

    def served(self, url: str, report: Callable[[str], Awaitable[Measured]]) -> Measured:
        """Let agents report to a service that stores in this database."""
        self._pipe.send(url)
        measured = uvloop.run(_run(report(self._pipe.recv())))
        self._pipe.send("enough")
        self._pipe.recv()
        return measured


async def _run(work: Awaitable[Measured]) -> Measured:
    return await work


def _part(waits: Sequence[float], hundredths: int) -> float:
    return waits[len(waits) * hundredths // 100] * 1000


def summed_up(database: str, load: Load, rounds: Sequence[Round]) -> Result:
    """Make medians of the rounds."""
    waits = sorted(wait for one in rounds for wait in one.waits)
    return Result(
        database=database,
        load=load.name,
        rounds=len(rounds),
        events_per_second=statistics.median(one.streamed for one in rounds),
        forgotten_per_second=statistics.median(one.forgotten for one in rounds),
        raw_per_second=statistics.median(one.raw for one in rounds),
        naive_per_second=statistics.median(one.naive for one in rounds),
        ratio_to_raw=statistics.median(one.streamed / one.raw for one in rounds),
        ratio_to_naive=statistics.median(one.streamed / one.naive for one in rounds),
        ack_p50_ms=_part(waits, 50),
        ack_p99_ms=_part(waits, 99),
    )


def measure(bench: Bench, databases: Sequence[str], rounds: int) -> list[Result]:
    """Measure all databases and loads in turns, round by round, as long as there is time."""
    start = perf_counter()
    cases = [(database, load) for load in LOADS for database in databases]
    measured: dict[tuple[str, Load], list[Round]] = {case: [] for case in cases}
    for done in range(rounds):
        if done and (perf_counter() - start) * (done + 1) / done > BUDGET:
            break
        for load in LOADS:
            sent = journals(load)
            rows = rows_in(sent)
            for database in databases:
                measured[database, load].append(bench.one_round(database, load, sent, rows))
    return [summed_up(database, load, measured[database, load]) for database, load in cases]


def print_tables(results: Sequence[Result], waits: Sequence[Paced], beside: Sequence[Beside]) -> None:
    """Print what was measured."""
    print(
        f"{'database':<12}{'load':<31}{'events/s':>10}{'unstored/s':>12}{'raw/s':>9}{'naive/s':>9}{'of raw':>9}"
        f"{'of naive':>10}{'ack p50 ms':>12}{'p99 ms':>8}"
    )
    for one in results:
        print(
            f"{one.database:<12}{one.load:<31}{one.events_per_second:>10,.0f}{one.forgotten_per_second:>12,.0f}"
            f"{one.raw_per_second:>9,.0f}{one.naive_per_second:>9,.0f}{one.ratio_to_raw:>9.2f}"
            f"{one.ratio_to_naive:>9.1f}x{one.ack_p50_ms:>12.1f}{one.ack_p99_ms:>8.1f}"
        )
    for wait in waits:
        print(
            f"{wait.database:<12}{wait.load:<31}{wait.events_per_second:>10,.0f} at a pace"
            f"{'':>49}{wait.ack_p50_ms:>12.1f}{wait.ack_p99_ms:>8.1f}"
        )
    for row in beside:
        print(
            f"{'SQLite':<12}{row.load:<31}{row.sqlite_per_second:>10,.0f}   sudo_logsrvd, synced once, no TLS, no ack:"
            f"{row.sudo_per_second:>10,.0f}"
        )


def measured_all(bench: Bench, databases: Sequence[str], rounds: int) -> dict[str, list[dict[str, object]]]:
    """Measure everything, print the tables, and return the numbers."""
    results = measure(bench, databases, rounds)
    waits, beside = [bench.paced(database) for database in databases], list[Beside]()
    try:
        beside = bench.beside(rounds)
    except sudo.SudoMissingError as error:
        print(f"without sudo_logsrvd: {error}")
    print_tables(results, waits, beside)
    return {
        "rows": [asdict(result) for result in results],
        "paced": [asdict(wait) for wait in waits],
        "beside_sudo_logsrvd": [asdict(row) for row in beside],
    }


def main() -> None:
    """Measure, print the tables, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_const", dest="rounds", const=1, help="one round, to see that it runs")
    rounds = parser.parse_args().rounds
    logging.configure(level="warning", as_json=True)
    allow_many_connections()
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
        kept = measured_all(Bench(folder, pipe, cluster), ("SQLite", "PostgreSQL")[: 2 if cluster else 1], rounds)
        pipe.send("")
        process.join()
    if rounds > 1:
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
