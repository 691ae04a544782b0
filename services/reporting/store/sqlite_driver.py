"""The raw driver of SQLite: `sqlite3`, used by one thread."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain

from services.reporting.store.driver import LostError, RefusedError
from services.reporting.store.rows import Row, Target

TOGETHER = (2048, 512, 64, 8, 1)
"""Rows of one statement on SQLite, which takes 32,766 parameters: so they may have 15 columns. They cost what single rows do; but the
interpreter is let go and taken back once for all of them, and not once a row: so whoever prepares the next group does so
meanwhile, and the one that stores does not wait for them each time."""

CACHE_KIB = 32 * 1024
"""Memory for pages of an SQLite file. A large group changes more than SQLite's own 2 MiB hold: each page that does not fit is
written, read and written again."""

CHECKPOINT_PAGES = 8000
"""Pages of SQLite's log after which they are carried over to the file. Groups change many of the same pages, those of indexes: so
each is carried over once for several groups. What is committed is in the log, and as safe there."""

SETTINGS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    f"PRAGMA cache_size=-{CACHE_KIB}",
    f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}",
)
"""How a connection is set up. What is committed is on the disk."""

WRITER_SETTINGS = (*SETTINGS, "PRAGMA temp_store=MEMORY")
"""How the one connection that writes events is set up. Copies of pages, so as to undo a statement that adds to counts, are bounded by
its rows, and need not be written. Whoever closes days sorts millions of counts, for which memory is not the place."""

BUSY_SECONDS = 10.0


class SqliteDriver:
    """Write to an SQLite file."""

    def __init__(self, path: str, settings: Sequence[str] = SETTINGS) -> None:
        self._path = path
        self._settings = settings
        self._connection: sqlite3.Connection | None = None

    def begin(self, *, snapshot: bool = False) -> None:
        """Take the write lock, so that what is read stays true until the commit; for a snapshot none is needed."""
        self._execute("BEGIN" if snapshot else "BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Write through to the disk."""
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Roll back; a connection that cannot is dropped."""
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def insert(self, target: Target, rows: Sequence[Row]) -> int:
        """Insert by statements of as many rows as go together."""
        inserted = done = 0
        for together in TOGETHER:
            end = len(rows) - (len(rows) - done) % together
            if done < end:
                many = [tuple(chain.from_iterable(rows[at : at + together])) for at in range(done, end, together)]
                inserted += self._many(_insert_of(target, together), many)
                done = end
        return inserted

    def run(self, statement: str, rows: Sequence[Row]) -> int:
        """Run a statement once a row."""
        return self._many(statement, rows)

    def fetch(self, statement: str, parameters: Row) -> list[Row]:
        """Return the rows of a query, or none where a statement gives none."""
        try:
            return self._connected().execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise _from_sqlite(error) from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _many(self, statement: str, rows: Sequence[Row]) -> int:
        try:
            return self._connected().executemany(statement, rows).rowcount
        except (sqlite3.Error, OverflowError) as error:
            raise _from_sqlite(error) from error

    def _execute(self, statement: str) -> None:
        try:
            self._connected().execute(statement)
        except sqlite3.Error as error:
            raise _from_sqlite(error) from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            for setting in self._settings:
                connection.execute(setting)
            self._connection = connection
        return self._connection


@cache
def _insert_of(target: Target, rows: int) -> str:
    # A statement of many rows that may fail in the middle keeps a copy of every page that it changes, so as to undo itself alone.
    # Here the transaction is rolled back whatever fails: so what such a statement did may stay until then.
    return target.insert("?", rows).replace("INSERT INTO", "INSERT OR FAIL INTO", 1)


def _from_sqlite(error: Exception) -> Exception:
    lasting = sqlite3.DataError | sqlite3.IntegrityError | sqlite3.InterfaceError | OverflowError
    kind = RefusedError if isinstance(error, lasting) else LostError
    return kind(str(error))
