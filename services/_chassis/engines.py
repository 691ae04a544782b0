"""Engines as our databases need them: what each connection is told first, and how its transactions begin."""

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services._chassis import sqlite_errands
from services._chassis.errors import UnavailableError

BUSY_SECONDS = 10
"""How long a connection to SQLite waits for another one that writes."""

WRITE = "openepm_write"
"""The option of a connection whose transactions write: on SQLite they take the lock when they begin."""


def open_engine(url: URL, pool_size: int) -> AsyncEngine:
    """Return the engine for the database at this URL; up to twice as many connections as the pool keeps. Raises UnavailableError."""
    if url.get_backend_name() == "postgresql":
        served = create_async_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)
        event.listen(served.sync_engine, "connect", _prepare_postgresql)
        return served
    if url.database:
        _make_private(Path(url.database))
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_args={"timeout": BUSY_SECONDS, "async_creator_fn": sqlite_errands.connect},
    )
    event.listen(engine.sync_engine, "connect", prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def prepare_sqlite(connection: Any, _record: Any) -> None:
    """Make a connection to SQLite durable, and have it wait for others that write."""
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_SECONDS * 1000}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _make_private(path: Path) -> None:
    """Create the file readable by its owner alone; SQLite gives the WAL beside it the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise UnavailableError(f"the database file {path} cannot be opened: {error.strerror}") from error


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # Compiling a statement takes longer than any of ours runs.
    cursor = connection.cursor()
    cursor.execute("SET jit = off")
    cursor.close()
    connection.commit()


def _begin_sqlite(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
