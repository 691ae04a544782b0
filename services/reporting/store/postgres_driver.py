"""The raw driver of PostgreSQL: `psycopg`, used by one thread."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import psycopg
from psycopg import sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL

from services.reporting.store.driver import LostError, RefusedError
from services.reporting.store.rows import Row, Target
from services.reporting.store.tables import METADATA

COPY_FROM = 50
"""Rows from which COPY beats single inserts."""

CAREFUL = 100
"""How many times rows go by way of a stage after some were there already, as when devices send again what was not acknowledged."""

_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""A server that vanished without a word is given up after half a minute, not after the hours that TCP allows."""


CLIENT_CHECKED_EVERY = "5s"
"""How often a server that works for us, or waits for a lock, looks whether we are still there: what a writer left that was killed
does not hold up the next one."""


class PostgresDriver:
    """Write to PostgreSQL; a broken connection is opened anew by the next transaction."""

    def __init__(self, url: URL, *, lock_timeout: float = 0) -> None:
        """Take the database at this URL; wait so many seconds for a lock, or, with 0, for as long as another one holds it."""
        patient = url.set(drivername="postgresql", query={**_PATIENCE, **url.query})
        self._address = patient.render_as_string(hide_password=False)
        self._lock_timeout = lock_timeout
        self._connection: psycopg.Connection | None = None
        self._careful = 0
        """How many more times rows go by way of a stage, because some were there already."""

    def begin(self, *, snapshot: bool = False) -> None:
        """Connect where needed; the transaction begins with its first statement, or, for a snapshot, by saying that it is one."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._opened()
            if snapshot:
                self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        except psycopg.Error as error:
            raise _from_postgres(error) from error

    def commit(self) -> None:
        """Make the transaction durable on the server."""
        try:
            self._connected().commit()
        except psycopg.Error as error:
            raise _from_postgres(error) from error

    def rollback(self) -> None:
        """Roll back; a connection that cannot is dropped."""
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.rollback()
        except psycopg.Error:
            self.close()

    def insert(self, target: Target, rows: Sequence[Row]) -> int:
        """Insert many rows by COPY, few one by one; numbers as one parameter a column."""
        try:
            if target.numbers:
                return self._arrays(target, rows)
            if len(rows) < COPY_FROM:
                return self._many(target.insert("%s"), rows)
            return self._straight(target, rows) if not self._careful else self._staged(target, rows)
        except psycopg.Error as error:
            raise _from_postgres(error) from error

    def run(self, statement: str, rows: Sequence[Row]) -> int:
        """Run a statement once a row."""
        try:
            return self._many(statement.replace("?", "%s"), rows)
        except psycopg.Error as error:
            raise _from_postgres(error) from error

    def fetch(self, statement: str, parameters: Row) -> list[Row]:
        """Return the rows of a query, or none where a statement gives none."""
        query = statement.replace("?", "%s")
        try:
            cursor = self._connected().execute(query, parameters)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise _from_postgres(error) from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> psycopg.Connection:
        connection = psycopg.connect(self._address, autocommit=True)
        connection.execute("SET synchronous_commit = on")
        connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{self._lock_timeout * 1000:.0f}",))
        with suppress(psycopg.DataError, psycopg.ProgrammingError):  # not before PostgreSQL 14, and not on every system
            connection.execute(
                "SELECT set_config('client_connection_check_interval', %s, false)", (CLIENT_CHECKED_EVERY,)
            )
        connection.autocommit = False
        return connection

    def _many(self, statement: str, rows: Sequence[Row]) -> int:
        with self._connected().cursor() as cursor:
            cursor.executemany(statement, rows)
            return cursor.rowcount

    def _arrays(self, target: Target, rows: Sequence[Row]) -> int:
        arrays = ", ".join(["%s::bigint[]"] * len(target.columns))
        insert = f"INSERT INTO {target.name} ({', '.join(target.columns)})"
        columns = ["{" + ",".join(map(str, column)) + "}" for column in zip(*rows, strict=True)]
        statement = f"{insert} SELECT * FROM unnest({arrays}) {target.conflict}"  # noqa: S608 - our own names
        return self._connected().execute(statement, columns).rowcount

    def _straight(self, target: Target, rows: Sequence[Row]) -> int:
        """Copy into the table itself; where a row is there already, begin again by way of a stage."""
        connection = self._connected()
        connection.execute("SAVEPOINT straight")
        try:
            with connection.cursor() as cursor:
                _copy(cursor, target, target.name, rows)
                return len(rows)
        except psycopg.errors.UniqueViolation:
            connection.execute("ROLLBACK TO SAVEPOINT straight")
            self._careful = CAREFUL
            return self._staged(target, rows)

    def _staged(self, target: Target, rows: Sequence[Row]) -> int:
        self._careful = max(self._careful - 1, 0)
        columns = sql.SQL(", ").join(map(sql.Identifier, target.columns))
        stage, table = f"{target.name}_stage", sql.Identifier(target.name)
        names = {
            "table": table,
            "stage": sql.Identifier(stage),
            "columns": columns,
            "conflict": sql.SQL(target.conflict),
        }
        # The stage outlives the transaction that made it, empty; a connection makes it once.
        make = "CREATE TEMPORARY TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {table} LIMIT 0"
        move = "INSERT INTO {table} ({columns}) SELECT {columns} FROM {stage} {conflict}"
        with self._connected().cursor() as cursor:
            cursor.execute(sql.SQL(make).format(**names))
            _copy(cursor, target, stage, rows)
            cursor.execute(sql.SQL(move).format(**names))
            return cursor.rowcount

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            raise LostError("the connection to the database is closed")
        return self._connection


def _copy(cursor: "psycopg.Cursor[tuple[object, ...]]", target: Target, into: str, rows: Sequence[Row]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, target.columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(into), columns)
    with cursor.copy(statement) as copy:
        copy.set_types(types_of(target))
        for row in rows:
            copy.write_row(row)


@cache
def types_of(target: Target) -> list[str]:
    """Return what PostgreSQL calls the types of the columns: a binary COPY tells it values of just these."""
    columns = METADATA.tables[target.name].c
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    told = (columns[column].type.compile(dialect) for column in target.columns)
    return [name.partition("(")[0].partition(" ")[0].lower() for name in told]


def _from_postgres(error: psycopg.Error) -> Exception:
    kind = RefusedError if isinstance(error, psycopg.DataError | psycopg.IntegrityError) else LostError
    return kind(str(error).splitlines()[0] if str(error) else "no reason given")
