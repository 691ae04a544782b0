"""What time ends, and what was granted to devices and users that are gone, is written down."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services._chassis.errors import UnavailableError
from services.policy.model.directory import Directory
from services.policy.model.requests import (
    DEVICE_GONE,
    NOBODY_DECIDED,
    USER_GONE,
    WINDOW_ENDED,
    Access,
    ElevationRequest,
    RequestState,
    Review,
)
from services.policy.usecases.requests.endings import STEP, WAITING_EVERY, Endings
from tests.builders.requests import request
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.policy_delivery import FakeDirectories, corpus, device, policy_book
from tests.fakes.requests import MemoryRequests

HOUR = timedelta(hours=1)


def granted(number: int = 1, **values: object) -> ElevationRequest:
    """Approve a request for an hour."""
    review = Review(reviewer="user:carol", reviewed=NOW)
    return request(number, life=None, **values).approved(review, Access(begins=NOW, until=NOW + HOUR))


def waiting(number: int, **values: object) -> ElevationRequest:
    """Ask for approval."""
    return request(number, life=None, **values)


class Service:
    """Look for what is over, on one device of alice's."""

    def __init__(self, *requests: ElevationRequest) -> None:
        self.directories = FakeDirectories(device("d1", "alice"))
        self.book = policy_book(self.directories)
        self.requests = MemoryRequests(*requests)
        self.clock = FakeClock()
        self.endings = Endings(self.requests, self.requests, self.book, now=self.clock.now)
        approved = tuple(each for each in requests if each.state is RequestState.APPROVED)
        self.book.put(replace(corpus(), approved=approved))

    async def look(self) -> list[tuple[str, str]]:
        """Look once; return how requests stand and why."""
        await self.endings.look()
        return [(each.state.value, each.end.reason if each.end else "") for each in self.requests.kept.values()]


async def test_time_ends_what_nobody_decided_and_what_was_granted() -> None:
    service = Service(granted(1), request(2))
    assert await service.look() == [("APPROVED", ""), ("PENDING", "")]
    service.clock.advance(HOUR)
    assert await service.look() == [("EXPIRED", WINDOW_ENDED), ("PENDING", "")]
    service.clock.advance(timedelta(days=7))
    assert await service.look() == [("EXPIRED", WINDOW_ENDED), ("EXPIRED", NOBODY_DECIDED)]


async def test_a_clock_that_is_set_back_brings_nothing_back() -> None:
    service = Service(granted(1))
    service.clock.advance(HOUR)
    ended = await service.look()
    service.clock.jump(-HOUR)
    assert await service.look() == ended


async def test_many_that_end_at_once_end_step_by_step() -> None:
    service = Service(*(request(number) for number in range(2 * STEP + 1)))
    service.clock.advance(timedelta(days=7))
    assert set(await service.look()) == {("EXPIRED", NOBODY_DECIDED)}
    assert service.requests.changes == 2 * STEP + 1


async def test_what_a_removed_user_and_a_retired_device_were_granted_and_wait_for_ends() -> None:
    service = Service(granted(1), granted(2, user="bob"), waiting(3), waiting(4, user="bob"))
    of_bob = [("REVOKED", USER_GONE), ("CANCELLED", USER_GONE)]
    assert await service.look() == [("APPROVED", ""), of_bob[0], ("PENDING", ""), of_bob[1]]
    service.directories.put(device("d1", "alice", enrolled=False))
    assert await service.look() == [("REVOKED", DEVICE_GONE), of_bob[0], ("CANCELLED", DEVICE_GONE), of_bob[1]]


async def test_many_that_wait_on_a_device_that_goes_end_at_once() -> None:
    service = Service(*(waiting(number) for number in range(2 * STEP + 1)))
    assert set(await service.look()) == {("PENDING", "")}
    service.directories.put(device("d1", "alice", enrolled=False))
    assert set(await service.look()) == {("CANCELLED", DEVICE_GONE)}


async def test_those_that_wait_are_looked_through_when_the_directory_changes_alone() -> None:
    service = Service(waiting(1))
    for _ in range(3):
        await service.look()
    assert service.requests.looked == 1
    service.directories.put(device("d2", "bob"))
    await service.look()
    assert service.requests.looked == 2
    for _ in range(WAITING_EVERY):
        await service.look()
    assert service.requests.looked == 3


async def test_what_time_has_ended_is_not_taken_for_lost() -> None:
    service = Service(granted(1), waiting(2))
    service.clock.advance(timedelta(days=7))
    service.directories.put(device("d1", "alice", enrolled=False))
    assert await service.look() == [("EXPIRED", WINDOW_ENDED), ("EXPIRED", NOBODY_DECIDED)]


async def test_the_grants_of_a_deleted_device_end_and_those_of_an_unknown_one_wait() -> None:
    service = Service(granted(1, device_id="d9"))
    assert await service.look() == [("APPROVED", "")]
    known = service.directories.known
    assert known is not None
    service.directories.known = Directory(2, known.devices, known.groups, frozenset({"d9"}))
    assert await service.look() == [("REVOKED", DEVICE_GONE)]


async def test_while_the_directory_is_not_known_nobody_loses_anything() -> None:
    service = Service(granted(1, user="bob"))
    service.directories.known = None
    with pytest.raises(UnavailableError):
        service.directories.directory()
    assert await service.look() == [("APPROVED", "")]
