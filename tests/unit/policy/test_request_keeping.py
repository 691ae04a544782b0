"""What devices confirm is written for many at once, and none of it is lost on the way."""

from collections.abc import Mapping

import pytest

from services._chassis.errors import UnavailableError
from services.policy.model.told_requests import Outcome
from services.policy.usecases.requests.keeping import KeptOutcomes
from tests.builders.requests import request
from tests.fakes.requests import FakeOutcomes


class House:
    """Outcomes, and what was written of them."""

    def __init__(self) -> None:
        self.outcomes = FakeOutcomes()
        self.outcomes.add("d1", *(Outcome(number, request(number)) for number in (1, 2, 3)))
        self.written: list[Mapping[str, int]] = []
        self.fails = False
        self.kept = KeptOutcomes(self.outcomes, self._keep_all)

    async def told(self) -> list[int]:
        """Say what the device d1 is told."""
        return [each.sequence for each in await self.kept.of_device("d1", 0)]

    async def _keep_all(self, sequences: Mapping[str, int]) -> None:
        if self.fails:
            raise UnavailableError("no database")
        self.written.append(sequences)
        await self.kept.keep("d3", 1)


async def test_confirmations_are_written_together_and_once() -> None:
    house = House()
    for device_id, number in (("d1", 2), ("d2", 4), ("d1", 1)):
        await house.kept.keep(device_id, number)
    await house.kept.write()
    assert house.written == [{"d1": 2, "d2": 4}]
    await house.kept.close()
    assert house.written[1:] == [{"d3": 1}]


async def test_a_device_that_comes_back_before_it_is_written_is_told_no_more_than_it_lacks() -> None:
    house = House()
    await house.kept.keep("d1", 2)
    assert await house.told() == [3]


async def test_what_could_not_be_written_is_written_the_next_time() -> None:
    house = House()
    await house.kept.keep("d1", 2)
    house.fails = True
    with pytest.raises(UnavailableError):
        await house.kept.write()
    house.fails = False
    await house.kept.write()
    assert house.written == [{"d1": 2}]
