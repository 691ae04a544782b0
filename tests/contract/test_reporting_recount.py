"""Every report says what another engine counts on one flat table of what devices sent, whatever is asked and by whom."""

import os
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2
from services.reporting.model.events import Batch
from tests.builders.counts import forget
from tests.builders.randomreports import DEVICES, SEEN, TAGS, a_filter, an_event, device_name
from tests.builders.recounting import Comparison, Desk, open_desk
from tests.fakes.reporting import batch
from tests.reference.reports import Recount

MANY = int(os.environ.get("EPM_RECOUNT_EVENTS", "2500"))
QUESTIONS = int(os.environ.get("EPM_RECOUNT_QUESTIONS", "5"))
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

    def draw(self, count: int) -> list[Batch]:
        """Return batches of so many events, in their order."""
        found = []
        while count > 0:
            device = self._die.choice(DEVICES)
            size = min(count, self._die.randint(1, 40))
            numbers = range(self._number + 1, self._number + 1 + size)
            name = device_name(device, self._number // 40)
            found.append(self._batch(device, name, [an_event(number, self._die) for number in numbers]))
            self._number, count = self._number + size, count - size
        return found

    def _batch(self, device: str, name: str, events: Sequence[event_pb2.ElevationEvent]) -> Batch:
        attempts = [event for event in events if event.HasField("decided")]
        self.recount.add(attempts, device, name)
        first = self._last[device] + 1
        self._last[device] += len(events)
        return batch(events, device=device, name=name, first=first)


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


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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
    for _ in range(QUESTIONS):
        asked, tags = a_filter(die), tags_of(die)
        try:
            await Comparison(desk, senders.recount, asked, tags, die).everything()
        except AssertionError as error:
            raise AssertionError(f"seed {SEED!r}, tags {tags}, filter {asked}") from error
