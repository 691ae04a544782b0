"""What lists of requests read, on SQLite and on PostgreSQL: an index finds what many have in common, and the rest is bounded."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from services._chassis.db import Database
from services._chassis.paging import PageRequest
from services.policy.model.request_listing import RequestFilter, read_request_filter
from services.policy.model.requests import End, RequestState, Review
from services.policy.store.elevation_requests import CHUNK, SqlElevationRequests
from services.policy.store.recent_requests import SqlRecentRequests
from services.policy.usecases.requests.ports import RequestsWanted
from tests.builders.policy_database import policy_database
from tests.builders.requests import request
from tests.fakes.clock import NOW

ALL = RequestsWanted(lambda _: True)


class Plans:
    """Say how the database reads what was asked of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: list[tuple[str, Any]] = []
        event.listen(database.engine.sync_engine, "before_cursor_execute", self._note)

    async def of_last(self, table: str = "policy_elevation_request") -> str:
        """Explain the last question about a table; no index is too small for it."""
        statement, values = next(each for each in reversed(self._asked) if f"FROM {table}" in each[0])
        how = "EXPLAIN" if self._database.on_postgresql else "EXPLAIN QUERY PLAN"
        async with self._database.transaction() as tx:
            if self._database.on_postgresql:
                for way in ("seqscan", "bitmapscan"):  # as of small tables
                    await tx.execute(sa.text(f"SET LOCAL enable_{way} = off"))
            rows = await tx.connection.exec_driver_sql(f"{how} {statement}", values)
            return "\n".join(map(str, rows))

    def _note(self, *told: Any) -> None:
        self._asked.append((told[2], told[3]))


@pytest.mark.parametrize(
    ("equal", "index"),
    [
        ({"state": "DENIED"}, "state"),
        ({"user": "alice"}, "requester"),
        ({"device": "WS-17"}, "name"),
        ({"deviceId": "d1"}, "device"),
        ({"sha256": "ab" * 32}, "file"),
    ],
)
async def test_lists_find_what_is_asked_for_by_an_index(
    database_url: str, equal: Mapping[str, str], index: str
) -> None:
    async with policy_database(database_url) as database:
        plans, store = Plans(database), SqlElevationRequests(database)
        await store.page(PageRequest(10, after=(request(9).request_id,)), RequestsWanted(ALL.matches, equal=equal))
        plan = await plans.of_last()
        assert f"policy_elevation_request_{index} " in plan
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan


async def test_what_a_device_asked_for_lately_is_found_by_an_index(database_url: str) -> None:
    async with policy_database(database_url) as database:
        plans = Plans(database)
        await SqlRecentRequests(database).recent("d1", NOW)
        assert "policy_elevation_request_recent " in await plans.of_last()


async def test_the_newest_uses_of_a_request_are_found_by_an_index_in_their_order(database_url: str) -> None:
    async with policy_database(database_url) as database:
        plans = Plans(database)
        await SqlElevationRequests(database).uses(request(1).request_id, 10)
        plan = await plans.of_last("policy_grant_use")
        assert "policy_grant_use_newest " in plan
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan


async def test_who_asks_for_what_no_index_knows_goes_on_by_the_token(database_url: str) -> None:
    async with policy_database(database_url) as database:
        store = SqlElevationRequests(database, most_looked=CHUNK)
        for number in range(1, CHUNK + 6):
            await store.submit(request(number, device_id=f"d{number}"), [], NOW)
        oldest = request(1).request_id
        wanted = RequestsWanted(lambda each: each.request_id == oldest)
        first = await store.page(PageRequest(10, question="q"), wanted)
        assert (list(first.items), bool(first.next_token)) == ([], True)
        second = await store.page(PageRequest(10, question="q", after=(request(6).request_id,)), wanted)
        assert ([told.request.request_id for told in second.items], second.next_token) == ([oldest], "")


@pytest.mark.parametrize("state", list(RequestState))
def test_a_filter_is_narrowed_by_what_it_shows_and_never_more(state: RequestState) -> None:
    read = read_request_filter(f'state = "{state.name}" AND device = "WS-17"')
    assert isinstance(read, RequestFilter)
    review = Review(reviewer="user:carol", reviewed=NOW)
    kept = [
        request(),
        request().denied(review),
        request().cancelled(NOW),
        request().lost(End(ended=NOW, reason="gone")),
    ]
    for each in kept:
        shown = each.at(NOW + timedelta(days=8))
        if read.holds(shown):
            assert read.equal.get("state", each.state.name) == each.state.name
    assert read.equal["device"] == "WS-17"
    assert ("state" in read.equal) == (state is not RequestState.EXPIRED)
