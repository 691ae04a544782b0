"""Measure reports: how long the counts of many attempts take to answer, on SQLite and PostgreSQL.

The attempts are counted by the code that counts them at ingest, in groups as large as those under load, but not stored: reports
over whole days read nothing but counts. 5,000 users at 1,000 devices elevate 2,000 applications within 90 days, few of them
often. Who asks sees every device, or a tenth of them by a scope tag.

Run by `python benchmarks/reports.py [--events N]`. Writes results/reports.json.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import sqlalchemy as sa

from services._chassis.clock import SystemClock
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.paging import PageRequest
from services.reporting.model.devices import Device
from services.reporting.model.events import datetime_of, microseconds
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.model.rollups import DAY, day_of
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.drivers import PostgresDriver, SqliteDriver
from services.reporting.store.reports import SqlReports
from services.reporting.store.rollups import Counts
from services.reporting.store.rows import ATTEMPTS, Row
from tests.postgres import PostgresMissingError, shared_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "reports.json"
DAYS = 90
DEVICES, USERS, APPLICATIONS = 1000, 5000, 2000
GROUP = 5000
ASKED = 5
REPORTS = ("summary", "applications", "publishers", "users")
CALLERS: dict[str, frozenset[str] | None] = {"everything": None, "a tenth": frozenset({"emea"})}
TODAY = day_of(microseconds(SystemClock().now()))
WINDOWS = {"all": None, "30 days": 30, "7 days": 7}
DECISIONS = (("AUTOMATIC", "ELEVATED", "RULE", True), ("", "NOT_MANAGED", "ADMINISTRATOR", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How long one report takes, in the median."""

    database: str
    events: int
    seen: str
    window: str
    report: str
    milliseconds: float


def attempts(events: int) -> Iterator[list[Row]]:
    """Yield the rows of attempts, day after day, in groups."""
    drawn = random.Random(7)
    blank = dict.fromkeys(ATTEMPTS.columns, "")
    group: list[Row] = []
    for number in range(events):
        device = drawn.randrange(DEVICES)
        tool = min(APPLICATIONS, int(drawn.paretovariate(0.5)))
        kind = DECISIONS[tool % 3 == 0 if drawn.random() < 0.9 else drawn.randrange(2)]  # noqa: PLR2004 - mostly as ever
        values = blank | {
            "occurred": (TODAY - DAYS + 1 + number * DAYS // events) * DAY,
            "user_name": f"user-{device * 5 + drawn.randrange(5)}@example.com",
            "file_name": f"tool-{tool}.exe",
            "sha256": f"{tool:064x}",
            "publisher": f"CN=Publisher {tool % 50}",
            "device_id": f"device-{device}",
            "device_name": f"name-{device}",
            **dict(zip(("elevation_type", "result", "source", "managed"), kind, strict=True)),
        }
        group.append(tuple(values.values()))
        if len(group) == GROUP or number == events - 1:
            yield group
            group = []


def count(database: Database, events: int) -> None:
    """Count the attempts, a transaction a group."""
    url = database.url
    driver = PostgresDriver(url) if database.on_postgresql else SqliteDriver(url.database or "")
    counts = Counts(driver)
    for group in attempts(events):
        driver.begin()
        counts.count(group)
        driver.commit()
    driver.close()


async def measure(name: str, url: str, events: int) -> list[Result]:
    """Fill an empty database and ask every report of it."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    devices = [
        Device(f"device-{n}", f"name-{n}", enrolled=True, scope_tags=frozenset({"apac" if n % 10 else "emea"}))
        for n in range(DEVICES)
    ]
    await SqlDeviceRecords(database).remember(devices)
    await asyncio.to_thread(count, database, events)
    async with database.transaction() as tx:
        await tx.execute(sa.text("ANALYZE"))  # as PostgreSQL does by itself, soon
    reports, results = SqlReports(database), []
    for seen, tags in CALLERS.items():
        for window, days in WINDOWS.items():
            start = None if days is None else datetime_of((TODAY - days) * DAY)
            asked = ElevationFilter(occurred_from=start, occurred_before=datetime_of(TODAY * DAY) if days else None)
            for report in REPORTS:
                took = [await _timed(reports, report, Question(asked, tags)) for _ in range(ASKED)]
                middle = statistics.median(took) / timedelta(milliseconds=1).total_seconds()
                facts = {"database": name, "events": events, "seen": seen, "window": window, "report": report}
                results.append(Result(**facts, milliseconds=middle))  # type: ignore[arg-type]
    await database.close()
    return results


async def _timed(reports: SqlReports, report: str, question: Question) -> float:
    start = perf_counter()
    if report == "summary":
        await reports.summary(question)
    else:
        await getattr(reports, report)(question, PageRequest(50))
    return perf_counter() - start


def print_table(results: Sequence[Result]) -> None:
    """Print what was measured, a line a window."""
    print(f"{'database':<12}{'events':>12} {'seen':<12}{'window':<10}" + "".join(f"{name:>16}" for name in REPORTS))
    for first in range(0, len(results), len(REPORTS)):
        line = results[first : first + len(REPORTS)]
        head = f"{line[0].database:<12}{line[0].events:>12,} {line[0].seen:<12}{line[0].window:<10}"
        print(head + "".join(f"{one.milliseconds:>13.0f} ms" for one in line))


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        results = asyncio.run(measure("SQLite", f"sqlite:///{folder / 'reporting.db'}", events))
        try:
            cluster = held.enter_context(shared_cluster(folder, durable=True))
            results += asyncio.run(measure("PostgreSQL", held.enter_context(cluster.fresh_database()), events))
        except PostgresMissingError as error:
            print(f"without PostgreSQL: {error}")
    print_table(results)
    RESULTS.write_text(json.dumps({"rows": [asdict(one) for one in results]}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
