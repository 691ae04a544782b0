"""Readiness and obstacles against a naive recount: the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services.reporting.model.readiness import (
    Readiness,
    ReadinessEntry,
    ReadinessQuestion,
    Split,
    Subject,
)
from services.reporting.store.readiness import SqlReadiness
from tests.builders.counts import forget
from tests.builders.readiness import (
    WINDOWS,
    Made,
    Story,
    attempts_on,
    entries,
    in_the_way,
    judged,
    obstacles,
    question,
)
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@pytest.fixture
def readiness(database: Database) -> SqlReadiness:
    return SqlReadiness(database)


ATTEMPTS = attempts_on(0, 1, 8, 70)


def _as_told(found: Sequence[ReadinessEntry], *, by_device: bool) -> Iterator[tuple[Any, ...]]:
    for entry in found:
        first = tuple((one.application, one.count) for one in entry.obstacles.first)
        key = entry.device_id if by_device else entry.name
        counts = (entry.managed, entry.unmanaged, entry.administrator, entry.obstacles.count, first)
        yield (key, entry.readiness, *counts)


@given(attempts=ATTEMPTS, window=st.sampled_from(WINDOWS), size=st.integers(1, 3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_readiness_and_obstacles_are_those_of_a_naive_recount(
    database: Database,
    readiness: SqlReadiness,
    sink: DurableSink,
    *,
    attempts: list[tuple[Made, int]],
    window: dict[str, Any],
    size: int,
) -> None:
    await forget(database)
    story = Story(sink)
    for one, days in attempts:
        await story.tell(one, days=days)
    asked = question(**window)
    for by_device in (False, True):
        subject = Subject.DEVICE if by_device else Subject.USER
        found, split = await entries(readiness, ReadinessQuestion(asked, subject), size=size)
        expected = judged(story.made, by_device=by_device)
        assert list(_as_told(found, by_device=by_device)) == [
            (key, one.verdict, one.managed, one.unmanaged, one.administrator, len(one.obstacles), one.obstacles[:5])
            for key, one in expected.items()
        ]
        verdicts = [one.verdict for one in expected.values()]
        assert split.total == len(expected)
        assert split == Split(
            managed_only=verdicts.count(Readiness.READY),
            both=verdicts.count(Readiness.PARTLY),
            unmanaged_only=verdicts.count(Readiness.UNMANAGED),
        )
    listed = await obstacles(readiness, asked, size=size)
    told = [(one.application, one.count, one.users, one.devices, one.users_freed) for one in listed]
    assert told == [
        (one.application, one.count, one.users, one.devices, one.users_freed) for one in in_the_way(story.made)
    ]
