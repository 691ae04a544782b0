"""The limit that ingest is measured against: a bare driver that inserts the same rows, and counts and joins nothing.

SQLite takes them by `executemany`, row by row, on a connection that is set up like that of the service: with SQLite's own small
cache and its many checkpoints the limit would be lower, the more so the longer the run. PostgreSQL takes them by a binary COPY, as
the service's do, into a temporary table and an insert on conflict from there, with synchronous_commit=on. Rows come in the order in
which agents send them. What attempts are counted by has its numbers already.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from time import perf_counter

import psycopg
import uvloop

from benchmarks.ingesting.loads import Journal
from benchmarks.ingesting.service import durable
from epm.reporting.v1 import agent_pb2
from services._chassis.clock import SystemClock
from services.reporting.codec.incoming import batch_from_proto
from services.reporting.model.events import microseconds
from services.reporting.store.dimensions import Dimension
from services.reporting.store.postgres_driver import types_of
from services.reporting.store.rows import ATTEMPTS, Row, attempt_columns, name_of, rows_of
from services.reporting.store.sqlite_driver import WRITER_SETTINGS

STAGE = "CREATE TEMPORARY TABLE stage ON COMMIT DELETE ROWS AS SELECT {columns} FROM {table} LIMIT 0"
COPY = "COPY stage FROM STDIN (FORMAT BINARY)"
MOVE = "INSERT INTO {table} ({columns}) SELECT {columns} FROM stage ON CONFLICT DO NOTHING"


class Numbers:
    """Number what attempts are counted by as it comes."""

    def __init__(self) -> None:
        self._known: dict[tuple[Dimension, Row], int] = {}

    def keys_of(self, dimension: Dimension, members: Sequence[Row]) -> list[int]:
        """Return the numbers of the members."""
        return [self._known.setdefault((dimension, member), len(self._known) + 1) for member in members]


def rows_in(sent: Sequence[Journal]) -> list[Row]:
    """Return the rows that the journals become, a batch of each journal after the other."""
    rows: list[Row] = []
    known = Numbers()
    for turn in zip(*sent, strict=True):
        for key, body in enumerate(turn, 1):
            told = agent_pb2.StreamEventsRequest.FromString(body).batch
            received = microseconds(SystemClock().now())
            batch = batch_from_proto(told, device_id=f"device-{key}", device_name="name", received=received)
            keys = {name_of(batch): key}
            rows += rows_of([batch], keys, 1, attempt_columns([batch], keys, known)).events[ATTEMPTS]
    return rows


def raw(url: str, rows: Sequence[Row], group: int) -> float:
    """Insert the rows, a commit for each group; return the seconds that it takes."""
    uvloop.run(durable(url))
    return _into_sqlite(url, rows, group) if url.startswith("sqlite") else _into_postgres(url, rows, group)


def _into_sqlite(url: str, rows: Sequence[Row], group: int) -> float:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
        for setting in WRITER_SETTINGS:
            file.execute(setting)
        statement = ATTEMPTS.insert("?")
        start = perf_counter()
        for first in range(0, len(rows), group):
            file.execute("BEGIN")
            file.executemany(statement, rows[first : first + group])
            file.execute("COMMIT")
        return perf_counter() - start


def _into_postgres(url: str, rows: Sequence[Row], group: int) -> float:
    names = {"table": ATTEMPTS.name, "columns": ", ".join(ATTEMPTS.columns)}
    with closing(psycopg.connect(url)) as server, server.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
        cursor.execute(STAGE.format(**names).encode())
        server.commit()
        start = perf_counter()
        for first in range(0, len(rows), group):
            with cursor.copy(COPY.encode()) as copy:
                copy.set_types(types_of(ATTEMPTS))
                for row in rows[first : first + group]:
                    copy.write_row(row)
            cursor.execute(MOVE.format(**names).encode())
            server.commit()
        return perf_counter() - start
