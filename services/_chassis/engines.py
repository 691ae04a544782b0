"""Engines as our databases need them: what each connection is told first, and how its transactions begin."""

import os
import time
from collections.abc import Callable
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

QUIET_SECONDS = 1.0
"""How long a connection to PostgreSQL may have lain in the pool and still be handed out without being asked whether it lives."""

WRITE = "openepm_write"
"""The option of a connection whose transactions write: on SQLite they take the lock when they begin."""


def open_engine(url: URL, pool_size: int, monotonic: Callable[[], float] = time.monotonic) -> AsyncEngine:
    """Return the engine for the database at this URL; up to twice as many connections as the pool keeps. Raises UnavailableError."""
    if url.get_backend_name() == "postgresql":
        served = create_async_engine(url, pool_size=pool_size, max_overflow=pool_size)
        event.listen(served.sync_engine, "connect", _prepare_postgresql)
        _ask_the_quiet(served.sync_engine, monotonic)
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


def _ask_the_quiet(engine: sa.Engine, monotonic: Callable[[], float]) -> None:
    """Have connections that lay in the pool prove that they live: asking each time takes three of the trips that a short read takes in all.

    One that was in use a moment ago fails in use, once: SQLAlchemy then throws all connections away that are as old.
    """

    def returned(_connection: Any, record: Any) -> None:
        record.info["openepm_returned"] = monotonic()

    def taken(connection: Any, record: Any, _proxy: Any) -> None:
        if monotonic() - record.info.get("openepm_returned", monotonic()) < QUIET_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError(str(error)) from error

    event.listen(engine, "checkin", returned)
    event.listen(engine, "checkout", taken)


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
