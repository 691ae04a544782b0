"""Whatever way attempts of a page are found, they are those that a plain look at every attempt gives: on both databases."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services._chassis.ordering import Order
from services._chassis.paging import PageRequest
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.model.rollups import DAY
from services.reporting.store.attempts import conditions
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.finding import Few, Finder
from services.reporting.store.tables import ATTEMPT, HORIZON
from tests.builders.counts import ATTEMPTS, MIDNIGHT, attempt, forget
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, enrolled

EXAMPLES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
ONE_DAY = timedelta(days=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


def question(tags: frozenset[str] | None, **values: Any) -> Question:
    return Question(ElevationFilter(**values), tags)


QUESTIONS = st.builds(
    question,
    st.sampled_from([None, None, frozenset({"emea"}), frozenset({"emea", "apac"}), frozenset({"nothing"})]),
    managed=st.sampled_from([None, None, True, False]),
    users=st.sampled_from([(), (), (), ("alice",), ("bob", "Bob")]),
    devices=st.sampled_from([(), (), ("name-of-d1",)]),
    results=st.sampled_from([(), (), ("DENIED",)]),
    rules=st.sampled_from([(), (), ("setup",), ("nothing",)]),
    publishers=st.sampled_from([(), (), ("a",), ("a", "b")]),
    attempt_ids=st.sampled_from([(), (), (), tuple(f"attempt-{number}" for number in range(0, 60, 2))]),
    occurred_from=st.sampled_from([None, None, MIDNIGHT + timedelta(hours=1)]),
    occurred_before=st.sampled_from([None, MIDNIGHT + 1.5 * ONE_DAY]),
)
WAYS = st.builds(Few, keys=st.sampled_from([0, 1, 300]), attempts=st.sampled_from([0, 2, 4000]))


async def plainly(database: Database, asked: Question, order: Order) -> list[str]:
    by = (ATTEMPT.c.occurred, ATTEMPT.c.event_id)
    turned = [column.desc() for column in by] if order.descending else by
    async with database.read() as tx:
        return list((await tx.execute(sa.select(by[1]).where(*conditions(asked)).order_by(*turned))).scalars())


async def page_by_page(database: Database, asked: Question, order: Order, *, size: int, few: Few) -> list[str]:
    found: list[str] = []
    page = PageRequest(size)
    while True:
        async with database.read() as tx:
            here: Sequence[str] = await Finder(tx, asked, page, order, few=few).find()
            found += here[:size]
            if len(here) <= size:
                return found
            last = sa.select(ATTEMPT.c.occurred, ATTEMPT.c.event_id).where(ATTEMPT.c.event_id == found[-1])
            page = replace(page, after=tuple((await tx.execute(last)).one()))


@EXAMPLES
@given(
    stored=st.tuples(st.lists(ATTEMPTS, max_size=25), st.sampled_from([0, 0, 1])),
    asked=QUESTIONS,
    way=st.tuples(st.booleans(), st.integers(1, 6), WAYS),
)
async def test_every_way_finds_the_same_attempts_in_the_same_order(
    database: Database, stored: tuple[list[Any], int], asked: Question, way: tuple[bool, int, Few]
) -> None:
    (drawn, uncounted), (descending, size, few) = stored, way
    sink = DurableSink.on(database.url)
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea"), enrolled("d2", "apac"), enrolled("d3")])
    await sink.store([batch([attempt(n, one)], device=one[3], first=n) for n, one in enumerate(drawn, 1)])
    async with database.transaction() as tx:
        day = int(MIDNIGHT.timestamp()) * 1_000_000 // DAY + 1
        await tx.execute(sa.update(HORIZON).values(counts_before=day * uncounted))
    order = Order("occurred", descending)
    assert await page_by_page(database, asked, order, size=size, few=few) == await plainly(database, asked, order)
    await sink.close()
    await forget(database)
