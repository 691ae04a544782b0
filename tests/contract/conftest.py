"""The stores of the services, for the suites that every one of them passes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services._chassis.db import Database
from services.device.ports import Store
from services.device.store.sql import SqlStore
from services.policy import ports as policy_ports
from services.policy.store.objects import SqlStore as SqlPolicyStore
from tests.builders.device_database import device_database
from tests.builders.policy_database import policy_database
from tests.builders.requestshelf import Shelf
from tests.builders.sinks import DurableSink
from tests.databases import lent
from tests.fakes.device import MemoryStore
from tests.fakes.policy import MemoryStore as MemoryPolicyStore


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def device_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Give the test an empty store: in memory, on SQLite and on PostgreSQL."""
    if request.param == "memory":
        yield MemoryStore()
        return
    with lent(request, tmp_path) as url:
        async with device_database(url) as database:
            yield SqlStore(database)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def policy_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[policy_ports.Store]:
    """Give the test an empty store of what is authored: in memory, on SQLite and on PostgreSQL."""
    if request.param == "memory":
        yield MemoryPolicyStore()
        return
    with lent(request, tmp_path) as url:
        async with policy_database(url) as database:
            yield SqlPolicyStore(database)


@pytest.fixture
async def sink(database: Database) -> AsyncIterator[DurableSink]:
    """Give the test what stores events in the database of its suite."""
    opened = DurableSink.on(database.url)
    yield opened
    await opened.close()


@pytest.fixture
async def shelf(database_url: str) -> AsyncIterator[Shelf]:
    """Give the test all that is kept of elevation requests, empty: on SQLite and on PostgreSQL."""
    async with policy_database(database_url) as database:
        yield Shelf(database)
