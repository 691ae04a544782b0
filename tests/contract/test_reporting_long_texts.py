"""Texts as long as they may be: pages stay below the limit on a message, and walks come to their ends, on both databases."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from services._chassis.client import MESSAGE_LIMIT
from services._chassis.db import Database
from services.reporting import insights, intake, readiness, usecases
from services.reporting.codec.answers import application_to_proto, publisher_to_proto
from services.reporting.codec.exported import statement_to_proto
from services.reporting.codec.insights import user_application_to_proto
from services.reporting.codec.readiness import obstacles_to_proto, readiness_to_proto
from services.reporting.model.insights import Period
from services.reporting.model.intake import IntakeFilter, IntakeQuestion
from services.reporting.model.readiness import ReadinessPage, ReadinessQuestion, Subject
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.insights import SqlInsights
from services.reporting.store.intake import SqlIntake
from services.reporting.store.readiness import SqlReadiness
from services.reporting.store.reports import SqlReports
from tests.builders.sinks import DurableSink
from tests.contract.test_reporting_sink import database
from tests.fakes.reporting import batch, diagnostic, unmanaged

__all__ = ["database"]
"""A fixture that the tests below ask for."""

MANY, LONG = 120, 1024
EVERYTHING = Question(ElevationFilter(), None)


def long(number: int, name: str) -> str:
    return f"{number:04}{name}".ljust(LONG, "\N{GRINNING FACE}")


async def reports(database: Database, rpc: str, token: str) -> tuple[list[Any], int, str]:
    sql, ask = SqlReports(database), partial(partial, page_size=1000, page_token=token)
    by_day = ask(insights.list_user_applications, SqlInsights(database), EVERYTHING, period=Period.DAY)
    who = ReadinessQuestion(EVERYTHING, Subject.USER, frozenset())
    asked: dict[str, tuple[Callable[[], Awaitable[Any]], Callable[[Any], Any]]] = {
        "applications": (ask(usecases.list_applications, sql, EVERYTHING), application_to_proto),
        "publishers": (ask(usecases.list_publishers, sql, EVERYTHING), publisher_to_proto),
        "user-applications": (by_day, user_application_to_proto),
        "readiness": (ask(readiness.list_readiness, SqlReadiness(database), who), readiness_to_proto),
        "obstacles": (ask(readiness.list_obstacles, SqlReadiness(database), EVERYTHING), obstacles_to_proto),
        "diagnostics": (
            ask(intake.list_diagnostics, SqlIntake(database), IntakeQuestion(IntakeFilter(), None), ()),
            statement_to_proto,
        ),
    }
    call, write = asked[rpc]
    found = await call()
    page = found.page if isinstance(found, ReadinessPage) else found
    whole = write in {readiness_to_proto, obstacles_to_proto}
    size = write(found).ByteSize() if whole else sum(write(one).ByteSize() + 8 for one in page.items)
    return [*page.items], size + len(page.next_token), page.next_token


@pytest.mark.parametrize(
    ("rpc", "rows"),
    [
        ("applications", MANY),
        ("publishers", MANY),
        ("user-applications", MANY),
        ("readiness", MANY // 4),
        ("obstacles", MANY),
        ("diagnostics", 10 * MANY),
    ],
)
async def test_a_page_fits_a_message_and_a_walk_tells_everything_however_long_the_texts_are(
    database: Database, sink: DurableSink, rpc: str, rows: int
) -> None:
    names = ("version", "internal_name", "company_name", "publisher")
    events = [
        unmanaged(
            number,
            user=f"user-{number // 4}",
            file={"path": f"/{long(number, 'path')}", **{name: long(number, name) for name in names}},
        )
        for number in range(MANY)
    ]
    said = [diagnostic(10_000 + number, message=long(number, "said")) for number in range(10 * MANY)]
    await sink.store([batch(events), batch(said, journal="health")])
    found, pages, token = 0, 0, ""
    while not pages or token:
        items, size, token = await reports(database, rpc, token)
        assert size < MESSAGE_LIMIT
        found, pages = found + len(items), pages + 1
    assert found == rows
