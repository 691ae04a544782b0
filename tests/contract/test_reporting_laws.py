"""The law of every report: managed + unmanaged = total, and all reports count the same attempts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2
from services._chassis.db import Database
from services._chassis.paging import Page
from services.reporting import usecases
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.reports import SqlReports
from services.reporting.store.rollups import ROLLUPS
from services.reporting.store.tables import ATTEMPT
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, decided, enrolled, unmanaged

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


def question(tags: frozenset[str] | None, **values: Any) -> Question:
    return Question(ElevationFilter(**values), tags)


async def pages(ask: Callable[..., Awaitable[Page[Any]]]) -> list[Any]:
    """Return everything that a list has, page by page."""
    found: list[Any] = []
    token = ""
    while True:
        page = await ask(page_token=token)
        found += page.items
        if not (token := page.next_token):
            return found


ATTEMPTS = st.tuples(
    st.sampled_from(["alice", "bob", "Bob"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["automatic", "denied", "default", "unmanaged"]),
    st.sampled_from(["d1", "d2", "d3"]),
    st.integers(0, 3),
)
QUESTIONS = st.builds(
    question,
    st.sampled_from([None, frozenset({"emea"}), frozenset({"emea", "apac"}), frozenset({"nothing"})]),
    managed=st.sampled_from([None, True, False]),
    users=st.sampled_from([(), ("alice",), ("bob", "Bob")]),
    devices=st.sampled_from([(), ("name-of-d1",)]),
    results=st.sampled_from([(), ("DENIED", "NOT_MANAGED")]),
    elevation_types=st.sampled_from([(), ("AUTOMATIC",), ("",)]),
    governed_by_rule=st.booleans(),
    occurred_from=st.sampled_from([None, NOW + MINUTE]),
    occurred_before=st.sampled_from([None, NOW + 3 * MINUTE]),
)


def attempt(number: int, drawn: tuple[str, str, str, str, int]) -> event_pb2.ElevationEvent:
    user, letter, kind, _, minute = drawn
    values: dict[str, Any] = {
        "user": user,
        "at": NOW + minute * MINUTE,
        "file": {"path": f"C:/{letter}.exe", "publisher": letter},
    }
    if kind == "unmanaged":
        return unmanaged(number, **values)
    if kind == "denied":
        values |= {"outcome": event_pb2.OUTCOME_DENY, "result": event_pb2.ATTEMPT_RESULT_DENIED}
    if kind == "default":
        values |= {"source": event_pb2.SOURCE_DEFAULT_RESPONSE, "elevation_type": 0}
    return decided(number, **values)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(ATTEMPTS, max_size=12), asked=QUESTIONS)
async def test_managed_and_unmanaged_are_the_total_in_every_report_whatever_is_asked(
    database: Database, drawn: list[Any], asked: Question
) -> None:
    reports, sink = SqlReports(database), DurableSink.on(database.url)
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea"), enrolled("d2", "apac"), enrolled("d3")])
    await sink.store(
        [batch([attempt(number, one)], device=one[3], first=number) for number, one in enumerate(drawn, 1)]
    )
    summary = await usecases.summarize(reports, asked)
    elevations, users, applications, publishers = [
        await pages(partial(ask, reports, asked, page_size=2))
        for ask in (
            usecases.list_elevations,
            usecases.list_users,
            usecases.list_applications,
            usecases.list_publishers,
        )
    ]
    totals = {
        "elevations": len(elevations),
        "results": sum(tally.count for tally in summary.results),
        "types": sum(tally.count for tally in summary.elevation_types),
        "users": sum(one.total for one in users),
        "applications": sum(one.count for one in applications),
        "publishers": sum(one.count for one in publishers),
    }
    assert totals == dict.fromkeys(totals, summary.total)
    assert summary.managed + summary.unmanaged == summary.total
    unmanaged_attempts = [
        one for one in elevations if not event_pb2.ElevationEvent.FromString(one.body).decided.managed
    ]
    assert len(unmanaged_attempts) == summary.unmanaged == sum(one.unmanaged for one in users)
    await sink.close()
    async with database.transaction() as tx:
        for table in (ATTEMPT, *(rollup.table for rollup in ROLLUPS)):
            await tx.execute(sa.delete(table))
