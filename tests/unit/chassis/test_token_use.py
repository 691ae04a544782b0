"""When a token was last shown is noted on the way, and reported in batches."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from services._chassis.auth import digest_of
from services._chassis.errors import UnauthenticatedError, UnavailableError
from services._chassis.token_use import LARGEST_BATCH, PERIOD, TokenUseReporter, TokenUses
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW, FakeClock


class Desk:
    """What hears reports, unless it fails."""

    def __init__(self) -> None:
        self.uses = TokenUses()
        self.heard: list[Mapping[str, datetime]] = []
        self.failing = False
        self.reporter = TokenUseReporter(self.uses, self.report, pause=self.pause)
        self.pauses: list[float] = []

    async def report(self, uses: Mapping[str, datetime]) -> None:
        if self.failing:
            raise UnavailableError("no rbac")
        self.heard.append(uses)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) > 2:
            raise LookupError


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_use_is_reported_once_and_to_the_minute(desk: Desk) -> None:
    desk.uses.note("t1", NOW + timedelta(seconds=59))
    await desk.reporter.report_all()
    await desk.reporter.report_all()
    assert desk.heard == [{"t1": NOW}]


async def test_of_many_uses_of_a_token_the_last_is_reported(desk: Desk) -> None:
    for minute in range(5):
        desk.uses.note("t1", NOW + timedelta(minutes=minute))
    await desk.reporter.report_all()
    assert desk.heard == [{"t1": NOW + timedelta(minutes=4)}]


async def test_many_tokens_are_reported_in_batches(desk: Desk) -> None:
    for number in range(2 * LARGEST_BATCH + 1):
        desk.uses.note(f"t{number}", NOW)
    await desk.reporter.report_all()
    assert [len(batch) for batch in desk.heard] == [LARGEST_BATCH, LARGEST_BATCH, 1]


async def test_what_was_not_heard_is_reported_again_unless_there_is_newer(desk: Desk) -> None:
    desk.failing = True
    desk.uses.note("t1", NOW)
    desk.uses.note("t2", NOW)
    with pytest.raises(UnavailableError):
        await desk.reporter.report_all()
    desk.failing = False
    desk.uses.note("t2", NOW + timedelta(minutes=1))
    await desk.reporter.report_all()
    assert desk.heard == [{"t2": NOW + timedelta(minutes=1), "t1": NOW}]


async def test_a_use_that_comes_while_its_report_fails_is_not_overwritten(desk: Desk) -> None:
    async def report(_uses: Mapping[str, datetime]) -> None:
        desk.uses.note("t1", NOW + timedelta(minutes=1))
        raise UnavailableError("no rbac")

    desk.uses.note("t1", NOW)
    with pytest.raises(UnavailableError):
        await TokenUseReporter(desk.uses, report).report_all()
    assert desk.uses.take(1) == {"t1": NOW + timedelta(minutes=1)}


async def test_the_worker_reports_again_and_again(desk: Desk) -> None:
    desk.uses.note("t1", NOW)
    with pytest.raises(LookupError):
        await desk.reporter.worker().run()
    assert (desk.heard, desk.pauses) == ([{"t1": NOW}], [PERIOD] * 3)


def test_only_a_token_that_is_good_is_noted() -> None:
    clock = FakeClock()
    access = FakeAccess(clock)
    good, expired = access.token("user:alice"), access.token("user:bob", expires=NOW)
    access.control.authenticate(digest_of(good))
    for bad in (expired, "epm_unknown"):
        with pytest.raises(UnauthenticatedError):
            access.control.authenticate(digest_of(bad))
    assert access.control.uses.take(10) == {"token-1": NOW}
