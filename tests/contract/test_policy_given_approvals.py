"""What was approved, as it is read on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services._chassis.config import LONGEST_REVIEW
from services._chassis.db import Database
from services.policy.model.candidates import Approval
from services.policy.model.requests import Access, ElevationRequest, End, Review
from services.policy.store.elevation_requests import SqlElevationRequests
from services.policy.store.given_approvals import SqlGivenApprovals
from tests.builders.policy_database import policy_database
from tests.builders.requests import request
from tests.fakes.clock import NOW

HOUR = timedelta(hours=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with policy_database(database_url) as made:
        yield made


async def put(database: Database, number: int, **values: object) -> ElevationRequest:
    """Keep a new request."""
    return (await SqlElevationRequests(database).submit(request(number, **values), [], NOW)).request


async def approve(database: Database, made: ElevationRequest, at: datetime = NOW) -> None:
    """Approve a request."""
    review, access = Review(reviewer="user:carol", reviewed=at), Access(begins=at, until=at + HOUR)
    await SqlElevationRequests(database).change(
        [made.request_id], lambda old, _now: old.approved(review, access), lambda: at
    )


async def given(database: Database, since: datetime = NOW, **bounds: int) -> list[str]:
    """Return whose requests were approved."""
    return [each.request_id for each in await SqlGivenApprovals(database, **bounds).given(since)]


async def test_an_approval_says_whose_request_for_which_file_it_was(database: Database) -> None:
    made = await put(database, 1, device_id="d7", user="bob", scope_tags=frozenset({"apac"}))
    await approve(database, made)
    assert await SqlGivenApprovals(database).given(NOW) == [
        Approval(
            request_id=made.request_id,
            device_id="d7",
            user="bob",
            sha256="ab" * 32,
            scope_tags=frozenset({"apac"}),
            reviewed=NOW,
        )
    ]


async def test_what_was_approved_counts_whatever_became_of_it_and_nothing_else(database: Database) -> None:
    store = SqlElevationRequests(database)
    approved, revoked, expired, denied, late, waiting = [await put(database, number) for number in range(1, 7)]
    for each in (approved, revoked, expired):
        await approve(database, each)
    await store.change(
        [revoked.request_id], lambda old, now: old.revoked(End(ended=now, reason="wrong file")), lambda: NOW
    )
    await store.change(
        [denied.request_id], lambda old, now: old.denied(Review(reviewer="user:carol", reviewed=now)), lambda: NOW
    )
    for ended, at in ((expired, NOW + HOUR), (late, waiting.review_deadline)):
        await store.change([ended.request_id], ElevationRequest.at, iter([at]).__next__)
    assert await given(database) == [each.request_id for each in (expired, revoked, approved)]


async def test_approvals_count_from_the_time_on_at_which_they_were_given(database: Database) -> None:
    asked_before = await put(database, 1, submitted=NOW - LONGEST_REVIEW, review_deadline=NOW + HOUR)
    approved_before = await put(database, 2, submitted=NOW - 2 * HOUR)
    await approve(database, asked_before)
    await approve(database, approved_before, NOW - timedelta(microseconds=1))
    assert await given(database) == [asked_before.request_id]
    everything = [approved_before.request_id, asked_before.request_id]
    assert await given(database, datetime.min.replace(tzinfo=UTC)) == everything


async def test_approvals_of_one_moment_are_read_step_by_step_and_those_of_the_newest_requests_alone(
    database: Database,
) -> None:
    made = [await put(database, number) for number in range(1, 8)]
    for each in made:
        await approve(database, each)
    newest_first = [each.request_id for each in reversed(made)]
    assert await given(database, chunk=2) == newest_first
    assert await given(database, chunk=2, most=4) == newest_first[:4]
