"""Measure elevation requests: from asking to an approver's screen, and from approval to a grant that a device elevates by.

The policy service runs in a process of its own, as an operator starts it; the rbac and device services beside it are played.
Thousands of devices hold their policy streams over mutual TLS, each with a certificate of its own. Users of some of them ask;
those devices are the real agent's code from the stream to the kernel. An approver watches and approves over the public door.

- visible: from before a device calls `SubmitElevationRequest` until the request is read from `WatchElevationRequests`.
- usable: from before the approver calls `ApproveElevationRequest` until the device has verified, kept and acknowledged the
  document with the grant, and the kernel elevates by it.

Users ask one by one, by chance, as many a second as people do; then all at once, and all are approved at once. First few devices
are connected, then all. Then the same devices meet a bare server that passes as many bytes on: a call becomes a message on a
stream. Devices keep their files in memory, where the machine has a folder for that: fifty of them would wait for one disk here,
and no two devices do. Everybody shares the machine's cores. Beside it all, a process keeps one page after the other on the disk of
the database: every request and every approval is a commit that waits for it, and so do those behind.

Run by `make bench` or `python benchmarks/requests.py [--agents N] [--asking N] [--samples N] [--rate N] [--on DATABASE]`.
Writes results/requests.json.
"""

import argparse
import json
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.distributing.fleet import allow_many_connections
from benchmarks.requested.bench import WARMING, Bench, Measured
from benchmarks.requested.trial import Load, part
from services._chassis import logging
from tests.postgres import PostgresMissingError, shared_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "requests.json"
MEMORY = Path("/dev/shm")
DATABASES = ("SQLite", "PostgreSQL")
BURST, BURSTS = 50, 3
OF_ONE_USER = 20
"""Requests that a user may make in an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One of the two ways under one load, in milliseconds, and in times of what the bare server took for it."""

    database: str
    connected: int
    load: str
    measure: str
    samples: int
    p50_ms: float
    p99_ms: float
    bare_p50_ms: float
    bare_p99_ms: float
    ratio_p50: float
    ratio_p99: float
    disk_p99_ms: float
    """What the disk alone took to keep one page, while the policy service was measured."""
    disk_longest_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Where the time goes, in medians of milliseconds."""

    database: str
    connected: int
    load: str
    submit_call_ms: float
    approve_call_ms: float
    document_offered_ms: float
    server_cpu_ms: float
    bare_server_cpu_ms: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """Say what is to be measured."""

    agents: int
    asking: int
    loads: Sequence[Load]


async def measured(wanted: Wanted, folder: Path, devices: Path, url: str) -> tuple[Measured, Measured]:
    """Measure the policy service and the bare server, with an installation of their own."""
    bench = Bench(folder, agents=wanted.agents, asking=wanted.asking, loads=wanted.loads)
    ours = await bench.policy(devices, url)
    return ours, await bench.bare(ours.sizes)


def results(database: str, wanted: Wanted, ours: Measured, bare: Measured) -> Iterator[Result]:
    """Make the table."""
    for connected, took, beside in ((wanted.asking, ours.few, bare.few), (wanted.agents, ours.many, bare.many)):
        for load in took:
            for measure, values, limit in (
                ("submit to visible", took[load].visible, beside[load].visible),
                ("approve to usable", took[load].usable, beside[load].usable),
            ):
                yield Result(
                    database=database,
                    connected=connected,
                    load=load,
                    measure=measure,
                    samples=len(values),
                    p50_ms=round(part(values, 50), 1),
                    p99_ms=round(part(values, 99), 1),
                    bare_p50_ms=round(part(limit, 50), 1),
                    bare_p99_ms=round(part(limit, 99), 1),
                    ratio_p50=round(part(values, 50) / part(limit, 50), 1),
                    ratio_p99=round(part(values, 99) / part(limit, 99), 1),
                    disk_p99_ms=round(part(took[load].disk, 99), 1),
                    disk_longest_ms=round(part(took[load].disk, 100), 1),
                )


def parts(database: str, wanted: Wanted, ours: Measured, bare: Measured) -> Iterator[Parts]:
    """Make the table of where the time goes."""
    for connected, took, beside in ((wanted.asking, ours.few, bare.few), (wanted.agents, ours.many, bare.many)):
        for load, each in took.items():
            yield Parts(
                database=database,
                connected=connected,
                load=load,
                submit_call_ms=round(part(each.submit_call, 50), 1),
                approve_call_ms=round(part(each.approve_call, 50), 1),
                document_offered_ms=round(part(each.offered, 50), 1),
                server_cpu_ms=round(each.cpu, 1),
                bare_server_cpu_ms=round(beside[load].cpu, 1),
            )


def print_tables(rows: Sequence[Result], ways: Sequence[Parts]) -> None:
    """Print what was measured."""
    print(
        f"{'database':<12}{'connected':>9}  {'asked':<14}{'from ... to':<19}{'samples':>7}{'p50 ms':>8}{'p99 ms':>8}"
        f"{'bare p50':>9}{'p99':>7}{'of p50':>8}{'of p99':>8}{'disk p99':>9}{'longest':>8}"
    )
    for row in rows:
        print(
            f"{row.database:<12}{row.connected:>9,}  {row.load:<14}{row.measure:<19}{row.samples:>7}{row.p50_ms:>8.1f}"
            f"{row.p99_ms:>8.1f}{row.bare_p50_ms:>9.1f}{row.bare_p99_ms:>7.1f}{row.ratio_p50:>7.1f}x{row.ratio_p99:>7.1f}x"
            f"{row.disk_p99_ms:>9.1f}{row.disk_longest_ms:>8.1f}"
        )
    print("medians of the parts, ms; the server's CPU for one request and its approval, beside the bare one's")
    for way in ways:
        print(
            f"{way.database:<12}{way.connected:>9,}  {way.load:<14}submit answered {way.submit_call_ms:.1f}, approve answered "
            f"{way.approve_call_ms:.1f}, document there {way.document_offered_ms:.1f}; CPU {way.server_cpu_ms:.1f}, "
            f"{way.bare_server_cpu_ms:.1f}"
        )


def keep(wanted: Wanted, rows: Sequence[Result], ways: Sequence[Parts]) -> None:
    """Write the numbers; those of a database that was not measured stay."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    measured_now = {row.database for row in rows}

    def with_others(name: str, new: Sequence[dict[str, object]]) -> list[dict[str, object]]:
        return [*(row for row in kept.get(name, ()) if row["database"] not in measured_now), *new]

    told = {
        "agents": wanted.agents,
        "rows": with_others("rows", [asdict(row) for row in rows]),
        "parts": with_others("parts", [asdict(way) for way in ways]),
    }
    RESULTS.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print the tables, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--asking", type=int, default=50, help="of them have users who ask; so many are few")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--rate", type=float, default=10.0, help="requests a second")
    parser.add_argument("--on", choices=[name.lower() for name in DATABASES], help="both if not given")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args()
    loads = (
        Load(name=f"{asked.rate:g} a second", asked=asked.samples, rate=asked.rate),
        Load(name=f"{BURST} at once", asked=BURST, times=BURSTS),
    )
    if WARMING.asked + 2 * (asked.samples + BURST * BURSTS) > asked.asking * OF_ONE_USER:
        parser.error(f"a user may ask {OF_ONE_USER} times an hour; raise --asking")
    wanted = Wanted(max(asked.agents, asked.asking + 1), asked.asking, loads)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends the run ends all of it
    allow_many_connections()
    logging.configure(level="warning", as_json=True)
    rows, ways = list[Result](), list[Parts]()
    for database in DATABASES:
        if asked.on not in {None, database.lower()}:
            continue
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
            memory = held.enter_context(tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None))
            url = ""
            if database == "PostgreSQL":
                try:
                    cluster = held.enter_context(shared_cluster(folder, durable=True))
                except PostgresMissingError as error:
                    print(f"without PostgreSQL: {error}")
                    continue
                url = held.enter_context(cluster.fresh_database())
            ours, bare = uvloop.run(measured(wanted, folder / "data", Path(memory), url))
        rows += results(database, wanted, ours, bare)
        ways += parts(database, wanted, ours, bare)
    print_tables(rows, ways)
    if asked.keep:
        keep(wanted, rows, ways)


if __name__ == "__main__":
    main()
