"""Measure reports over many stored attempts: those that count, and the first pages of filtered lists; on SQLite and PostgreSQL.

The attempts are those of 90 days. Who asks sees every device, or a tenth or nine tenths of them by a scope tag; days that are
over are closed by then, as the service does it. Every question is asked several times; the median is told, and for the lists the
first time too. Then the reports are asked once more while 5,000 attempts a second come in, committed in groups as the service does. DuckDB is asked the same of a native table with the same attempts.

Run by `python benchmarks/reports.py [--events N] [--on sqlite|postgresql] [--keep FOLDER] [--no-keep]`; the databases that are kept
are used again. Writes results/reports.json unless it is told not to.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from time import perf_counter

import sqlalchemy as sa

from benchmarks.reported.asked import Asked, lists, reports
from benchmarks.reported.beside import Beside
from benchmarks.reported.coming import coming_in
from benchmarks.reported.filling import fill
from benchmarks.reported.past import Past, remember_devices
from services._chassis.clock import SystemClock
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.reporting.model.events import microseconds
from services.reporting.model.rollups import day_of
from services.reporting.store.closed import MAKERS
from services.reporting.store.closing import SqlClosing
from services.reporting.store.tables import ATTEMPT, COUNT_BY_DECISION
from tests.postgres import PostgresMissingError, kept_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "reports.json"
ASKED, ASKED_MEANWHILE = 3, 3
MEMORY = "-c shared_buffers=1GB -c max_wal_size=4GB"
"""What whoever runs PostgreSQL for so many attempts would give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How long one question takes, in the median and the first time, in milliseconds."""

    database: str
    events: int
    meanwhile: str
    seen: str
    window: str
    report: str
    median_ms: float
    first_ms: float


@dataclass(frozen=True, slots=True)
class Told:
    """What is found out about one database."""

    counted: list[Result]
    listed: list[Result]


async def measure(name: str, url: str, events: int) -> Told:
    """Fill a database, unless it is filled, and ask everything of it, the reports again while more comes in."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    if await _filled(database) is None:
        await _fill(database, name, events)
    await _close(database, name)
    last, stored = await _filled(database) or 0, await _stored(database)
    asking = _Asking(name, stored)
    counted = [await asking.of(asked) for asked in reports(database, last)]
    listed = [await asking.of(asked) for asked in lists(database)]
    async with coming_in(database) as coming:
        busy = replace(asking, times=ASKED_MEANWHILE, meanwhile="coming in")
        counted += [await busy.of(asked) for asked in reports(database, last)]
        late = statistics.quantiles(coming.acknowledged, n=100)[-1]
        print(f"{name}: meanwhile {coming.pace:,.0f} attempts a second came in, 99 of 100 durable within {late:.0f} ms")
    await database.close()
    return Told(counted, listed)


async def _fill(database: Database, name: str, events: int) -> None:
    start = perf_counter()
    await remember_devices(database)
    await fill(database, Past(events, day_of(microseconds(SystemClock().now()))))
    if database.on_postgresql:
        async with database.transaction() as tx:
            await tx.execute(sa.text("ANALYZE"))  # as it does by itself, soon; on SQLite nobody does
    print(f"{name}: filled in {perf_counter() - start:,.0f} s")


async def _close(database: Database, name: str) -> None:
    """Close what is over, without a breath between the steps: nobody waits."""
    start = perf_counter()
    await SqlClosing(database, SystemClock().now, pause=lambda _: asyncio.sleep(0)).close()
    if database.on_postgresql:
        async with database.transaction() as tx:
            for maker in MAKERS:
                await tx.execute(sa.text(f"ANALYZE {maker.table.name}"))
    print(f"{name}: closed in {perf_counter() - start:,.0f} s")


async def _filled(database: Database) -> int | None:
    async with database.read() as tx:
        return (await tx.execute(sa.select(sa.func.max(ATTEMPT.c.day)))).scalar()


async def _stored(database: Database) -> int:
    counts = COUNT_BY_DECISION.c
    async with database.read() as tx:
        return int((await tx.execute(sa.select(sa.func.sum(counts.attempts)).where(counts.span == 1))).scalar_one())


async def beside(path: Path, url: str) -> Told:
    """Ask the same of DuckDB, of the attempts of one of the databases."""
    database = await Database.connect(url, service="reporting")
    duck = Beside(path)
    if not duck.attempts:
        await duck.fill(database)
    asking = _Asking("DuckDB", duck.attempts)
    counted = [await asking.of(asked) for asked in _awaited(duck.reports(duck.last))]
    listed = [await asking.of(asked) for asked in _awaited(duck.lists())]
    duck.close()
    await database.close()
    return Told(counted, listed)


def _awaited(asked: Iterable[tuple[str, str, str, Callable[[], object]]]) -> Iterator[Asked]:
    for seen, window, report, ask in asked:
        yield Asked(seen, window, report, partial(asyncio.to_thread, ask))


@dataclass(frozen=True, slots=True)
class _Asking:
    """Ask a database, so many times each question."""

    database: str
    events: int
    times: int = ASKED
    meanwhile: str = "nothing"

    async def of(self, asked: Asked) -> Result:
        """Return how long a question takes."""
        took = []
        for _ in range(self.times):
            start = perf_counter()
            await asked.ask()
            took.append((perf_counter() - start) * 1000)
        return Result(
            database=self.database,
            events=self.events,
            meanwhile=self.meanwhile,
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
                cluster = held.enter_context(kept_cluster(folder / "postgresql", MEMORY))
                found.append(("PostgreSQL", cluster.database("reports")))
            except PostgresMissingError as error:
                print(f"without PostgreSQL: {error}")
        yield found


def print_counted(results: Sequence[Result]) -> None:
    """Print how long reports take, a line a span of time."""
    words = [report for report, _ in groupby(results, key=lambda one: one.report)]
    names = list(dict.fromkeys(words))
    print(f"{'median ms':<12}{'meanwhile':<11}{'seen':<12}{'window':<8}" + "".join(f"{name:>15}" for name in names))
    lines = groupby(results, key=lambda one: (one.database, one.meanwhile, one.seen, one.window))
    for (database, meanwhile, seen, window), found in lines:
        cells = "".join(f"{one.median_ms:>15.0f}" for one in found)
        print(f"{database:<12}{meanwhile:<11}{seen:<12}{window:<8}{cells}")


def print_listed(results: Sequence[Result]) -> None:
    """Print how long first pages of lists take, in the median and the first time: a line a filter, all databases beside."""
    names = list(dict.fromkeys(one.database for one in results))
    print(f"{'first page of':<26}{'seen':<12}" + "".join(f"{name + ' ms':>22}" for name in names))
    found: dict[tuple[str, str], str] = {}
    for one in results:
        line = one.report, one.seen
        found[line] = found.get(line, "") + f"{one.median_ms:>11.0f}{'first':>6}{one.first_ms:>5.0f}"
    for (report, seen), cells in found.items():
        print(f"{report:<26}{seen:<12}{cells}")


def main() -> None:
    """Measure, print the tables, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--on", choices=("sqlite", "postgresql"), action="append", help="default: both")
    parser.add_argument("--keep", type=Path, help="folder that keeps the databases, some GB each at ten millions")
    parser.add_argument("--no-keep", action="store_true", help="print the figures alone")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openepm-reports-") as scratch:
        Path(scratch).chmod(0o755)
        folder: Path = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with databases(folder.resolve(), chosen.on or ("sqlite", "postgresql")) as found:
            told = sum_of([asyncio.run(measure(name, url, chosen.events)) for name, url in found])
            told = sum_of([told, asyncio.run(beside(folder / "duck.db", found[0][1]))])
    print_counted(told.counted)
    print_listed(told.listed)
    if chosen.no_keep:
        return
    rows = {"rows": [asdict(one) for one in told.counted], "lists": [asdict(one) for one in told.listed]}
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def sum_of(parts: Sequence[Told]) -> Told:
    """Return everything that is told of several databases."""
    return Told([one for part in parts for one in part.counted], [one for part in parts for one in part.listed])


if __name__ == "__main__":
    main()
