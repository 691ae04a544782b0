"""The laws of the overview and of trends: the same on SQLite and PostgreSQL."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2
from services._chassis.db import Database
from services.reporting import insights, readiness, usecases
from services.reporting.model.insights import Period, TrendPoint
from services.reporting.model.readiness import ReadinessQuestion, Subject
from services.reporting.model.reports import Question
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.dimensions import DEVICE, USER
from services.reporting.store.insights import SqlInsights
from services.reporting.store.presence import split
from services.reporting.store.readiness import SqlReadiness
from services.reporting.store.reports import SqlReports
from services.reporting.store.survey import Survey
from tests.builders.conclusions import EXAMPLES, ONE_DAY, PERIODS, QUESTIONS, keep, listed, pages, question
from tests.builders.counts import ATTEMPTS, MIDNIGHT, forget
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, decided, enrolled, unmanaged

LATER = MIDNIGHT + 80 * ONE_DAY


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@EXAMPLES
@given(drawn=st.lists(ATTEMPTS, max_size=12), asked=st.tuples(QUESTIONS, PERIODS))
async def test_a_trend_adds_up_to_the_summary_and_every_point_to_what_it_lists(
    database: Database, sink: DurableSink, drawn: list[Any], asked: tuple[Question, Period]
) -> None:
    about, period = asked
    await keep(database, sink, drawn)
    reports = SqlReports(database)
    summary = await usecases.summarize(reports, about)
    points = await insights.get_trend(SqlInsights(database), about, period=period, now=LATER)
    assert sum(point.counts.managed for point in points) == summary.managed
    assert sum(point.counts.unmanaged for point in points) == summary.unmanaged
    for tallies in ("results", "elevation_types"):
        added: Counter[str] = Counter()
        for point in points:
            added += Counter({tally.word: tally.count for tally in getattr(point.counts, tallies)})
            assert sum(tally.count for tally in getattr(point.counts, tallies)) == point.counts.total
        assert added == Counter({tally.word: tally.count for tally in getattr(summary, tallies)})
    for point in points:
        if point.counts.total:
            assert await listed(reports, about, point.window) == point.counts.total
    starts = [point.start for point in points]
    assert starts == sorted(set(starts))
    await forget(database)


@EXAMPLES
@given(drawn=st.lists(ATTEMPTS, max_size=12), asked=QUESTIONS)
async def test_an_overview_says_what_the_other_reports_say(
    database: Database, sink: DurableSink, drawn: list[Any], asked: Question
) -> None:
    await keep(database, sink, drawn)
    reports = SqlReports(database)
    found = await insights.get_overview(SqlInsights(database), asked, top=100, period=Period.DAY, now=LATER)
    assert found.counts == await usecases.summarize(reports, asked)
    assert sum(point.counts.total for point in found.trend) == found.counts.total
    users = await pages(partial(usecases.list_users, reports, asked, page_size=1000))
    had = Counter((one.managed > 0, one.unmanaged > 0) for one in users)
    people = found.tiles.users
    assert (people.managed_only, people.both, people.unmanaged_only) == (
        had[True, False],
        had[True, True],
        had[False, True],
    )
    if asked.filter.managed is None:
        for subject, tile in ((Subject.USER, people), (Subject.DEVICE, found.tiles.devices)):
            verdicts = ReadinessQuestion(asked, subject)
            told = await readiness.list_readiness(SqlReadiness(database), verdicts, page_size=1, page_token="")
            assert told.split == tile
    tops = found.tiles.tops
    assert sum(one.count for one in tops.unmanaged) == found.counts.unmanaged
    denied = {tally.word: tally.count for tally in found.counts.results}.get("DENIED", 0)
    assert sum(one.count for one in tops.denied) == denied
    await forget(database)


async def test_a_trend_has_every_period_between_its_ends(database: Database, sink: DurableSink) -> None:
    await sink.store([batch([decided(1, at=MIDNIGHT + timedelta(hours=23)), unmanaged(2, at=MIDNIGHT + 2 * ONE_DAY)])])
    ask = partial(insights.get_trend, SqlInsights(database))
    days = await ask(question(), period=Period.DAY, now=MIDNIGHT + 3.5 * ONE_DAY)
    assert totals(days) == {"2026-03-01": 1, "2026-03-02": 0, "2026-03-03": 1, "2026-03-04": 0}
    months = await ask(question(), period=Period.MONTH, now=datetime(2026, 4, 1, tzinfo=UTC))
    assert totals(months) == {"2026-03-01": 2, "2026-04-01": 0}


def totals(points: tuple[TrendPoint, ...]) -> dict[str, int]:
    return {point.start.date().isoformat(): point.counts.total for point in points}


async def test_a_trend_keeps_to_the_window_that_is_asked_for(database: Database, sink: DurableSink) -> None:
    moments = [MIDNIGHT + timedelta(hours=hours) for hours in (1, 20, 30, 60)]
    await sink.store([batch([decided(number, at=moment) for number, moment in enumerate(moments, 1)])])
    asked = question(occurred_from=MIDNIGHT - timedelta(hours=30), occurred_before=MIDNIGHT + timedelta(hours=20))
    points = await insights.get_trend(SqlInsights(database), asked, period=Period.DAY, now=LATER)
    assert totals(points) == {"2026-02-27": 0, "2026-02-28": 0, "2026-03-01": 1}
    assert (points[0].window.occurred_from, points[-1].window.occurred_before) == (
        asked.filter.occurred_from,
        asked.filter.occurred_before,
    )


async def test_a_trend_without_an_attempt_is_empty_or_zero_in_a_window(database: Database) -> None:
    ask = partial(insights.get_trend, SqlInsights(database), period=Period.DAY, now=MIDNIGHT)
    assert await ask(question()) == ()
    assert totals(await ask(question(occurred_from=MIDNIGHT - ONE_DAY))) == {"2026-02-28": 0, "2026-03-01": 0}
    assert await ask(question(occurred_from=MIDNIGHT + ONE_DAY)) == ()


async def test_a_trend_is_of_the_last_thousand_periods_however_long_ago_it_is_to_begin(database: Database) -> None:
    ask = partial(insights.get_trend, SqlInsights(database), now=MIDNIGHT)
    since = question(occurred_from=datetime(1, 1, 1, tzinfo=UTC))
    points = await ask(since, period=Period.DAY)
    assert (len(points), points[-1].start, points[0].start) == (1000, MIDNIGHT, MIDNIGHT - 999 * ONE_DAY)
    assert len(await ask(since, period=Period.MONTH)) == 1000
    found = await insights.get_overview(SqlInsights(database), since, top=0, period=Period.DAY, now=MIDNIGHT)
    assert len(found.trend) == 400


async def test_an_attempt_from_a_clock_that_is_ahead_is_in_the_trend(database: Database, sink: DurableSink) -> None:
    await sink.store([batch([decided(1, at=MIDNIGHT + ONE_DAY)], received=MIDNIGHT + timedelta(hours=12))])
    points = await insights.get_trend(SqlInsights(database), question(), period=Period.DAY, now=MIDNIGHT)
    assert totals(points) == {"2026-03-02": 1}


async def test_frequent_applications_are_ranked_by_their_kind_alone(database: Database, sink: DurableSink) -> None:
    def made(letter: str, **values: Any) -> dict[str, Any]:
        return {"file": {"path": f"C:\\{letter}.exe", "publisher": letter}, "at": MIDNIGHT, **values}

    granted = {"source": event_pb2.SOURCE_GRANT}
    denied = {"outcome": event_pb2.OUTCOME_DENY, "result": event_pb2.ATTEMPT_RESULT_DENIED}
    cancelled = {"result": event_pb2.ATTEMPT_RESULT_CANCELLED}
    events = [
        *(unmanaged(number, **made("a")) for number in (1, 2)),
        unmanaged(3, **made("b")),
        *(decided(number, **made("c", **granted)) for number in (4, 5, 6)),
        decided(7, **made("b", **granted)),
        decided(8, **made("b", **granted, **cancelled)),
        decided(9, **made("b", **denied)),
        decided(10, **made("z")),
    ]
    await sink.store([batch(events)])
    ask = partial(insights.get_overview, SqlInsights(database), question(), period=Period.DAY, now=LATER)
    tops = (await ask(top=0)).tiles.tops
    assert [(one.file_name, one.count) for one in tops.unmanaged] == [("a.exe", 2), ("b.exe", 1)]
    assert [(one.file_name, one.count) for one in tops.approved] == [("c.exe", 3), ("b.exe", 1)]
    assert [(one.file_name, one.count) for one in tops.denied] == [("b.exe", 1)]
    assert [one.file_name for one in (await ask(top=1)).tiles.tops.approved] == ["c.exe"]


async def test_users_and_devices_are_split_by_what_they_had(database: Database, sink: DurableSink) -> None:
    both = [decided(1, user="m"), decided(2, user="b"), unmanaged(3, user="b"), unmanaged(4, user="u")]
    await sink.store([batch(both), batch([unmanaged(5, user="v")], device="d2"), batch([decided(6)], device="d3")])
    await sink.store([batch([decided(7)], device="d3", name="renamed", first=2)])
    found = (await insights.get_overview(SqlInsights(database), question(), top=0, period=Period.DAY, now=LATER)).tiles
    assert (found.users.managed_only, found.users.both, found.users.unmanaged_only) == (2, 1, 2)
    assert (found.devices.managed_only, found.devices.both, found.devices.unmanaged_only) == (1, 1, 1)


async def test_users_and_devices_are_split_alike_whether_they_are_looked_up_or_added_up(
    database: Database, sink: DurableSink
) -> None:
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea"), enrolled("d2", "apac"), enrolled("d3", "emea")])
    first = [decided(number, user="m", at=MIDNIGHT + number * timedelta(hours=7)) for number in range(60)]
    second = [unmanaged(100 + number, user="u", at=MIDNIGHT + number * ONE_DAY) for number in range(20)]
    both = [decided(200, user="b", at=MIDNIGHT), unmanaged(201, user="b", at=MIDNIGHT + 19 * ONE_DAY)]
    edge = decided(202, user="e", at=MIDNIGHT + timedelta(hours=2))
    await sink.store([batch([*first, *both, edge]), batch(second, device="d2")])
    await sink.store([batch([decided(400, user="u", at=MIDNIGHT)], device="d3", first=400)])
    await sink.store([batch([decided(300, user="m", at=MIDNIGHT)], device="d1", name="renamed", first=900)])
    for asked in (
        question(),
        question(frozenset({"apac"})),
        question(frozenset({"emea"})),
        question(frozenset({"emea"}), users=("b", "u")),
        question(managed=False),
        question(users=("b", "u")),
        question(occurred_from=MIDNIGHT + 10 * ONE_DAY),
        question(occurred_before=MIDNIGHT + 10 * ONE_DAY),
        question(occurred_from=MIDNIGHT + timedelta(hours=1)),
        question(file_names=("nothing",)),
    ):
        async with database.read() as tx:
            for subject in (USER, DEVICE):
                looked_up, added_up = [await split(Survey(tx, asked), subject, most) for most in (1_000_000, 0)]
                assert looked_up == added_up, asked
    found = await insights.get_overview(SqlInsights(database), question(), top=0, period=Period.DAY, now=LATER)
    assert (found.tiles.users.managed_only, found.tiles.users.both, found.tiles.users.unmanaged_only) == (2, 2, 0)
    assert (found.tiles.devices.both, found.tiles.devices.unmanaged_only) == (1, 1)
