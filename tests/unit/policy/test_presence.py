from collections.abc import Collection, Iterable
from datetime import datetime

from services._chassis.errors import UnavailableError
from services.policy.presence import Presence
from tests.fakes.clock import NOW, FakeClock


class FakeHolders:
    """Answers beats as the test says."""

    def __init__(self) -> None:
        self.answer: tuple[bool, Collection[str]] = (False, ())
        self.beats: list[datetime] = []
        self.ended: list[datetime] = []
        self.failure: UnavailableError | None = None

    async def beat(self, now: datetime) -> tuple[bool, Collection[str]]:
        self.beats.append(now)
        return self.answer

    async def end(self, now: datetime) -> None:
        if self.failure:
            raise self.failure
        self.ended.append(now)


def listened(holders: FakeHolders) -> tuple[Presence, list[object]]:
    """Return what beats, and what was heard of it."""
    presence, heard = Presence(holders, FakeClock()), list[object]()

    def closed(device_ids: Iterable[str]) -> None:
        heard.append(list(device_ids))

    presence.on_missed.append(lambda: heard.append("missed"))
    presence.on_closed.append(closed)
    return presence, heard


async def test_a_beat_of_a_process_that_all_know_tells_nothing() -> None:
    presence, heard = listened(holders := FakeHolders())
    await presence.beat()
    assert (holders.beats, heard) == ([NOW], [])


async def test_a_beat_tells_that_this_process_was_taken_for_gone_and_whose_streams_others_left_open() -> None:
    presence, heard = listened(holders := FakeHolders())
    holders.answer = (True, ["d1", "d2"])
    await presence.beat()
    assert heard == ["missed", ["d1", "d2"]]


async def test_the_end_closes_what_is_open_and_does_not_mind_where_that_cannot_be_written() -> None:
    presence, _ = listened(holders := FakeHolders())
    await presence.close()
    holders.failure = UnavailableError("the database is gone")
    await presence.close()
    assert holders.ended == [NOW]
