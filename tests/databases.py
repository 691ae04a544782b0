"""Databases with the schemas of all services, lent to one test after another: migrating an empty one takes longer than most tests.

What a test leaves behind is gone before the next one: rows are, numbers begin again, and a database whose tables were
changed is dropped. Tests of the migrations themselves take an empty database instead.
"""

import asyncio
import contextlib
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from services._chassis.config import SERVICES
from services._chassis.db import Database
from services._chassis.migrate import upgrade

if TYPE_CHECKING:
    from tests.postgres import Cluster

# Whatever a test could change about the tables; rows and numbers are put back, so they are no part of it.
_SHAPE = """
SELECT md5(string_agg(line, ',' ORDER BY line)) FROM (
    SELECT 'class ' || relname || relkind::text || relnatts::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'constraint ' || conname || conrelid::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'trigger ' || tgname || tgrelid::text FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'routine ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
) AS lines (line)
"""
_FILLED = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0
"""
_OTHERS = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


_NUMBERS = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'"


def _migrate(url: str) -> None:
    """Make the tables of all services; in a thread of its own, for a fixture may stand in a running loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _upgrade_all(url)).result()


async def _upgrade_all(url: str) -> None:
    for service in SERVICES:
        database = await Database.connect(url, service=service)
        try:
            await upgrade(database)
        finally:
            await database.close()


class SqliteDatabases:
    """Lend copies of one file."""

    def __init__(self, folder: Path) -> None:
        """Keep the file in the folder."""
        self._original = folder / "prepared.db"

    def lend(self, path: Path) -> str:
        """Put a database at the path and return its URL."""
        if not self._original.exists():
            _migrate(f"sqlite:///{self._original}")
        shutil.copy(self._original, path)
        return f"sqlite:///{path}"


class PostgresDatabases:
    """Lend databases of a cluster, which stay there until it stops."""

    def __init__(self, cluster: "Cluster") -> None:
        """Begin with none."""
        self._cluster = cluster
        self._free: list[_Lent] = []

    @contextlib.contextmanager
    def lend(self) -> Iterator[str]:
        """Hand out the URL of a database for the length of the block."""
        lent = self._free.pop() if self._free else _Lent(self._cluster)
        try:
            yield lent.url
        finally:
            if lent.clean():
                self._free.append(lent)


@contextlib.contextmanager
def lent(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Hand out the URL of a database of the engine that the fixture's parameter names, `sqlite` or `postgresql`."""
    if request.param == "sqlite":
        sqlite: SqliteDatabases = request.getfixturevalue("on_sqlite")
        yield sqlite.lend(folder / "test.db")
        return
    postgresql: PostgresDatabases = request.getfixturevalue("on_postgresql")
    with postgresql.lend() as url:
        yield url


class _Lent:
    """Hold one database and what it is like before its first test."""

    def __init__(self, cluster: "Cluster") -> None:
        self.url = cluster.database(f"lent_{uuid.uuid4().hex}")
        _migrate(self.url)
        with self._opened() as connection:
            self._shape = connection.execute(_SHAPE).fetchone()
            self._rows = {table: _copied(connection, table) for table in _filled(connection)}
            self._numbers = _numbers(connection)

    def clean(self) -> bool:
        """Put everything back; return False, and do not, where a test changed the tables."""
        with self._opened() as connection:
            connection.execute(_OTHERS)
            if connection.execute(_SHAPE).fetchone() != self._shape:
                return False
            tables = sql.SQL(", ").join(map(sql.Identifier, sorted({*_filled(connection), *self._rows})))
            connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(tables))
            for table, rows in self._rows.items():
                with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                    copy.write(rows)
            for name, last in _numbers(connection).items():
                if last != (before := self._numbers[name]):
                    connection.execute("SELECT setval(%s, %s, %s)", [name, before or 1, before is not None])
        return True

    def _opened(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)


def _filled(connection: psycopg.Connection) -> list[str]:
    return [table for (table,) in connection.execute(_FILLED)]


def _numbers(connection: psycopg.Connection) -> dict[str, int | None]:
    return dict(connection.execute(_NUMBERS).fetchall())


def _copied(connection: psycopg.Connection, table: str) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
        return b"".join(bytes(part) for part in copy)
