"""Counts by user, device and application, period by period: the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services._chassis.db import Database
from services.reporting import insights, usecases
from services.reporting.model.insights import Period, UserApplicationCount
from services.reporting.model.reports import Question
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.insights import SqlInsights
from services.reporting.store.reports import SqlReports
from tests.builders.conclusions import EXAMPLES, ONE_DAY, PERIODS, QUESTIONS, keep, listed, pages, question
from tests.builders.counts import ATTEMPTS, MIDNIGHT, forget
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, decided, enrolled


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@EXAMPLES
@given(drawn=st.lists(ATTEMPTS, max_size=12), asked=st.tuples(QUESTIONS, PERIODS))
async def test_counts_by_user_and_application_add_up_and_stand_in_their_order_on_every_page(
    database: Database, sink: DurableSink, drawn: list[Any], asked: tuple[Question, Period]
) -> None:
    about, period = asked
    await keep(database, sink, drawn)
    reports = SqlReports(database)
    ask = partial(insights.list_user_applications, SqlInsights(database), about, period=period)
    found = await pages(partial(ask, page_size=2))
    assert found == list((await ask(page_size=1000, page_token="")).items)
    assert sum(one.application.count for one in found) == (await usecases.summarize(reports, about)).total
    keys = [place(one) for one in found]
    assert keys == sorted(set(keys))
    for one in found:
        assert await listed(reports, about, one.drill_down) == one.application.count
    await forget(database)


def place(one: UserApplicationCount) -> tuple[Any, ...]:
    application = one.application
    file = (application.file_name, application.internal_name, application.version, application.company_name)
    return (
        -one.stretch.first,
        one.user,
        one.device_name,
        one.device_id,
        *file,
        application.sha256,
        application.publisher,
        application.elevation_type,
    )


@pytest.mark.parametrize("narrow", [{}, {"occurred_from": MIDNIGHT - timedelta(hours=1)}], ids=["counts", "events"])
async def test_a_walk_over_users_and_applications_tells_the_counts_of_its_beginning(
    database: Database, sink: DurableSink, narrow: dict[str, Any]
) -> None:
    def made(letters: str, first: int, day: int) -> Any:
        events = [decided(first + n, user=user, at=MIDNIGHT + day * ONE_DAY) for n, user in enumerate(letters)]
        return batch(events, first=first)

    await sink.store([made("aab", 1, 0), made("bc", 100, 1)])
    found, token = [], ""
    for first in (200, 300, 400, 500):
        page = await insights.list_user_applications(
            SqlInsights(database), question(**narrow), period=Period.DAY, page_size=1, page_token=token
        )
        found += [(one.stretch.start, one.user, one.application.count) for one in page.items]
        token = page.next_token
        await sink.store([made("aabbcd", first, 0), made("aabbcd", first + 10, 1), made("a", first + 20, 2)])
    second = MIDNIGHT + ONE_DAY
    assert found == [(second, "b", 1), (second, "c", 1), (MIDNIGHT, "a", 2), (MIDNIGHT, "b", 1)]
    assert token == ""


async def test_a_page_is_filled_from_more_users_than_are_asked_at_first(database: Database, sink: DurableSink) -> None:
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    many = [decided(number, user=f"user-{number:03}") for number in range(1, 201)]
    await sink.store([batch(many), batch([decided(999, user="user-150")], device="d2")])
    ask = partial(insights.list_user_applications, SqlInsights(database), period=Period.MONTH, page_token="")
    assert [one.user for one in (await ask(question(frozenset({"apac"})), page_size=10)).items] == ["user-150"]
    seen = await ask(question(frozenset({"emea"})), page_size=120)
    assert [one.user for one in seen.items] == [f"user-{number:03}" for number in range(1, 121)]


@pytest.mark.parametrize("period", Period)
async def test_a_page_may_end_in_the_midst_of_what_a_user_did(
    database: Database, sink: DurableSink, period: Period
) -> None:
    files = [{"path": f"C:\\{letter}.exe"} for letter in "cab"]
    events = [decided(number, user=user, file=file) for number, (user, file) in enumerate(product("ab", files), 1)]
    await sink.store([batch(events)])
    ask = partial(insights.list_user_applications, SqlInsights(database), question(), period=period, page_size=1)
    found = [(one.user, one.application.file_name) for one in await pages(ask)]
    assert found == [(user, f"{letter}.exe") for user in "ab" for letter in "abc"]
