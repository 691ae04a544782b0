"""What reports say from counts is what they would say from events: to any question, on both databases."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services._chassis.paging import PageRequest
from services.reporting import usecases
from services.reporting.model.events import EPOCH, Batch
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.model.rollups import start_of
from services.reporting.store.closing import SqlClosing
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.reports import SqlReports
from tests.builders.counts import ATTEMPTS, MIDNIGHT, attempt, forget
from tests.builders.counts import stored as every_attempt
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, decided, enrolled

ONE_DAY = timedelta(days=1)
TAGS = {"d1": {"emea"}, "d2": {"apac"}, "d3": {"default"}}
EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@pytest.fixture
async def sinks(database: Database) -> AsyncIterator[list[DurableSink]]:
    opened = [DurableSink.on(database.url) for _ in range(2)]
    yield opened
    for sink in opened:
        await sink.close()


async def at_once(_seconds: float) -> None:
    """Go on at once."""


def question(tags: frozenset[str] | None, **values: Any) -> Question:
    return Question(ElevationFilter(**values), tags)


QUESTIONS = st.builds(
    question,
    st.sampled_from([None, frozenset({"emea"}), frozenset({"emea", "apac"}), frozenset({"nothing"})]),
    managed=st.sampled_from([None, None, True, False]),
    users=st.sampled_from([(), (), ("alice",), ("bob", "Bob")]),
    devices=st.sampled_from([(), (), ("name-of-d1",)]),
    results=st.sampled_from([(), (), ("DENIED", "NOT_MANAGED")]),
    elevation_types=st.sampled_from([(), (), ("AUTOMATIC",), ("",)]),
    governed_by_rule=st.booleans(),
    publishers=st.sampled_from([(), (), ("a",)]),
    sources=st.sampled_from([(), (), ("RULE", "ADMINISTRATOR")]),
    file_names=st.sampled_from([(), (), ("b.exe",)]),
    policies=st.sampled_from([(), (), ("tools",)]),
    attempt_ids=st.sampled_from([(), (), (), tuple(f"attempt-{number}" for number in range(0, 14, 2))]),
    occurred_from=st.sampled_from([None, MIDNIGHT, MIDNIGHT + ONE_DAY, MIDNIGHT + timedelta(hours=1)]),
    occurred_before=st.sampled_from([None, MIDNIGHT + 2 * ONE_DAY, MIDNIGHT + 71 * ONE_DAY, MIDNIGHT + 1.5 * ONE_DAY]),
)


def wanted(row: dict[str, Any], asked: Question) -> bool:
    """Tell whether an attempt is one that the question is about, in plain words."""
    narrow = asked.filter
    occurred = MIDNIGHT + (row["occurred"] - int(MIDNIGHT.timestamp()) * 1_000_000) * timedelta(microseconds=1)
    alternatives = {
        "user_name": narrow.users,
        "device_name": narrow.devices,
        "result": narrow.results,
        "elevation_type": narrow.elevation_types,
        "publisher": narrow.publishers,
        "source": narrow.sources,
        "file_name": narrow.file_names,
        "policy": narrow.policies,
        "attempt_id": narrow.attempt_ids,
    }
    return (
        (asked.tags is None or bool(TAGS[row["device_id"]] & asked.tags))
        and (narrow.managed is None or row["managed"] == narrow.managed)
        and (not narrow.governed_by_rule or row["source"] == "RULE")
        and (narrow.occurred_from is None or narrow.occurred_from <= occurred)
        and (narrow.occurred_before is None or occurred < narrow.occurred_before)
        and all(not values or row[name] in values for name, values in alternatives.items())
    )


@EXAMPLES
@given(drawn=st.lists(ATTEMPTS, max_size=14), asked=QUESTIONS)
async def test_every_report_says_what_a_naive_count_says_whatever_it_is_answered_from(
    database: Database, sinks: list[DurableSink], drawn: list[Any], asked: Question
) -> None:
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea"), enrolled("d2", "apac"), enrolled("d3")])
    await sinks[0].store([batch([attempt(n, one)], device=one[3], first=n) for n, one in enumerate(drawn, 1)])
    stored = [row for row in await every_attempt(database) if wanted(row, asked)]
    reports, whole = SqlReports(database), PageRequest(1000)
    users = (await reports.users(asked, whole)).items
    assert {(one.user, one.managed, one.unmanaged) for one in users} == {
        (
            user,
            sum(1 for row in stored if row["user_name"] == user and row["managed"]),
            sum(1 for row in stored if row["user_name"] == user and not row["managed"]),
        )
        for user in {row["user_name"] for row in stored}
    }
    applications = (await reports.applications(asked, whole)).items
    assert Counter({(one.file_name, one.elevation_type): one.count for one in applications}) == Counter(
        (row["file_name"], row["elevation_type"]) for row in stored
    )
    publishers = (await reports.publishers(asked, whole)).items
    assert Counter({(one.publisher, one.elevation_type): one.count for one in publishers}) == Counter(
        (row["publisher"], row["elevation_type"]) for row in stored
    )
    summary = await reports.summary(asked)
    assert summary.managed == sum(1 for row in stored if row["managed"])
    assert summary.total == len(stored)
    assert Counter({tally.word: tally.count for tally in summary.results}) == Counter(row["result"] for row in stored)
    await forget(database)


@pytest.mark.parametrize(
    "narrow",
    [
        {},
        {"occurred_from": MIDNIGHT - timedelta(hours=1), "occurred_before": MIDNIGHT + timedelta(hours=1)},
        {"occurred_from": MIDNIGHT - timedelta(hours=1), "occurred_before": MIDNIGHT + 1.5 * ONE_DAY},
        {"attempt_ids": tuple(f"attempt-{number}" for number in range(1, 500))},
    ],
    ids=["from counts", "from events", "from both", "by name"],
)
async def test_a_walk_tells_the_counts_of_its_beginning(
    database: Database, sinks: list[DurableSink], narrow: dict[str, Any]
) -> None:
    def made(letters: str, first: int) -> Batch:
        events = [decided(first + n, user=letter, at=MIDNIGHT) for n, letter in enumerate(letters)]
        return batch(events, device=f"d{first}")

    reports, asked, found, token = SqlReports(database), question(None, **narrow), [], ""
    await sinks[0].store([made("aaabbcd", 1)])
    for first in (100, 200, 300, 400):
        page = await usecases.list_users(reports, asked, page_size=1, page_token=token)
        found += [(one.user, one.total) for one in page.items]
        token = page.next_token
        await sinks[1].store([made("ddddde", first)])
    assert found == [("a", 3), ("b", 2), ("c", 1), ("d", 1)]
    assert token == ""


@pytest.mark.parametrize(
    ("window", "counted"),
    [
        ({"occurred_from": MIDNIGHT}, 4),
        ({"occurred_from": MIDNIGHT + timedelta(hours=1)}, 3),
        ({"occurred_before": MIDNIGHT + ONE_DAY}, 2),
        ({"occurred_before": MIDNIGHT + ONE_DAY - timedelta(microseconds=1)}, 2),
        ({"occurred_before": MIDNIGHT + 1.5 * ONE_DAY}, 3),
        ({"occurred_from": MIDNIGHT + ONE_DAY, "occurred_before": MIDNIGHT + 2 * ONE_DAY}, 1),
        ({"occurred_from": MIDNIGHT + 3 * ONE_DAY}, 0),
    ],
)
async def test_a_window_may_begin_and_end_at_any_moment(
    database: Database, sinks: list[DurableSink], window: dict[str, Any], counted: int
) -> None:
    moments = [MIDNIGHT, MIDNIGHT + timedelta(hours=2), MIDNIGHT + ONE_DAY, MIDNIGHT + 2 * ONE_DAY]
    await sinks[0].store([batch([decided(number, at=moment) for number, moment in enumerate(moments, 1)])])
    assert (await SqlReports(database).summary(question(None, **window))).total == counted


@pytest.mark.parametrize("tag", ["emea", "apac"])
async def test_a_window_of_closed_days_may_begin_and_end_with_any_day(
    database: Database, sinks: list[DurableSink], tag: str
) -> None:
    seen = {"d1": "emea", "d2": "apac", "d3": "apac", "d4": "apac"}
    await SqlDeviceRecords(database).remember([enrolled(device, of) for device, of in seen.items()])
    start = EPOCH + start_of((MIDNIGHT - EPOCH).days, 8) * ONE_DAY
    for first, device in zip(range(1, 400, 100), seen, strict=True):
        events = [decided(first + day, at=start + day * ONE_DAY) for day in range(18)]
        await sinks[0].store([batch(events, device=device, first=first)])
    await SqlClosing(database, lambda: start + 30 * ONE_DAY, pause=at_once).close()
    for first, before in ((0, 16), (2, 16), (2, 15), (1, 7), (6, 10), (2, 17)):
        window = {"occurred_from": start + first * ONE_DAY, "occurred_before": start + before * ONE_DAY}
        found = (await SqlReports(database).applications(question(frozenset({tag}), **window), PageRequest(10))).items
        assert sum(one.count for one in found) == [*seen.values()].count(tag) * (before - first), (first, before)
