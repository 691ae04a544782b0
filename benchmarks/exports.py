"""Measure exports: a million attempts as CSV, JSON lines and Parquet over TLS, from SQLite and PostgreSQL.

The service runs in a process of its own; the caller takes every byte, and keeps those of Parquet alone. In the same run, as
limits: the same rows read with the bare driver, and pyarrow writing the same columns from memory, as one table. What the service's
memory grew by and the processor time that it took are those of its process; the first export, of one day, which loads pyarrow, is
not counted.

Run by `python benchmarks/exports.py [--quick] [--no-keep] [--events N] [--on sqlite|postgresql]`, which takes two or three minutes
a database. Writes results/exports.json unless it was quick, or is told not to; what is there of the other database stays.
"""

import argparse
import asyncio
import io
import json
import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.exported.filling import fill
from benchmarks.exported.service import MEBIBYTE, served
from epm.reporting.v1 import export_pb2
from services._chassis.config import ServiceSettings
from tests.builders.doors import settings_for
from tests.fakes.clock import NOW
from tests.postgres import PostgresMissingError, shared_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "exports.json"
FORMS = {"Parquet": export_pb2.EXPORT_FORMAT_PARQUET, "CSV": export_pb2.EXPORT_FORMAT_CSV}
FORMS |= {"JSON lines": export_pb2.EXPORT_FORMAT_JSON_LINES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one export took; sizes are in MiB."""

    database: str
    form: str
    events: int
    events_per_second: float
    processor_microseconds: float
    """Of the service, per event."""
    file_size: float
    memory_before: float
    memory_most: float
    limit: str
    limit_per_second: float


def parquet_limit(data: bytes) -> float:
    """Return how many entries a second pyarrow writes from memory."""
    table = pq.read_table(pa.BufferReader(data))
    start = perf_counter()
    pq.write_table(table, io.BytesIO(), compression="zstd", compression_level=1)
    return int(table.num_rows) / (perf_counter() - start)


def rows_limit(url: str) -> float:
    """Return how many attempts a second the bare driver reads, in their order."""
    statement = "SELECT * FROM reporting_attempt ORDER BY occurred, event_id"
    start, found = perf_counter(), 0
    connection: Any = sqlite3.connect(url.removeprefix("sqlite:///")) if _is_file(url) else psycopg.connect(url)
    with closing(connection):
        cursor = connection.cursor() if _is_file(url) else connection.cursor("limit")
        cursor.execute(statement)
        while rows := cursor.fetchmany(1000):
            found += len(rows)
    return found / (perf_counter() - start)


def _is_file(url: str) -> bool:
    return url.startswith("sqlite")


def measure(database: str, url: str, events: int, settings: ServiceSettings) -> Iterator[Result]:
    """Fill an empty database, and export it in each form."""
    asyncio.run(fill(url, events))
    read = rows_limit(url)
    with served(url, settings) as service:
        for _ in service.export(FORMS["Parquet"], NOW - timedelta(days=1)):
            pass
        for form, number in FORMS.items():
            before, used, start = service.process.memory, service.process.processor_time, perf_counter()
            size, most, written, kept = 0, before, 0, []
            for piece in service.export(number):
                size, written = size + len(piece.data), piece.written
                most = max(most, service.process.memory)
                if form == "Parquet":
                    kept.append(piece.data)
            took = perf_counter() - start
            used = service.process.processor_time - used
            if written != events:
                raise SystemExit(f"{written} of {events} attempts came")
            yield Result(
                database=database,
                form=form,
                events=events,
                events_per_second=events / took,
                processor_microseconds=used / events * 1e6,
                file_size=size / MEBIBYTE,
                memory_before=before,
                memory_most=most,
                limit="pyarrow from memory" if kept else "bare driver",
                limit_per_second=parquet_limit(b"".join(kept)) if kept else read,
            )


def told(results: Iterable[Result]) -> Iterator[Result]:
    """Print what is measured, a line an export, as it comes."""
    for one in results:
        grown = f"{one.memory_before:.0f} to {one.memory_most:.0f} MiB"
        print(
            f"{one.database:<12}{one.form:<12}{one.events:>10,}{one.events_per_second:>11,.0f}"
            f"{one.processor_microseconds:>10.1f}{one.file_size:>8.0f}{grown:>18}"
            f"  {one.limit_per_second:,.0f}/s ({one.limit})",
            flush=True,
        )
        yield one


def main() -> None:
    """Measure, print, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="50,000 events, and no results are kept")
    parser.add_argument("--no-keep", action="store_true", help="print the figures alone")
    parser.add_argument("--on", choices=("sqlite", "postgresql"), action="append", help="default: both")
    asked = parser.parse_args()
    events = 50_000 if asked.quick else asked.events
    print(f"{'database':<12}{'form':<12}{'events':>10}{'events/s':>11}{'us/event':>10}{'MiB':>8}{'memory':>18}  limit")
    with tempfile.TemporaryDirectory() as folder:
        results = list(told(measured(Path(folder), asked.on or ("sqlite", "postgresql"), events)))
    if not (asked.quick or asked.no_keep):
        keep(results)


def measured(folder: Path, kinds: Collection[str], events: int) -> Iterator[Result]:
    """Measure on the databases of these kinds."""
    settings = settings_for(folder)
    if "sqlite" in kinds:
        yield from measure("SQLite", f"sqlite:///{folder / 'reporting.db'}", events, settings)
    if "postgresql" in kinds:
        try:
            with shared_cluster(folder) as cluster, cluster.fresh_database() as url:
                yield from measure("PostgreSQL", url, events, settings)
        except PostgresMissingError as error:
            print(f"without PostgreSQL: {error}")


def keep(results: Sequence[Result]) -> None:
    """Write what was measured, beside what there is of databases that were not measured."""
    there = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
    names = {one.database for one in results}
    rows = [row for row in there if row["database"] not in names] + [asdict(one) for one in results]
    rows.sort(key=lambda row: row["database"], reverse=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
