"""An origin may fail so often; then it is told how long to wait."""

from datetime import timedelta

import pytest

from services._chassis.throttle import Throttle
from tests.fakes.clock import FakeClock


class Doorstep:
    """A throttle at a time that the test says."""

    def __init__(self, per_minute: int = 30, most_origins: int = 10) -> None:
        self.clock = FakeClock()
        self.throttle = Throttle(times=per_minute, monotonic=self.clock.monotonic, most_names=most_origins)

    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def failures(self, origin: str, times: int) -> int:
        """Fail so often; return how often it was within the limit."""
        return sum(self.throttle.charge(origin) is None for _ in range(times))


@pytest.fixture
def step() -> Doorstep:
    return Doorstep()


def test_an_origin_may_fail_as_often_as_the_limit_says_in_one_go(step: Doorstep) -> None:
    assert step.failures("a", 100) == 30


def test_an_origin_gets_back_what_it_may_fail_as_time_passes(step: Doorstep) -> None:
    step.failures("a", 100)
    step.wait(10)
    assert step.failures("a", 100) == 5
    step.wait(3600)
    assert step.failures("a", 100) == 30


def test_it_is_told_when_the_next_failure_is_within_the_limit(step: Doorstep) -> None:
    step.failures("a", 30)
    wait = step.throttle.charge("a")
    assert wait == timedelta(seconds=2)
    step.wait(2)
    assert step.throttle.charge("a") is None


def test_failing_beyond_the_limit_costs_nothing_more(step: Doorstep) -> None:
    step.failures("a", 10_000)
    step.wait(2)
    assert step.failures("a", 1) == 1


def test_asking_whether_the_limit_is_reached_costs_nothing(step: Doorstep) -> None:
    step.failures("a", 29)
    assert [step.throttle.exhausted("a") for _ in range(3)] == [False] * 3
    step.failures("a", 1)
    assert step.throttle.exhausted("a")
    assert not step.throttle.exhausted("b")


def test_origins_do_not_pay_for_one_another(step: Doorstep) -> None:
    step.failures("a", 100)
    assert step.failures("b", 100) == 30


def test_origins_beyond_those_that_are_remembered_share_a_limit(step: Doorstep) -> None:
    for number in range(10):
        step.failures(f"known-{number}", 1)
    assert sum(step.failures(f"new-{number}", 1) for number in range(1000)) == 30
    assert step.throttle.exhausted("never seen")
    assert len(step.throttle) == 11


def test_an_origin_that_has_paid_back_makes_room_for_others(step: Doorstep) -> None:
    for number in range(10):
        step.failures(f"known-{number}", 1)
    step.wait(60)
    assert [step.failures(f"new-{number}", 100) for number in range(2)] == [30, 30]
