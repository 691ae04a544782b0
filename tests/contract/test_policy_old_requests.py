"""Requests that are over and old go with what belongs to them, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services.policy.model.requests import Access, ElevationRequest, End, Review
from services.policy.model.told_requests import GrantUse
from services.policy.store.elevation_requests import SqlElevationRequests
from services.policy.store.old_requests import SqlOldRequests
from services.policy.store.request_outcomes import SqlGrantUses, SqlOutcomes
from services.policy.store.tables import AUDIT, CERTIFICATE_CHAIN, ELEVATION_REQUEST, GRANT_USE, REQUEST_OUTCOME
from services.policy.usecases.requests.ports import RequestStep
from tests.builders.policy_database import policy_database
from tests.builders.requests import request
from tests.fakes.clock import NOW

HOUR = timedelta(hours=1)
LATER = NOW + HOUR
REVIEW = Review(reviewer="user:carol", reviewed=NOW)


def timeless(step: Callable[[ElevationRequest], ElevationRequest]) -> RequestStep:
    """Make a step of one that needs no time."""
    return lambda old, _now: step(old)


class Shelf:
    """Keep requests, and let old ones go."""

    def __init__(self, database: Database, **old: int) -> None:
        self.database = database
        self.requests = SqlElevationRequests(database)
        self.outcomes = SqlOutcomes(database)
        self.uses = SqlGrantUses(database)
        self.old = SqlOldRequests(database, **old)

    async def put(self, number: int, *steps: Callable[[ElevationRequest], ElevationRequest], **values: object) -> str:
        """Keep a new request, and take it on."""
        made = await self.requests.submit(request(number, **values), [b"chain"], NOW)
        for step in steps:
            await self.requests.change([made.request.request_id], timeless(step), lambda: NOW)
        return made.request.request_id

    async def use_of_nobody(self, device_id: str, attempt_id: str) -> None:
        """Keep a use of a grant that nobody has, as was done once."""
        row = {"device_id": device_id, "attempt_id": attempt_id, "grant_id": "nobody", "used": NOW, "recorded": NOW}
        async with self.database.transaction() as tx:
            await tx.execute(sa.insert(GRANT_USE), row)

    async def over(self, before: datetime = LATER) -> list[list[str]]:
        """Return what is over, as it is given."""
        return [list(ids) async for ids in self.old.over(before)]

    async def column(self, column: sa.Column[str]) -> list[str]:
        """Return what is kept in a column, sorted."""
        async with self.database.read() as tx:
            return sorted((await tx.execute(sa.select(column))).scalars())


@pytest.fixture
async def shelf(database_url: str) -> AsyncIterator[Shelf]:
    async with policy_database(database_url) as database:
        yield Shelf(database)


def approved(old: ElevationRequest) -> ElevationRequest:
    return old.approved(REVIEW, Access(begins=NOW, until=NOW + HOUR))


def denied(old: ElevationRequest) -> ElevationRequest:
    return old.denied(REVIEW)


def revoked(old: ElevationRequest) -> ElevationRequest:
    return old.revoked(End(ended=NOW, reason="wrong file"))


def use(grant_id: str, attempt_id: str) -> GrantUse:
    return GrantUse(grant_id=grant_id, attempt_id=attempt_id, used=NOW)


async def test_what_ended_before_a_time_is_over_and_nothing_that_waits_or_is_granted(shelf: Shelf) -> None:
    ended = [
        await shelf.put(1, denied),
        await shelf.put(2, lambda old: old.cancelled(NOW)),
        await shelf.put(3, approved, revoked),
        await shelf.put(4, approved, lambda old: old.at(NOW + HOUR)),
    ]
    await shelf.put(5)
    await shelf.put(6, approved)
    assert await shelf.over(NOW + HOUR) == [ended[:3]]
    assert await shelf.over(NOW + HOUR + timedelta(microseconds=1)) == [ended]
    assert await shelf.over(NOW) == [[]]


async def test_all_are_looked_at_a_few_at_once_though_some_ended_later(shelf: Shelf) -> None:
    shelf = Shelf(shelf.database, step=2)
    for number in (1, 2):
        await shelf.put(number, approved, lambda old: old.at(LATER))
    ended = [await shelf.put(number, denied) for number in (3, 4, 5)]
    assert await shelf.over() == [[], ended[:2], ended[2:]]


async def test_requests_go_with_their_uses_and_outcomes_and_the_audit_log_stays(shelf: Shelf) -> None:
    gone, stays = await shelf.put(1, approved, revoked), await shelf.put(2, approved)
    await shelf.uses.take_in("d1", [use(gone, "a1"), use(stays, "a2")], lambda: NOW)
    await shelf.use_of_nobody("d1", "a3")
    await shelf.use_of_nobody("d2", "a4")
    audited = await shelf.column(AUDIT.c.action)
    await shelf.old.delete([gone], NOW)
    assert await shelf.column(ELEVATION_REQUEST.c.request_id) == [stays]
    assert await shelf.column(REQUEST_OUTCOME.c.request_id) == [stays]
    assert await shelf.column(GRANT_USE.c.attempt_id) == ["a2", "a3", "a4"]
    assert await shelf.column(AUDIT.c.action) == audited
    also = await shelf.put(3, denied)
    await shelf.old.delete([also], LATER)
    assert await shelf.column(GRANT_USE.c.attempt_id) == ["a2", "a4"]
    await shelf.old.delete([gone, also], LATER)


async def test_a_chain_is_kept_once_and_goes_with_the_last_request_that_brought_it(shelf: Shelf) -> None:
    first, second = await shelf.put(1, denied), await shelf.put(2, denied)
    assert len(await shelf.column(CERTIFICATE_CHAIN.c.digest)) == 1
    await shelf.old.delete([first], NOW)
    assert list(await shelf.requests.certificates(second)) == [b"chain"]
    await shelf.old.delete([second], NOW)
    assert await shelf.column(CERTIFICATE_CHAIN.c.digest) == []


async def test_numbers_of_outcomes_go_on_though_all_requests_went(shelf: Shelf) -> None:
    first, second = await shelf.put(1, denied), await shelf.put(2, denied)
    await shelf.old.delete([first, second], LATER)
    assert await shelf.outcomes.waiting(0) == (frozenset(), await shelf.requests.newest())
    assert list(await shelf.outcomes.of_device("d1", 0)) == []
    third = await shelf.put(3, denied)
    told = await shelf.outcomes.of_device("d1", 0)
    assert [(each.sequence, each.request.request_id) for each in told] == [(3, third)]
    fourth = await shelf.put(4, denied)
    await shelf.old.delete([third], LATER)
    assert await shelf.column(REQUEST_OUTCOME.c.request_id) == [fourth]


async def test_what_is_not_over_never_goes(shelf: Shelf) -> None:
    kept = [await shelf.put(1), await shelf.put(2, approved)]
    await shelf.uses.take_in("d1", [use(kept[1], "a1")], lambda: NOW)
    await shelf.old.delete(kept, LATER)
    assert await shelf.column(ELEVATION_REQUEST.c.request_id) == kept
    assert await shelf.column(GRANT_USE.c.attempt_id) == ["a1"]
    assert [each.sequence for each in await shelf.outcomes.of_device("d1", 0)] == [1]
