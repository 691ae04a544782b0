"""The laws of credits: low at first, more where they are used and there is room, less where there is none, and back again."""

from hypothesis import given
from hypothesis import strategies as st

from services.reporting.model.credit import LEAST, MOST, START, Pressure, Ramp

CAPACITY = 20_000
PRESSURES = st.builds(Pressure, st.integers(1, 50_000), waiting=st.integers(0, 60_000), sending=st.integers(0, 20_000))
STEPS = st.lists(st.tuples(st.integers(0, 2 * MOST), PRESSURES), max_size=40)


def calm(sending: int = 1) -> Pressure:
    return Pressure(CAPACITY, waiting=0, sending=sending)


def crowded(sending: int) -> Pressure:
    return Pressure(CAPACITY, waiting=CAPACITY // 2, sending=sending)


def full(sending: int) -> Pressure:
    return Pressure(CAPACITY, waiting=CAPACITY, sending=sending)


def after(ramp: Ramp, pressure: Pressure, acknowledgements: int) -> Ramp:
    for _ in range(acknowledgements):
        ramp = ramp.acknowledged(ramp.credit, pressure)
    return ramp


@given(st.integers(1, MOST), PRESSURES, STEPS)
def test_a_credit_is_never_less_than_the_least_nor_more_than_the_most(
    start: int, first: Pressure, steps: list[tuple[int, Pressure]]
) -> None:
    ramp = Ramp.welcoming(start, first)
    least = min(LEAST, start)
    assert least <= ramp.credit <= start
    for used, pressure in steps:
        ramp = ramp.acknowledged(used, pressure)
        assert least <= ramp.credit <= MOST


@given(st.integers(LEAST, MOST), st.integers(1, 20_000))
def test_once_all_heard_of_a_crowded_backlog_their_credits_fit_it_or_are_the_least(start: int, streams: int) -> None:
    ramp = after(Ramp.welcoming(start, calm()), calm(), 10)
    assert streams * ramp.acknowledged(0, crowded(streams)).credit <= max(CAPACITY, streams * LEAST)


@given(st.integers(1, MOST), STEPS)
def test_a_credit_recovers_from_everything_where_it_is_used(start: int, steps: list[tuple[int, Pressure]]) -> None:
    ramp = Ramp.welcoming(start, calm())
    for used, pressure in steps:
        ramp = ramp.acknowledged(used, pressure)
    assert after(ramp, calm(), 11).credit == MOST


def test_a_credit_begins_low_and_doubles_with_each_acknowledgement() -> None:
    told = [Ramp.welcoming(START, calm())]
    for _ in range(5):
        told.append(after(told[-1], calm(), 1))
    assert [ramp.credit for ramp in told] == [100, 200, 400, 800, 1600, 2000]


def test_few_streams_may_have_more_than_many() -> None:
    told = [after(Ramp.welcoming(START, calm()), calm(streams), 9).credit for streams in (1, 4, 5, 8, 20, 40)]
    assert told == [2000, 2000, 1600, 1000, 1000, 500]


def test_a_credit_that_is_not_used_does_not_rise() -> None:
    ramp = Ramp.welcoming(START, calm())
    assert ramp.acknowledged(START // 2 - 1, calm()) == ramp
    assert ramp.acknowledged(START // 2, calm()).credit == 2 * START


def test_a_full_backlog_halves_a_credit_until_it_is_the_least() -> None:
    ramp = Ramp(800, LEAST)
    told = [after(ramp, full(1), times).credit for times in range(1, 9)]
    assert told == [400, 200, 100, 50, 25, 12, 10, 10]


def test_no_credit_rises_above_its_share_of_the_backlog() -> None:
    assert after(Ramp.welcoming(START, calm()), calm(CAPACITY // 300), 9).credit == 303
    assert Ramp(800, LEAST).acknowledged(800, calm(CAPACITY // 300)).credit == 800


def test_many_streams_are_welcomed_with_less() -> None:
    assert [Ramp.welcoming(START, calm(streams)).credit for streams in (0, 200, 400, 10_000)] == [100, 100, 50, LEAST]
