"""What is remembered of changes is what the database would say, and it is asked where something is missing."""

from services.policy.model.told_requests import Outcome, Place, Told
from services.policy.store.recent_changes import LAST_ID, Changed, RecentChanges
from tests.builders.requests import request
from tests.fakes.requests import FakeChanges, FakeOutcomes


class House:
    """What is remembered, and the database beside it."""

    def __init__(self, *, most: int = 10) -> None:
        self.changes, self.outcomes = FakeChanges(), FakeOutcomes()
        self.recent = RecentChanges(self.changes, self.outcomes, most=most)
        self.recent.take(Changed(5, 5))

    def read(self, revision: int, *numbers: int, outcomes: tuple[int, ...] = ()) -> None:
        """Take up that requests changed, and that the device d1 is to hear something."""
        told = tuple(Told(request(number), changed=revision) for number in numbers)
        heard = tuple(("d1", Outcome(sequence, request(sequence))) for sequence in outcomes)
        self.recent.take(Changed(self.recent.revisions.revision, revision, told, heard))

    async def changed(self, after: int, request_id: str = LAST_ID, most: int = 10) -> list[tuple[str, int]]:
        """Say what a watch is told."""
        found = await self.recent.changed(Place(after, request_id), most)
        return [(each.request.request_id, each.changed) for each in found]

    async def told(self, after: int) -> list[int]:
        """Say what a device is told."""
        return [each.sequence for each in await self.recent.of_device("d1", after)]


async def test_watches_are_told_each_request_once_in_the_order_of_changes() -> None:
    house = House()
    house.read(6, 1, 2)
    house.read(7, 1)
    first, second = request(1).request_id, request(2).request_id
    assert await house.changed(5) == [(second, 6), (first, 7)]
    assert await house.changed(5, most=1) == [(second, 6)]
    assert await house.changed(6) == [(first, 7)]
    assert await house.changed(6, first) == [(second, 6), (first, 7)]
    assert await house.changed(7) == []


async def test_a_watch_that_was_away_for_longer_is_answered_by_the_database() -> None:
    house = House(most=2)
    house.changes.put(Told(request(9)))
    house.read(6, 1)
    house.read(7, 2)
    assert [name for name, _ in await house.changed(4)] == []
    assert [name for name, _ in await house.changed(0)] == [request(9).request_id]
    house.read(8, 3)
    assert len(await house.changed(6)) == 2
    house.changes.put(*(Told(request(number)) for number in range(10, 19)))
    assert [revision for _, revision in await house.changed(5)] == [6, 7, 8, 9, 10]


async def test_nothing_is_remembered_of_before_a_gap() -> None:
    house = House()
    house.read(6, 1, outcomes=(1,))
    house.recent.take(Changed(8, 9))
    assert await house.changed(8) == []
    house.changes.put(Told(request(9)))
    assert await house.changed(0) == [(request(9).request_id, 1)]
    assert await house.told(0) == []


async def test_a_device_is_told_what_is_remembered_if_nothing_older_may_be_missing() -> None:
    house = House()
    house.outcomes.add("d1", *(Outcome(number, request(number)) for number in (2, 3)))
    house.read(6, outcomes=(3,))
    assert await house.told(1) == [2, 3]
    assert house.outcomes.asked == [("d1", 1)]
    assert (await house.told(2), await house.told(3)) == ([3], [])
    assert house.outcomes.asked == [("d1", 1)]
    await house.recent.keep("d1", 3)
    assert await house.told(2) == []
    assert house.outcomes.asked == [("d1", 1), ("d1", 2)]


async def test_who_has_something_to_hear_is_known_by_revision() -> None:
    house = House()
    house.outcomes.add("d7")
    house.read(6, outcomes=(1,))
    house.read(7)
    assert await house.recent.waiting(5) == (frozenset({"d1"}), 7)
    assert await house.recent.waiting(6) == (frozenset(), 7)
    assert await house.recent.waiting(0) == (frozenset({"d7"}), 1)
