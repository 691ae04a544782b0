"""Requests go when they have been over for long, step by step, and not because a clock is wrong."""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta

import pytest

from services.policy.usecases.requests.retention import BREATH, MOST_AHEAD, PERIOD, Retention
from tests.fakes.clock import NOW, FakeClock

KEEP = timedelta(days=400)


class StoppedError(Exception):
    """Ends a worker that looks for ever."""


class Old:
    """Give requests as a test says, and note what goes."""

    def __init__(self, *steps: Sequence[str]) -> None:
        self.steps = steps
        self.asked: list[datetime] = []
        self.noted: list[object] = []

    async def over(self, before: datetime) -> AsyncIterator[Sequence[str]]:
        """Give the steps."""
        self.asked.append(before)
        for step in self.steps:
            yield step

    async def delete(self, request_ids: Collection[str], before: datetime) -> None:
        """Note what goes."""
        assert before == self.asked[-1]
        self.noted.append(list(request_ids))

    async def pause(self, seconds: float) -> None:
        """Note the pause; end at the long one."""
        self.noted.append(seconds)
        if seconds == PERIOD:
            raise StoppedError


def looking(old: Old, clock: FakeClock) -> Retention:
    return Retention(old, KEEP, now=clock.now, monotonic=clock.monotonic, pause=old.pause)


async def test_steps_come_with_a_breath_between_them_and_then_a_long_pause() -> None:
    old = Old(["a", "b"], [], ["c"])
    with pytest.raises(StoppedError):
        await looking(old, FakeClock()).worker().run()
    assert old.asked == [NOW - KEEP]
    assert old.noted == [["a", "b"], BREATH, BREATH, ["c"], BREATH, PERIOD]


async def test_nothing_goes_while_the_clock_has_run_ahead() -> None:
    old, clock = Old(["a"]), FakeClock()
    retention = looking(old, clock)
    clock.advance(timedelta(days=3))
    clock.jump(MOST_AHEAD + timedelta(seconds=1))
    await retention.look()
    assert old.asked == []
    clock.jump(-timedelta(seconds=1))
    await retention.look()
    assert old.asked == [clock.now() - KEEP]
