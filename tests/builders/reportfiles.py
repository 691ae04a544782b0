"""Reports as files, read again by others."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from services._chassis.db import Database
from services.reporting.reportexport.reports import Sources, walks_of
from services.reporting.reportexport.walks import Walk
from services.reporting.store.insights import SqlInsights
from services.reporting.store.readiness import SqlReadiness
from services.reporting.store.reports import SqlReports
from services.reporting.store.snapshots import SqlSnapshots
from tests.fakes.clock import NOW

Row = dict[str, Any]


def walks_on(database: Database, **limits: int) -> Mapping[str, Walk]:
    """Return the walks over the reports of a database; `limits` are those of one read of attempts."""
    sources = Sources(
        snapshots=SqlSnapshots(database, **limits),
        reports=SqlReports(database),
        insights=SqlInsights(database),
        readiness=SqlReadiness(database),
        now=lambda: NOW,
    )
    return walks_of(sources)


def csv_rows(data: bytes) -> list[dict[str, str]]:
    """Read CSV."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def json_rows(data: bytes) -> list[Row]:
    """Read JSON lines."""
    return [json.loads(line) for line in data.decode().splitlines()]


def parquet_table(data: bytes) -> pa.Table:
    """Read Parquet with the library that wrote it."""
    return pq.read_table(pa.BufferReader(data))


def parquet_rows(data: bytes, folder: Path) -> list[Row]:
    """Read Parquet with another library."""
    path = folder / "report.parquet"
    path.write_bytes(data)
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
