"""What approvers are shown as ended stays so: it is written down before they see it."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from services._chassis.errors import NotFoundError, StateError, UnavailableError
from services._chassis.permits import Permit
from services.policy.model.told_requests import Told
from services.policy.usecases.requests.deciding import MOST_ENDED, Approver, Deciding, ListWanted
from services.policy.usecases.requests.denials import Denials
from services.policy.usecases.requests.today import PolicyOfToday
from tests.builders.requests import request
from tests.fakes.access import permit
from tests.fakes.clock import FakeClock
from tests.fakes.policy_delivery import FakeDirectories, device, policy_book
from tests.fakes.requests import MemoryRequests

ALL = permit(everything=True)


class Unwritable(MemoryRequests):
    """Can be read alone."""

    async def change(self, *_: object) -> Sequence[Told]:
        """Fail."""
        raise UnavailableError("the disk is full")


class Desk:
    """Look at two requests, the first of which nobody decided in time."""

    def __init__(self, requests: type[MemoryRequests] = MemoryRequests) -> None:
        self.clock = FakeClock()
        late = request(2, review_deadline=self.clock.now() + timedelta(days=8))
        self.requests = requests(request(1), late)
        book = policy_book(FakeDirectories(device("d1", "alice")))
        today = PolicyOfToday(book)
        denials = Denials(book.directory, today)
        self.deciding = Deciding(self.requests, book.directory, today=today, denials=denials, is_user=lambda *_: False)
        self.clock.advance(timedelta(days=7))

    async def listed(self, asked: str = "", sees: Permit = ALL) -> list[str]:
        """List requests."""
        page = await self.deciding.page(ListWanted(filter=asked), sees, self.clock.now)
        return [told.request.state.value for told in page.items]

    def kept(self) -> list[str]:
        """Return how requests stand in the store."""
        return [each.state.value for each in self.requests.kept.values()]


async def test_a_request_that_is_looked_at_when_its_time_is_over_is_ended_first() -> None:
    desk = Desk()
    assert (await desk.deciding.find(request(1).request_id, ALL, desk.clock.now)).request.state.value == "EXPIRED"
    assert desk.kept() == ["EXPIRED", "PENDING"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", ["EXPIRED", "PENDING"]), ("state = EXPIRED", ["EXPIRED"]), ("state = PENDING", ["PENDING"])],
)
async def test_requests_that_are_listed_or_left_out_for_their_time_are_ended_first(
    asked: str, found: list[str]
) -> None:
    desk = Desk()
    assert await desk.listed(asked) == found
    assert desk.kept() == ["EXPIRED", "PENDING"]


async def test_what_nobody_asked_for_is_not_ended_by_a_list() -> None:
    desk = Desk()
    assert await desk.listed("user = bob") == []
    assert desk.kept() == ["PENDING", "PENDING"]


async def test_what_the_caller_may_not_see_is_ended_neither_by_a_list_nor_by_a_look() -> None:
    desk, elsewhere = Desk(), permit(tags=["apac"])
    assert await desk.listed(sees=elsewhere) == []
    with pytest.raises(NotFoundError):
        await desk.deciding.find(request(1).request_id, elsewhere, desk.clock.now)
    assert desk.kept() == ["PENDING", "PENDING"]


async def test_whoever_is_refused_for_the_time_finds_the_request_ended() -> None:
    desk = Desk()
    approver = Approver(principal="user:carol", permit=ALL, clock=desk.clock.now)
    with pytest.raises(StateError, match="expired"):
        await desk.deciding.deny(request(1).request_id, "no", approver)
    assert desk.kept() == ["EXPIRED", "PENDING"]


async def test_while_nothing_can_be_written_requests_are_shown_all_the_same() -> None:
    desk = Desk(Unwritable)
    assert await desk.listed() == ["EXPIRED", "PENDING"]
    assert (await desk.deciding.find(request(1).request_id, ALL, desk.clock.now)).request.state.value == "EXPIRED"


async def test_a_list_after_a_long_standstill_ends_those_alone_that_somebody_may_be_about_to_change() -> None:
    desk = Desk()
    now = desk.clock.now()
    many = (request(number, review_deadline=now - timedelta(hours=number)) for number in range(3, MOST_ENDED + 10))
    desk.requests.kept |= {each.request_id: each for each in many}
    assert (await desk.listed()).count("EXPIRED") == MOST_ENDED + 8
    *left, waiting = sorted(
        each.review_deadline for each in desk.requests.kept.values() if each.state.value == "PENDING"
    )
    assert waiting > now
    assert left == [now - timedelta(hours=number) for number in range(MOST_ENDED + 9, MOST_ENDED + 1, -1)]
