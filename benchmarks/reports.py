"""Measure reports over many stored attempts: those that count, and the first pages of filtered lists; on SQLite and PostgreSQL.

The attempts are stored by the code that stores those of devices, in large groups. Who asks sees every device, or a tenth of them
by a scope tag. Every question is asked several times; the median is told, and for the lists the first time too.

Run by `python benchmarks/reports.py [--events N] [--on sqlite|postgresql] [--keep FOLDER]`; a kept SQLite file is used again.
Writes results/reports.json.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from time import perf_counter

import sqlalchemy as sa

from benchmarks.reported.asked import Asked, lists, reports
from benchmarks.reported.past import Past, remember_devices, store
from services._chassis.clock import SystemClock
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.reporting.model.events import microseconds
from services.reporting.model.rollups import day_of
from services.reporting.store.tables import ATTEMPT
from tests.postgres import PostgresMissingError, shared_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "reports.json"
ASKED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How long one question takes, in the median and the first time, in milliseconds."""

    database: str
    events: int
    seen: str
    window: str
    report: str
    median_ms: float
    first_ms: float


async def measure(name: str, url: str, events: int) -> tuple[list[Result], list[Result]]:
    """Fill a database, unless it is filled, and ask everything of it."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    past = Past(events, await _filled(database) or day_of(microseconds(SystemClock().now())))
    if await _filled(database) is None:
        await remember_devices(database)
        start = perf_counter()
        await store(database, past)
        print(f"{name}: {events / (perf_counter() - start):,.0f} attempts stored a second")
        async with database.transaction() as tx:
            await tx.execute(sa.text("ANALYZE"))  # as PostgreSQL does by itself, soon
    counted = [await _measured(name, events, asked) for asked in reports(database, past)]
    listed = [await _measured(name, events, asked) for asked in lists(database)]
    await database.close()
    return counted, listed


async def _filled(database: Database) -> int | None:
    async with database.read() as tx:
        return (await tx.execute(sa.select(sa.func.max(ATTEMPT.c.day)))).scalar()


async def _measured(name: str, events: int, asked: Asked) -> Result:
    took = []
    for _ in range(ASKED):
        start = perf_counter()
        await asked.ask()
        took.append((perf_counter() - start) * 1000)
    return Result(
        database=name,
        events=events,
        seen=asked.seen,
        window=asked.window,
        report=asked.report,
        median_ms=statistics.median(took),
        first_ms=took[0],
    )


@contextmanager
def databases(folder: Path, kinds: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """Hand out the databases to measure on, by name and URL."""
    with ExitStack() as held:
        found = [("SQLite", f"sqlite:///{folder / 'reporting.db'}")] if "sqlite" in kinds else []
        if "postgresql" in kinds:
            try:
                programs = Path(held.enter_context(tempfile.TemporaryDirectory()))
                cluster = held.enter_context(shared_cluster(programs, durable=True))
                found.append(("PostgreSQL", held.enter_context(cluster.fresh_database())))
            except PostgresMissingError as error:
                print(f"without PostgreSQL: {error}")
        yield found


def print_counted(results: Sequence[Result]) -> None:
    """Print how long reports take, a line a span of time."""
    for line, found in groupby(results, key=lambda one: (one.database, one.events, one.seen, one.window)):
        database, events, seen, window = line
        cells = "".join(f"{one.report:>15}{one.median_ms:>6.0f} ms" for one in found)
        print(f"{database:<12}{events:>12,} {seen:<12}{window:<9}{cells}")


def print_listed(results: Sequence[Result]) -> None:
    """Print how long first pages of lists take, a line a filter."""
    print(f"{'database':<12}{'seen':<12}{'filter':<26}{'median':>10}{'first':>10}")
    for one in results:
        print(f"{one.database:<12}{one.seen:<12}{one.report:<26}{one.median_ms:>7.0f} ms{one.first_ms:>7.0f} ms")


def main() -> None:
    """Measure, print the tables, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--on", choices=("sqlite", "postgresql"), action="append", help="default: both")
    parser.add_argument("--keep", type=Path, help="folder that keeps the SQLite file")
    chosen = parser.parse_args()
    counted: list[Result] = []
    listed: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with databases(folder, chosen.on or ("sqlite", "postgresql")) as found:
            for name, url in found:
                more_counted, more_listed = asyncio.run(measure(name, url, chosen.events))
                counted += more_counted
                listed += more_listed
    print_counted(counted)
    print_listed(listed)
    rows = {"rows": [asdict(one) for one in counted], "lists": [asdict(one) for one in listed]}
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
