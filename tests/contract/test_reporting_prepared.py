"""Groups that were prepared ahead of their transaction are stored and counted as any other, on both databases."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services.reporting.store import tables
from services.reporting.store.drivers import driver_of
from services.reporting.store.transactions import Transactions
from services.reporting.store.wire import batches_packed, batches_unpacked
from tests.builders.counts import check, stored
from tests.builders.reporting_database import reporting_database
from tests.fakes.reporting import batch, decided, unmanaged, uuid7


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@pytest.fixture
def transactions(database: Database) -> Iterator[Transactions]:
    driver = driver_of(database.url)
    yield Transactions(driver)
    driver.close()


async def users(database: Database) -> dict[str, str]:
    """Return the user of each event that is stored."""
    return {row["event_id"]: row["user_name"] for row in await stored(database)}


async def test_a_group_that_was_prepared_is_stored_and_counted_as_any_other(
    transactions: Transactions, database: Database
) -> None:
    transactions.store([batch([decided(1), unmanaged(2)])])
    group = batches_unpacked(batches_packed([batch([decided(3), unmanaged(4)], first=3), batch([decided(5)], first=5)]))
    prepared = transactions.prepare(group)
    assert prepared is not None
    assert transactions.store(group, prepared) == [(), ()]
    assert (await users(database)).keys() == {uuid7(number) for number in range(1, 6)}
    await check(database)


async def test_what_one_batch_tells_and_the_database_refuses_costs_the_others_that_came_with_it_nothing(
    transactions: Transactions, database: Database
) -> None:
    transactions.store([batch([decided(1)])])
    refused = {"file_name": "a\0b"} if database.url.get_backend_name() == "postgresql" else {"managed": 2**80}
    good, bad = batch([decided(number) for number in (2, 3, 4)], first=2), batch([decided(5)], device="d2")
    bad = replace(bad, attempts=(bad.attempts[0]._replace(**refused),))
    [nothing, rejected] = transactions.store(batches_unpacked(batches_packed([good, bad])))
    assert (nothing, [one.seq for one in rejected]) == ((), [1])
    assert (await users(database)).keys() == {uuid7(number) for number in range(1, 5)}
    assert transactions.stored == 2
    await check(database)


async def test_of_a_group_that_was_prepared_only_what_is_new_is_counted(
    transactions: Transactions, database: Database
) -> None:
    transactions.store([batch([decided(1), decided(2)])])
    group = [batch([decided(1), decided(2), decided(3)])]
    assert transactions.store(group, transactions.prepare(group)) == [()]
    assert len(await users(database)) == 3
    await check(database)


async def test_a_group_that_tells_of_something_new_is_prepared_by_its_transaction(
    transactions: Transactions, database: Database
) -> None:
    for group in ([batch([decided(1)])], [batch([decided(2, user="another")], first=2)], [batch([], first=3)]):
        assert transactions.prepare(group) is None
        transactions.store(group)
    assert len(await users(database)) == 2


async def test_what_was_prepared_before_a_number_went_is_made_anew(
    transactions: Transactions, database: Database
) -> None:
    transactions.store([batch([decided(1, user="one@example.com")])])
    group = [batch([decided(2, user="one@example.com")], first=2)]
    prepared = transactions.prepare(group)
    async with database.transaction() as tx:
        for table in (tables.ATTEMPT, tables.COUNT, tables.COUNT_BY_USER, tables.KNOWN_USER):
            await tx.execute(sa.delete(table))
        await tx.execute(sa.insert(tables.KNOWN_USER).values(user_key=77, digest="of another", user_name="two"))
        await tx.execute(sa.update(tables.HORIZON).values(numbers_forgotten=1))
    transactions.store(group, prepared)
    assert await users(database) == {uuid7(2): "one@example.com"}


async def test_of_a_group_that_was_prepared_what_was_purged_is_not_stored_again(
    transactions: Transactions, database: Database
) -> None:
    transactions.store([batch([decided(1), decided(2)])])
    async with database.transaction() as tx:
        await tx.execute(sa.delete(tables.ATTEMPT).where(tables.ATTEMPT.c.event_id == uuid7(1)))
        await tx.execute(sa.update(tables.JOURNAL).values(purged_through=1))
    group = batches_unpacked(batches_packed([batch([decided(1), decided(2), decided(3)])]))
    prepared = transactions.prepare(group)
    assert prepared is not None
    assert transactions.store(group, prepared) == [()]
    assert (await users(database)).keys() == {uuid7(2), uuid7(3)}
