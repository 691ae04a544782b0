"""Questions to draw conclusions from, and what other reports say to them."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services._chassis.paging import Page
from services.reporting import usecases
from services.reporting.model.insights import Period
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.reports import SqlReports
from tests.builders.counts import MIDNIGHT, attempt
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, enrolled

ONE_DAY = timedelta(days=1)
EXAMPLES = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def question(tags: frozenset[str] | None = None, **values: Any) -> Question:
    return Question(ElevationFilter(**values), tags)


QUESTIONS = st.builds(
    question,
    st.sampled_from([None, None, frozenset({"emea"}), frozenset({"emea", "apac"}), frozenset({"nothing"})]),
    managed=st.sampled_from([None, None, None, True, False]),
    users=st.sampled_from([(), (), ("alice",), ("bob", "Bob")]),
    devices=st.sampled_from([(), (), ("name-of-d1",)]),
    results=st.sampled_from([(), (), ("DENIED", "NOT_MANAGED")]),
    policies=st.sampled_from([(), (), ("tools",)]),
    occurred_from=st.sampled_from([None, None, MIDNIGHT, MIDNIGHT + ONE_DAY, MIDNIGHT + timedelta(hours=1)]),
    occurred_before=st.sampled_from([None, None, MIDNIGHT + 71 * ONE_DAY, MIDNIGHT + 1.5 * ONE_DAY]),
)
PERIODS = st.sampled_from(list(Period))


async def pages(ask: Callable[..., Awaitable[Page[Any]]]) -> list[Any]:
    """Return everything that a list has, page by page."""
    found: list[Any] = []
    token = ""
    while True:
        page = await ask(page_token=token)
        found += page.items
        if not (token := page.next_token):
            return found


async def listed(reports: SqlReports, asked: Question, drill_down: ElevationFilter) -> int:
    """Count the attempts that a drill-down lists beside the filter of its report."""
    narrowed = replace(asked, drill_down=drill_down)
    return len(await pages(partial(usecases.list_elevations, reports, narrowed, page_size=1000)))


async def keep(database: Database, sink: DurableSink, drawn: list[Any]) -> None:
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea"), enrolled("d2", "apac"), enrolled("d3")])
    await sink.store([batch([attempt(n, one)], device=one[3], first=n) for n, one in enumerate(drawn, 1)])
