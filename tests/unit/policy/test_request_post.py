"""What devices are told of their requests: everything, in order, and the database is not asked for those without news."""

import pytest

from services._chassis.errors import UnavailableError
from services.policy.model.told_requests import Outcome
from services.policy.usecases.requests.post import Post
from tests.builders.requests import request
from tests.fakes.requests import FakeOutcomes


class House:
    """A post, its outcomes, and who was called."""

    def __init__(self) -> None:
        self.outcomes = FakeOutcomes()
        self.caught_up: list[int] = []
        self.behind = False
        self.post = Post(self.outcomes, wait=self._wait, caught_up=self._catch_up)
        self.heard: list[set[str]] = []
        self.post.on_news.append(lambda devices: self.heard.append(set(devices)))

    def happen(self, *sequences: int, device_id: str = "d1") -> None:
        """Let requests of a device come to something."""
        self.outcomes.add(device_id, *(Outcome(number, request(number)) for number in sequences))

    async def told(self, told: int = 0, *, anew: bool = True, device_id: str = "d1") -> list[int]:
        """Return what a stream of the device is told."""
        return [each.sequence for each in await self.post.look(device_id, told, anew=anew)]

    async def _wait(self, after: int) -> int:
        return after

    async def _catch_up(self, revision: int) -> None:
        self.caught_up.append(revision)
        if self.behind:
            raise UnavailableError("behind")


@pytest.fixture
def house() -> House:
    return House()


async def test_streams_hear_of_news_once_documents_follow_from_it(house: House) -> None:
    house.happen(1)
    await house.post.read()
    assert (house.caught_up, house.heard) == ([1], [{"d1"}])
    await house.post.read()
    assert house.heard == [{"d1"}]
    house.happen(1, device_id="d2")
    await house.post.read()
    assert (house.caught_up, house.heard) == ([1, 2], [{"d1"}, {"d2"}])


async def test_streams_hear_of_news_also_where_documents_are_behind(house: House) -> None:
    house.happen(1)
    house.behind = True
    with pytest.raises(UnavailableError):
        await house.post.read()
    assert house.heard == [{"d1"}]


async def test_a_device_is_told_everything_in_order_however_much_it_is(house: House) -> None:
    house.happen(1, 2, 3, 4, 5)
    await house.post.read()
    assert await house.told() == [1, 2, 3, 4, 5]
    assert await house.told(3) == [4, 5]


async def test_before_anything_was_read_the_database_is_asked(house: House) -> None:
    house.happen(1)
    assert await house.told() == [1]


async def test_the_database_is_not_asked_for_devices_without_news(house: House) -> None:
    house.happen(1)
    await house.post.read()
    assert await house.told(device_id="d2") == []
    assert await house.told() == [1]
    house.outcomes.asked.clear()
    assert await house.told(1, anew=False) == []
    assert await house.told(1, anew=False) == []
    assert len(house.outcomes.asked) <= 1


async def test_what_is_not_confirmed_is_told_again_on_the_next_stream_and_then_no_more(house: House) -> None:
    house.happen(1, 2)
    await house.post.read()
    assert await house.told() == [1, 2]
    await house.post.keep("d1", 0)
    await house.post.keep("d1", 1)
    assert await house.told() == [2]
    await house.post.keep("d1", 2)
    assert await house.told() == []
    house.outcomes.asked.clear()
    assert await house.told() == []
    assert house.outcomes.asked == []


async def test_news_is_told_to_a_stream_that_was_told_before(house: House) -> None:
    house.happen(1)
    await house.post.read()
    assert await house.told() == [1]
    house.happen(2)
    await house.post.read()
    assert await house.told(1, anew=False) == [2]


async def test_what_could_not_be_read_is_told_to_whoever_comes_next(house: House) -> None:
    house.happen(1)
    await house.post.read()
    house.outcomes.fails = True
    for anew in (True, False):
        with pytest.raises(UnavailableError):
            await house.told(anew=anew)
    house.outcomes.fails = False
    assert await house.told(anew=False) == [1]
    assert await house.told() == [1]
