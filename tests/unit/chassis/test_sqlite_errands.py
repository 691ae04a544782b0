"""Statements to SQLite are one errand each, and nothing that was begun outlives who began it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services._chassis.sqlite_errands import OneErrandConnection, connect


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[OneErrandConnection]:
    made = connect(str(tmp_path / "data.sqlite"), isolation_level=None, check_same_thread=False)
    async with made:
        await made.cursor().execute("CREATE TABLE kept (value INTEGER)")
        yield made


async def test_a_statement_tells_its_rows_and_how_many_it_touched(connection: OneErrandConnection) -> None:
    cursor = connection.cursor()
    await cursor.executemany("INSERT INTO kept VALUES (?)", [(1,), (2,)])
    assert cursor.rowcount == 2
    await cursor.execute("UPDATE kept SET value = value + 1 RETURNING value")
    assert [column[0] for column in cursor.description] == ["value"]
    assert (await cursor.fetchall(), cursor.rowcount) == ([(2,), (3,)], 2)


async def test_what_was_begun_is_rolled_back(connection: OneErrandConnection) -> None:
    await connection.cursor().execute("BEGIN")
    await connection.cursor().execute("INSERT INTO kept VALUES (1)")
    await connection.rollback()
    assert not connection.in_transaction
    cursor = connection.cursor()
    await cursor.execute("SELECT * FROM kept")
    assert await cursor.fetchall() == []


async def test_what_nobody_waited_for_is_rolled_back_once_it_has_begun(connection: OneErrandConnection) -> None:
    free = threading.Event()
    held = asyncio.create_task(connection.run(free.wait))
    beginning = asyncio.create_task(connection.cursor().execute("BEGIN"))
    await asyncio.wait([beginning], timeout=0)
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    assert not connection.in_transaction
    rolling = asyncio.create_task(connection.rollback())
    await asyncio.wait([rolling], timeout=0)
    free.set()
    await asyncio.gather(held, rolling)
    assert not connection.in_transaction
