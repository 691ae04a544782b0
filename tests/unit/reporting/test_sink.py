import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.migrate import upgrade
from services.reporting.codec.incoming import batch_from_proto
from services.reporting.model.events import microseconds
from services.reporting.store.dimensions import DIMENSIONS, RULE
from services.reporting.store.driver import RefusedError
from services.reporting.store.drivers import driver_of
from services.reporting.store.known import MOST_CHARACTERS, Known
from services.reporting.store.rows import GAPS, Row
from services.reporting.store.sqlite_driver import SqliteDriver
from tests.builders.sinks import DurableSink
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, decided, message


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


def test_the_writer_of_events_alone_keeps_in_memory_what_sqlite_writes_aside(tmp_path: Path) -> None:
    url = make_url(f"sqlite:///{tmp_path / 'reporting.db'}")
    told = [driver_of(url, of_writer=of_writer).fetch("PRAGMA temp_store", ()) for of_writer in (False, True)]
    assert told == [[(0,)], [(2,)]]


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


async def test_of_rows_among_which_one_is_refused_none_stays(tmp_path: Path) -> None:
    driver = SqliteDriver(str(await migrated(tmp_path / "reporting.db")))
    rows: list[Row] = [(key, 1, 2, 3) for key in range(1, 101)]
    driver.begin()
    with pytest.raises(RefusedError):
        driver.insert(GAPS, [*rows, (101, 1, 2, None), (102, 1, 2, 3)])
    driver.rollback()
    assert driver.fetch("SELECT count(*) FROM reporting_gap", ()) == [(0,)]
    driver.close()


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


class Counting(SqliteDriver):
    """Count the rows of gaps that are read."""

    gaps = 0

    def fetch(self, statement: str, parameters: Row) -> list[Row]:
        found = super().fetch(statement, parameters)
        self.gaps += len(found) if "FROM reporting_gap" in statement else 0
        return found


async def test_of_the_gaps_of_a_journal_only_those_are_read_of_which_something_comes_late(tmp_path: Path) -> None:
    driver = Counting(str(await migrated(tmp_path / "reporting.db")))
    sink = DurableSink(driver)
    for number in range(1, 400, 2):
        await sink.store([batch([decided(number)], first=number)])
    late = message([decided(1000), decided(1001)])
    late.entries[0].seq, late.entries[1].seq = 2, 398
    again = batch_from_proto(late, device_id="d1", device_name="name-of-d1", received=microseconds(NOW))
    assert await sink.store([again]) == [()]
    assert driver.gaps == 2
    driver.begin()
    places = [row[0] for row in driver.fetch("SELECT first_seq FROM reporting_gap ORDER BY first_seq", ())]
    driver.rollback()
    assert places == list(range(4, 397, 2))
    await sink.close()


async def test_numbers_of_long_texts_are_not_cached_without_end(tmp_path: Path) -> None:
    driver = SqliteDriver(str(await migrated(tmp_path / "reporting.db")))
    known, short, long = Known(driver), ("a", "b"), ("c" * MOST_CHARACTERS, "d")
    driver.begin()
    key = known.keys_of(RULE, [short])
    known.keys_of(RULE, [long])
    assert known.keys_of(RULE, [short]) == key
    assert [*known.cached(RULE)] == [short]
    assert known.keys_of(RULE, [("e", "f"), short])[1:] == key
    assert [*known.cached(RULE)] == [short, ("e", "f")]
    driver.rollback()
    driver.close()


class Watched(Known):
    """Note how many numbers are cached whenever it is counted that some were forgotten."""

    def __init__(self, driver: SqliteDriver) -> None:
        self.left: list[int] = []
        self._counted = 0
        super().__init__(driver)

    @property
    def generation(self) -> int:
        """Return how often something was forgotten."""
        return self._counted

    @generation.setter
    def generation(self, counted: int) -> None:
        self._counted = counted
        self.left.append(sum(len(self.cached(dimension)) for dimension in DIMENSIONS))


async def test_numbers_are_gone_before_it_is_told_that_they_are(tmp_path: Path) -> None:
    driver = SqliteDriver(str(await migrated(tmp_path / "reporting.db")))
    known = Watched(driver)
    driver.begin()
    known.keys_of(RULE, [("a", "b")])
    known.forget()  # a group that is prepared meanwhile would take a number that is gone for one of today
    assert (known.generation, known.left) == (1, [0, 0])
    driver.rollback()
    driver.close()
