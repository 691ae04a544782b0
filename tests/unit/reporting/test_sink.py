import sqlite3
from pathlib import Path

import pytest

from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.migrate import upgrade
from services.reporting.store.drivers import SqliteDriver
from services.reporting.store.sink import DurableSink
from tests.fakes.reporting import batch, decided


async def migrated(path: Path) -> Path:
    database = await Database.connect(f"sqlite:///{path}", service="reporting")
    await upgrade(database)
    await database.close()
    return path


def count(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM reporting_attempt").fetchone()[0])
    finally:
        connection.close()


async def test_a_full_disk_stores_nothing_and_the_next_try_stores_all(tmp_path: Path) -> None:
    path = await migrated(tmp_path / "reporting.db")
    driver = SqliteDriver(str(path))
    sink = DurableSink(driver)
    driver.begin()
    [(pages,)] = driver.fetch("PRAGMA page_count", ())
    driver.rollback()
    driver.fetch(f"PRAGMA max_page_count = {pages}", ())
    large = batch([decided(number, reason="x" * 4000) for number in range(1, 50)])
    with pytest.raises(UnavailableError):
        await sink.store([large])
    assert count(path) == 0
    driver.fetch("PRAGMA max_page_count = 100000", ())
    assert await sink.store([large]) == [()]
    assert count(path) == 49
    await sink.close()


async def test_a_database_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    sink = DurableSink(SqliteDriver(str(tmp_path / "nowhere" / "reporting.db")))
    with pytest.raises(UnavailableError):
        await sink.store([batch([decided(1)])])
    await sink.close()


async def test_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    driver = SqliteDriver(str(await migrated(tmp_path / "reporting.db")))
    driver.begin()
    full = 2
    assert driver.fetch("PRAGMA synchronous", ()) == [(full,)]
    driver.rollback()
    driver.close()
