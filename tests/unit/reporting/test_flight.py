import asyncio

import pytest

from services._chassis.errors import UnavailableError
from services.reporting.model.credit import LEAST, Pressure, Ramp
from services.reporting.model.events import Rejection
from services.reporting.model.flight import Durable, Flight

CALM, FULL = Pressure(1000, waiting=0, sending=1), Pressure(1000, waiting=1000, sending=1)
Answer = asyncio.Future[tuple[Rejection, ...]]


def boarded(flight: Flight[Answer], journal: str, through: int, size: int = 1) -> Answer:
    answer: Answer = asyncio.get_running_loop().create_future()
    flight.reserve(size)
    flight.board(journal, through, size, answer)
    return answer


async def test_what_is_durable_lands_in_the_order_of_its_journal_and_waits_for_no_other() -> None:
    flight = Flight[Answer](Ramp(100, LEAST))
    health, first, second = boarded(flight, "h", 1), boarded(flight, "a", 1), boarded(flight, "a", 2)
    second.set_result((Rejection(2, "no"),))
    assert flight.land() == []
    first.set_result(())
    assert flight.land() == [Durable("a", 2, (Rejection(2, "no"),))]
    assert (flight.events, len(flight)) == (1, 1)
    health.set_result(())
    assert flight.land() == [Durable("h", 1, ())]
    assert (flight.events, len(flight)) == (0, 0)


async def test_a_batch_that_was_not_stored_ends_the_flight() -> None:
    flight = Flight[Answer](Ramp(100, LEAST))
    boarded(flight, "a", 1).set_exception(UnavailableError("later", reason="STORE_UNAVAILABLE"))
    with pytest.raises(UnavailableError):
        flight.land()


async def test_nothing_is_refused_that_was_sent_before_a_lowered_credit_could_be_heard() -> None:
    flight = Flight[Answer](Ramp(100, LEAST))
    boarded(flight, "a", 50, 50).set_result(())
    flight.land()
    assert flight.adjusted(FULL)
    assert flight.credit == 50
    assert flight.has_room(100)
    assert not flight.has_room(101)


async def test_a_credit_rises_where_it_was_used_since_the_last_acknowledgement() -> None:
    flight = Flight[Answer](Ramp(100, LEAST))
    assert not flight.adjusted(CALM)
    boarded(flight, "a", 50, 50).set_result(())
    flight.land()
    assert flight.adjusted(CALM)
    assert (flight.credit, flight.limit) == (200, 200)
    assert not flight.adjusted(CALM)
