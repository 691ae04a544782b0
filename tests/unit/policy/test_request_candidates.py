"""Rule candidates take the time of others for a while alone."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from services._chassis.errors import InvalidError, Problem
from services.policy.model.candidates import Approval
from services.policy.usecases.requests.candidates import LONGEST, Candidates, CandidatesWanted
from services.policy.usecases.requests.denials import Denials
from services.policy.usecases.requests.today import PolicyOfToday
from tests.builders.requests import request
from tests.fakes.access import permit
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.policy_delivery import FakeDirectories, policy_book
from tests.fakes.requests import MemoryRequests

MADE = 3


class Approved(MemoryRequests):
    """Two approvals of each of some files; reading evidence takes as long as making a rule of it does."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(*(request(number) for number in range(10)))
        self.clock = clock
        self.read = 0

    async def given(self, _since: datetime) -> Sequence[Approval]:
        """Return them."""
        return [
            Approval(request_id=each, device_id="d1", user="alice", sha256=each, scope_tags=frozenset(), reviewed=NOW)
            for each in self.kept
            for _ in range(2)
        ]

    async def certificates(self, _request_id: str) -> Sequence[bytes]:
        """Return none, after a while."""
        self.read += 1
        self.clock.advance(timedelta(seconds=LONGEST / MADE + 0.1))
        return ()


class Refusing:
    """Allows no rule, however much time there is."""

    async def stored(self) -> object:
        """Refuse."""
        raise InvalidError([Problem("file", "allows no rule")])


def nobody_denies() -> Denials:
    book = policy_book(FakeDirectories())
    return Denials(book.directory, PolicyOfToday(book))


async def test_those_for_which_there_is_no_time_come_without_a_rule() -> None:
    clock = FakeClock()
    approved = Approved(clock)
    drafting, linting = cast("Any", Refusing()), cast("Any", None)
    candidates = Candidates(
        approved,
        approved,
        drafting,
        linting,
        denials=nobody_denies(),
        sees=lambda _: lambda _: True,
        monotonic=clock.monotonic,
    )
    everything = permit(everything=True)
    found = await candidates.find(CandidatesWanted(since=NOW), everything, everything, NOW)
    assert (len(found), approved.read) == (10, MADE)
