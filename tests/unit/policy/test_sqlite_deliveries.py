"""What the deliveries in an SQLite file promise beside the contract: their connection is not one of the database's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.migrate import upgrade
from services.policy.model.delivery import Delivery, Desired
from services.policy.store.deliveries import KeptDeliveries, deliveries_in


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.connect(f"sqlite:///{tmp_path / 'policy.db'}", service="policy")
    await upgrade(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def deliveries(database: Database) -> AsyncIterator[KeptDeliveries]:
    opened = deliveries_in(database)
    yield opened
    await opened.close()


def prepared(old: Delivery) -> Delivery:
    return old.prepared(b"1" * 32, Desired.ON)


def break_files(folder: Path) -> None:
    for path in folder.glob("policy.db*"):
        path.write_bytes(b"this is no database " * 1000)


async def test_a_change_waits_for_the_other_writers_of_the_process_and_is_theirs_to_see(
    database: Database, deliveries: KeptDeliveries
) -> None:
    async with database.transaction() as tx:
        changing = asyncio.create_task(deliveries.change([("d1", prepared)]))
        await tx.execute(sa.text("UPDATE policy_revision SET value = value"))
        assert not changing.done()
    await changing
    async with database.read() as tx:
        count = await tx.execute(sa.text("SELECT count(*) FROM policy_delivery"))
    assert count.scalar_one() == 1


async def test_a_file_that_is_broken_is_said_to_be_unavailable(
    database: Database, deliveries: KeptDeliveries, tmp_path: Path
) -> None:
    await database.close()
    break_files(tmp_path)
    with pytest.raises(UnavailableError):
        await deliveries.many(["d1"])
    with pytest.raises(UnavailableError):
        await deliveries.change([("d1", prepared)])
