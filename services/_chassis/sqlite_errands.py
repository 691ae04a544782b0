"""SQLite by as few errands to its thread as there are statements: an errand costs more than most statements do.

`aiosqlite` sends its thread once to make a cursor, once to run it, once to fetch and once to close it. Here it runs once.
"""

import asyncio
import sqlite3
from collections.abc import Iterable
from functools import partial
from typing import Any, Self

import aiosqlite

MANY = 64
"""Rows that an iteration fetches at once; ours fetch all."""


class OneErrandConnection(aiosqlite.Connection):
    """Make cursors that are an errand each, and roll nothing back where nothing was begun."""

    def __init__(self, connector: Any) -> None:
        super().__init__(connector, MANY)
        self._thread.daemon = True
        self._abandoned = False

    def cursor(self) -> Any:
        """Return a cursor at once."""
        return _Cursor(self)

    async def run(self, errand: Any, *arguments: Any) -> Any:
        """Run something in the thread, and know where nobody waited for its end."""
        try:
            return await self._execute(errand, *arguments)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            self._abandoned = True
            raise

    async def rollback(self) -> None:
        """Roll back; a pool that is given a connection back asks for it, too, after those who used it have ended.

        INVARIANT: what was abandoned may have begun since it was looked at, so that it is rolled back behind it.
        """
        if self._abandoned or self._conn.in_transaction:
            self._abandoned = False
            await self.run(self._conn.rollback)

    async def commit(self) -> None:
        """Commit."""
        await self.run(self._conn.commit)


class _Cursor:
    """Hold what a statement gave."""

    arraysize = 1

    def __init__(self, connection: OneErrandConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Iterable[Any] = ()) -> Self:
        await self._connection.run(self._run, "execute", statement, parameters)
        return self

    async def executemany(self, statement: str, parameters: Iterable[Iterable[Any]]) -> Self:
        await self._connection.run(self._run, "executemany", statement, parameters)
        return self

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []

    def _run(self, how: str, statement: str, parameters: Any) -> None:
        cursor = self._connection._conn.cursor()  # noqa: SLF001 - the thread's own side of the connection
        try:
            getattr(cursor, how)(statement, parameters)
            self._rows = cursor.fetchall() if cursor.description else []
            self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()


def connect(database: str, **options: Any) -> OneErrandConnection:
    """Prepare a connection, as the engine asks for one."""
    return OneErrandConnection(partial(sqlite3.connect, database, **options))
