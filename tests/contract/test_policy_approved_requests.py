"""What is approved, as documents are made by it: read as far as it changed, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services.policy.model.requests import Access, ElevationRequest, End, Review
from services.policy.model.told_requests import GrantUse
from services.policy.store.elevation_requests import SqlElevationRequests
from services.policy.store.objects import SqlStore
from services.policy.store.request_outcomes import SqlGrantUses, SqlOutcomes
from services.policy.store.tables import ELEVATION_REQUEST
from tests.builders.policy_database import policy_database
from tests.builders.requests import request
from tests.fakes.clock import NOW

ACCESS = Access(begins=NOW, until=NOW + timedelta(hours=1), max_uses=5)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with policy_database(database_url) as opened:
        yield opened


async def change(
    database: Database, number: int, step: Callable[[ElevationRequest], ElevationRequest]
) -> ElevationRequest:
    store = SqlElevationRequests(database)
    await store.submit(request(number), [], NOW)
    [told] = await store.change([request(number).request_id], lambda old, _now: step(old), lambda: NOW)
    return told.request


def approved(old: ElevationRequest) -> ElevationRequest:
    return old.approved(Review(reviewer="user:carol", reviewed=NOW), ACCESS)


def revoked(old: ElevationRequest) -> ElevationRequest:
    return old.revoked(End(ended=NOW, reason="taken back"))


async def test_what_a_store_remembers_is_what_one_that_begins_reads(database: Database) -> None:
    store = SqlStore(database)

    async def both() -> tuple[ElevationRequest, ...]:
        remembered, anew = (await store.corpus()).approved, (await SqlStore(database).corpus()).approved
        assert remembered == anew
        return remembered

    assert await both() == ()
    third = await change(database, 3, approved)
    assert await both() == (third,)
    first = await change(database, 1, approved)
    assert await both() == (first, third)
    use = GrantUse(grant_id=third.request_id, attempt_id="use", used=NOW)
    await SqlGrantUses(database).take_in(third.device_id, [use], lambda: NOW)
    assert [each.access.uses for each in await both() if each.access] == [0, 1]
    await change(database, 3, revoked)
    assert await both() == (first,)
    await change(database, 1, revoked)
    assert await both() == ()


async def test_nothing_that_stands_is_read_again_where_something_else_changed(database: Database) -> None:
    store = SqlStore(database)
    first = await change(database, 1, approved)
    before = await store.corpus()
    await change(database, 2, lambda old: old.denied(Review(reviewer="user:carol", reviewed=NOW, reason="no")))
    await SqlOutcomes(database).keep(first.device_id, 1)
    after = await store.corpus()
    assert after.revision > before.revision
    assert after.approved is before.approved
    third = await change(database, 3, approved)
    found = (await store.corpus()).approved
    assert found == (first, third)
    assert found[0] is before.approved[0]


async def test_data_that_are_older_than_what_is_remembered_are_read_whole(database: Database) -> None:
    store = SqlStore(database)
    await change(database, 1, approved)
    await change(database, 2, approved)
    assert len((await store.corpus()).approved) == 2
    async with database.transaction() as tx:
        await tx.execute(sa.delete(ELEVATION_REQUEST))
        await tx.execute(sa.update(database.revisions).values(value=1))
    assert (await store.corpus()).approved == ()
