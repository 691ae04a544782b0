"""Waking those who wait for a newer revision."""

import asyncio

from services._chassis.changes import ChangeFeed
from services._chassis.workers import supervise


class Revisions:
    """Stand for the database: each look tells the next number, then the last one again."""

    def __init__(self, *numbers: int) -> None:
        self.left = list(numbers)

    async def __call__(self) -> int:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def feed(*numbers: int, poll: float = 0.001) -> ChangeFeed:
    return ChangeFeed(Revisions(*numbers), None, "", poll=poll)


async def test_everybody_who_waits_is_woken_by_a_newer_revision() -> None:
    changes = feed(0)
    waiting = [asyncio.create_task(changes.wait(after)) for after in (0, 1, 2)]
    await asyncio.wait(waiting, timeout=0.01)
    changes.announce(2)
    assert await asyncio.gather(*waiting[:2]) == [2, 2]
    assert not waiting[2].done()
    changes.announce(3)
    assert await waiting[2] == 3


async def test_an_older_revision_changes_nothing() -> None:
    changes = feed(0)
    changes.announce(5)
    changes.announce(4)
    assert changes.revision == 5


async def test_who_knows_less_does_not_wait() -> None:
    changes = feed(0)
    changes.announce(5)
    assert await changes.wait(4, timeout=None) == 5


async def test_waiting_ends_with_the_time_and_tells_what_stands() -> None:
    changes = feed(0)
    changes.announce(5)
    assert await changes.wait(5, timeout=0.001) == 5


async def test_commits_of_other_processes_are_polled() -> None:
    revisions = Revisions(1, 1, 4)
    changes = ChangeFeed(revisions, None, "", poll=0.001)
    watching = asyncio.create_task(supervise(changes.worker()))
    assert await changes.wait(1) == 4
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
