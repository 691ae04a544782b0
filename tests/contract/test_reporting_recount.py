"""Every report says what another engine counts on one flat table of what devices sent, whatever is asked and by whom."""

import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import reports_pb2
from services.reporting.model.events import Batch, microseconds
from services.reporting.model.rollups import day_of
from services.reporting.store.closing import SqlClosing
from services.reporting.store.retention import Keep, SqlRetention
from services.reporting.store.whereabouts import looked_up_sooner
from tests.builders.counts import forget
from tests.builders.randomreports import (
    DAYS,
    DEVICES,
    HOMES,
    SEEN,
    START,
    TAGS,
    USERS,
    a_filter,
    a_whole_filter,
    an_attempt,
    an_event,
    device_name,
    some_attempts,
)
from tests.builders.recounting import Comparison, Desk, open_desk
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch
from tests.reference.reports import Recount

MANY = int(os.environ.get("EPM_RECOUNT_EVENTS", "2000"))
QUESTIONS = int(os.environ.get("EPM_RECOUNT_QUESTIONS", "3"))
ONE_DAY = timedelta(days=1)
SEED = os.environ.get("EPM_RECOUNT_SEED", "recount")


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database_url, tmp_path) as opened:
        yield opened


class Senders:
    """Devices that send what a die draws, and the recount of what should be stored of it."""

    def __init__(self, die: random.Random) -> None:
        self.recount = Recount({name: frozenset(tags) for name, tags in TAGS.items()})
        self._die = die
        self._number = 0
        self._last = dict.fromkeys(DEVICES, 0)

    def draw(
        self,
        count: int,
        *,
        days: int = DAYS,
        received: datetime = NOW,
        homes: Mapping[str, Sequence[str]] | None = None,
    ) -> list[Batch]:
        """Return batches of so many events of the first of the days, in their order, as they are received.

        With `homes` a device has users of its own.
        """
        found = []
        while count > 0:
            device = self._die.choice(DEVICES)
            size = min(count, self._die.randint(1, 40))
            numbers = range(self._number + 1, self._number + 1 + size)
            name = device_name(device, self._number // 40)
            users = USERS if homes is None else homes[device]
            events = [an_event(number, self._die, days, users) for number in numbers]
            found.append(self._batch(device, name, events, received))
            self._number, count = self._number + size, count - size
        return found

    def _batch(self, device: str, name: str, events: Sequence[event_pb2.ElevationEvent], received: datetime) -> Batch:
        attempts = [event for event in events if event.HasField("decided")]
        self.recount.add(attempts, device, name)
        first = self._last[device] + 1
        self._last[device] += len(events)
        return batch(events, device=device, name=name, first=first, received=received)


async def store(desk: Desk, batches: Sequence[Batch], die: random.Random) -> None:
    """Store batches in any order, in groups of any size, and some of them again."""
    sent = [*batches, *die.sample(batches, len(batches) // 5)]
    # A batch that comes again under another name of its device is still what it was at first.
    die.shuffle(sent)
    while sent:
        size = die.randint(1, 30)
        group, sent = sent[:size], sent[size:]
        rejected = await desk.sink.store(group)
        assert not any(rejected)


def tags_of(die: random.Random) -> frozenset[str] | None:
    tags = die.choice(SEEN)
    return None if tags is None else frozenset(tags)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(die=st.randoms(use_true_random=False), count=st.integers(0, 30))
async def test_any_question_about_a_few_attempts_is_answered_as_another_engine_answers_it(
    desk: Desk, die: random.Random, count: int
) -> None:
    senders = Senders(die)
    await store(desk, senders.draw(count), die)
    try:
        await Comparison(desk, senders.recount, a_filter(die), tags_of(die), die).everything()
    finally:
        await forget(desk.database)


async def test_questions_about_thousands_of_attempts_are_answered_as_another_engine_answers_them(desk: Desk) -> None:
    die = random.Random(SEED)  # noqa: S311 - a die, no secret
    senders = Senders(die)
    await store(desk, senders.draw(MANY), die)
    named = reports_pb2.ElevationFilter(attempt_ids=some_attempts(die, 1000))
    questions = [(reports_pb2.ElevationFilter(), None), (named, tags_of(die))]
    questions += ((a_filter(die), tags_of(die)) for _ in range(QUESTIONS))
    for over, (asked, tags) in enumerate(questions):
        # Some days more are closed before each question, and some of what follows comes late.
        await close(desk, START + (40 + 12 * over) * ONE_DAY)
        await store(desk, senders.draw(MANY // 20), die)
        try:
            await Comparison(desk, senders.recount, asked, tags, die).everything()
        except AssertionError as error:
            raise AssertionError(f"seed {SEED!r}, tags {tags}, filter {asked}") from error


async def test_whoever_sees_devices_with_users_of_their_own_is_told_what_another_engine_counts(desk: Desk) -> None:
    die = random.Random(SEED)  # noqa: S311 - a die, no secret
    senders, days = Senders(die), 3
    await store(desk, senders.draw(MANY, days=days, homes=HOMES), die)
    first = day_of(microseconds(START))
    async with desk.database.read() as tx:
        assert await looked_up_sooner(tx, 3, range(first, first + days))
        assert not await looked_up_sooner(tx, len(USERS), range(first, first + days))
    questions: list[tuple[reports_pb2.ElevationFilter, frozenset[str] | None]]
    questions = [(reports_pb2.ElevationFilter(), frozenset(tags)) for tags in ({"emea"}, {"Ünïcode", "default"})]
    questions += [(reports_pb2.ElevationFilter(device_ids=["d3"]), None), (a_filter(die), frozenset({"emea"}))]
    for asked, tags in questions:
        try:
            await Comparison(desk, senders.recount, asked, tags, die).everything()
        except AssertionError as error:
            raise AssertionError(f"seed {SEED!r}, tags {tags}, filter {asked}") from error


async def test_after_a_purge_late_events_and_everything_sent_again_reports_say_the_same(desk: Desk) -> None:
    die = random.Random(SEED)  # noqa: S311 - a die, no secret
    senders = Senders(die)
    early = senders.draw(MANY // 2, days=30, received=START + 31 * ONE_DAY)
    await store(desk, early, die)
    before = NOW - 29 * ONE_DAY
    keep = Keep(events=30 * ONE_DAY, counts=400 * ONE_DAY)
    retention = SqlRetention(desk.database, keep, lambda: before + keep.events, step=500, pause=no_pause)
    await retention.purge()
    assert await kept(desk) == 0
    await store(desk, [*early, *senders.draw(MANY // 2), *early], die)
    await retention.purge()
    assert await kept(desk) > 0
    for _ in range(-(-QUESTIONS // 2)):
        asked, tags = a_whole_filter(die), tags_of(die)
        await Comparison(desk, senders.recount, asked, tags, die, kept=False).everything()
        asked = a_filter(die)
        if not asked.HasField("occurred_from") or asked.occurred_from.ToDatetime(UTC) < before:
            asked.occurred_from.FromDatetime(before)
        if asked.HasField("occurred_before") and asked.occurred_before.ToDatetime(UTC) <= before:
            asked.ClearField("occurred_before")
        await Comparison(desk, senders.recount, asked, tags, die).everything()


async def test_events_of_clocks_that_were_years_behind_are_counted_as_they_are_listed(desk: Desk) -> None:
    die = random.Random(SEED)  # noqa: S311 - a die, no secret
    senders = Senders(die)
    await store(desk, senders.draw(100), die)
    keep = Keep(events=30 * ONE_DAY, counts=400 * ONE_DAY)
    retention = SqlRetention(desk.database, keep, lambda: NOW, pause=no_pause)
    for first, asked in ((1, reports_pb2.ElevationFilter()), (21, a_whole_filter(die))):
        old = [an_attempt(100_000 + first + number, die) for number in range(20)]
        for event in old:
            event.occurred.FromDatetime(die.choice((datetime(2001, 1, 1, tzinfo=UTC), NOW - 401 * ONE_DAY)))
        senders.recount.add(old, "d1", "name-of-d1")
        await desk.sink.store([batch(old, journal="of the old clock", first=first)])
        await retention.purge()
        asked.ClearField("occurred_from")
        await Comparison(desk, senders.recount, asked, tags_of(die), die).everything()


@pytest.mark.parametrize("seen", [{"emea"}, {"emea", "apac", "default"}, {"Ünïcode", "default", "apac"}])
async def test_whoever_sees_few_or_nearly_all_devices_is_told_what_another_engine_counts_before_and_after_days_are_closed(
    desk: Desk, seen: set[str]
) -> None:
    die = random.Random(f"{SEED} {sorted(seen)}")  # noqa: S311 - a die, no secret
    senders = Senders(die)
    for over in (0, 30, 67):
        await store(desk, senders.draw(MANY // 10), die)
        await close(desk, START + over * ONE_DAY)
        await store(desk, senders.draw(MANY // 10), die)
        for asked in (reports_pb2.ElevationFilter(), a_whole_filter(die), a_filter(die)):
            try:
                await Comparison(desk, senders.recount, asked, frozenset(seen), die).everything()
            except AssertionError as error:
                raise AssertionError(f"seed {SEED!r}, filter {asked}, closed {over}") from error


async def close(desk: Desk, now: datetime) -> None:
    """Close the days that are over at a time."""
    await SqlClosing(desk.database, lambda: now, pause=no_pause).close()


async def kept(desk: Desk) -> int:
    """Return how many attempts can be listed."""
    request = reports_pb2.ListElevationsRequest(page_size=1000)
    return len((await desk.reports.ListElevations(request, metadata=desk.metadata(None))).elevations)


async def no_pause(_seconds: float) -> None:
    """Go on at once."""
