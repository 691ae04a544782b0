"""Connections that a restart of PostgreSQL broke are found before they are used, and at the latest by it."""

from collections.abc import AsyncIterator

import psycopg
import pytest
import sqlalchemy as sa

from services._chassis.db import Database, normalised
from services._chassis.engines import QUIET_SECONDS, open_engine
from services._chassis.errors import UnavailableError
from tests.postgres import Cluster


class Moments:
    """Be a clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def moments() -> Moments:
    return Moments()


@pytest.fixture
async def database(postgres: Cluster, moments: Moments) -> AsyncIterator[Database]:
    with postgres.fresh_database() as url:
        opened = Database(open_engine(normalised(url), 2, moments), "demo")
        await answer(opened)
        yield opened
        await opened.close()


async def answer(database: Database) -> int:
    async with database.read() as tx:
        return int((await tx.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one())


def end_connections(database: Database) -> None:
    """Do what a restart does to those who are connected."""
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as other:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ended = other.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}".encode()).fetchall()
    assert ended == [(True,)]


async def test_a_connection_that_lay_still_is_asked_before_it_is_used(database: Database, moments: Moments) -> None:
    before = await answer(database)
    end_connections(database)
    moments.now += QUIET_SECONDS
    assert await answer(database) != before


async def test_a_connection_that_was_in_use_a_moment_ago_fails_once(database: Database) -> None:
    before = await answer(database)
    end_connections(database)
    with pytest.raises(UnavailableError):
        await answer(database)
    assert await answer(database) != before


async def test_a_connection_is_kept_whether_it_is_asked_or_not(database: Database, moments: Moments) -> None:
    before = await answer(database)
    moments.now += QUIET_SECONDS
    assert await answer(database) == before
    assert await answer(database) == before
