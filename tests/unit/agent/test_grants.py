"""Uses of grants are counted once, and a grant lasts no longer than it may, whatever becomes of the device and its clock."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_stub.files import StateError
from agent_stub.inspection.opened import OpenedFile
from agent_stub.launcher import Recorded
from agent_stub.links import Link, SessionError
from agent_stub.model import Result, Subject
from agent_stub.requests import ledger as ledgers
from agent_stub.requests.office import NOTE_SECONDS, RequestOffice
from agent_stub.requests.reporter import MOST_AT_ONCE, UseReporter
from elevation.model import Grant
from epm.elevation.v1 import event_pb2
from tests.builders.desk import Desk
from tests.builders.grants import LASTS, asking, grant
from tests.fakes.agent import NOW, FakeDisk, FakeLauncher, FakeMoments

HOUR = timedelta(hours=1)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def restarted(desk: Desk, *, boot_id: str = "boot", clock: FakeMoments | None = None) -> Desk:
    """Give the agent that comes after this one, by what is on the disk alone."""
    return Desk(desk.folder, house=desk.house, clock=clock or desk.clock, boot_id=boot_id, revision=desk.revision)


def waiting(desk: Desk) -> object:
    return desk.office.shown()["waiting"]


async def results(desk: Desk, times: int) -> list[Result]:
    return [(await desk.ask()).result for _ in range(times)]


async def test_a_grant_elevates_and_its_use_names_grant_and_attempt(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=2)))
    answer = await desk.ask("-x")
    assert (answer.result, len(desk.launcher.launched), waiting(desk)) == (Result.ELEVATED, 1, 1)
    await report(desk)
    (use,) = desk.server.reported[0].uses
    assert (use.grant_id, use.attempt_id, use.used.ToDatetime()) == (
        "request-1",
        answer.attempt_id,
        NOW.replace(tzinfo=None),
    )


async def test_a_grant_runs_as_often_as_it_says_and_then_the_support_is_asked_again(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=2)))
    assert await results(desk, 3) == [Result.ELEVATED, Result.ELEVATED, Result.APPROVAL_REQUIRED]
    assert len(desk.launcher.launched) == 2


async def test_a_grant_without_a_number_of_uses_runs_on_and_its_uses_are_told_too(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=None)))
    assert await results(desk, 3) == [Result.ELEVATED] * 3
    assert waiting(desk) == 3


async def test_of_two_attempts_at_the_same_moment_one_runs(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=1)))
    found = await asyncio.gather(desk.ask(), desk.ask())
    assert sorted(answer.result.name for answer in found) == ["APPROVAL_REQUIRED", "ELEVATED"]
    assert len(desk.launcher.launched) == 1


class Late:
    """Approvals as an attempt knew them that was decided before another one used them up."""

    def __init__(self, office: RequestOffice) -> None:
        self._known = office.grants()
        self.use, self.submit = office.use, office.submit

    def grants(self) -> tuple[Grant, ...]:
        return self._known


async def test_an_attempt_whose_grant_was_used_up_since_its_decision_does_not_run(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=1)))
    late = replace(desk.broker, approvals=Late(desk.office))
    assert (await desk.ask()).result is Result.ELEVATED
    desk.broker = late
    answer = await desk.ask()
    assert (answer.result, len(desk.launcher.launched)) == (Result.REFUSED, 1)
    assert answer.message == "not elevated: the approval is used up or over"
    assert desk.events()[1].result == event_pb2.ATTEMPT_RESULT_REFUSED


class Watching(FakeLauncher):
    """Looks, at the moment of the launch, at what an agent would find after a kill."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.found: list[tuple[tuple[int | None, ...], object]] = []

    async def launch(self, file: OpenedFile, arguments: Sequence[str], subject: Subject) -> Recorded:
        after = restarted(self.desk)
        self.found.append((left(after), waiting(after)))
        return await super().launch(file, arguments, subject)


def left(desk: Desk) -> tuple[int | None, ...]:
    return tuple(found.uses_left for found in desk.office.grants())


async def test_a_kill_between_counting_and_launch_leaves_the_use_counted(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    watching = Watching(desk)
    desk = Desk(tmp_path, house=desk.house, launcher=watching)
    watching.desk = desk
    desk.holds(asking(grant(uses_left=1)))
    assert (await desk.ask()).result is Result.ELEVATED
    assert watching.found == [((0,), 1)]


async def test_a_kill_between_launch_and_report_leaves_the_use_to_be_told(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=1)))
    attempt = (await desk.ask()).attempt_id
    after = restarted(desk)
    assert (await after.ask()).result is Result.APPROVAL_REQUIRED
    await report(after)
    assert [use.attempt_id for use in after.server.reported[0].uses] == [attempt]
    assert waiting(restarted(after)) == 0


async def test_a_use_that_cannot_be_kept_does_not_run(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=1)))
    desk.disk.full = True
    answer = await desk.ask()
    assert (answer.result, desk.launcher.launched, waiting(desk)) == (Result.REFUSED, [], 0)
    assert answer.message == "not elevated: its use of the approval cannot be kept (no space left on device)"
    desk.disk.full = False
    assert (await desk.ask()).result is Result.ELEVATED


async def test_too_many_uses_that_wait_stop_the_next(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MOST_WAITING", 2)
    desk.holds(asking(grant()))
    assert await results(desk, 3) == [Result.ELEVATED, Result.ELEVATED, Result.REFUSED]
    await report(desk)
    assert (await desk.ask()).result is Result.ELEVATED


async def test_a_use_counts_on_after_the_server_took_it_in_and_before_the_document_says_so(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=3)))
    await desk.ask()
    await report(desk)
    assert left(desk) == (2,)
    await desk.ask()
    desk.holds(asking(grant(uses_left=2)))  # the server knows one of two
    assert left(desk) == (1,)
    desk.holds(asking(grant(uses_left=1)))
    assert (left(desk), left(restarted(desk))) == ((1,), (1,))


async def test_a_server_that_forgot_uses_gives_none_back(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=1)))
    await desk.ask()
    await report(desk)
    desk.holds(asking())
    desk.holds(asking(grant(uses_left=1)))
    assert left(desk) == (0,)


async def test_a_document_that_knows_more_uses_than_the_device_counts(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=3)))
    await desk.ask()
    desk.holds(asking(grant(uses_left=1)))
    assert left(desk) == (1,)


async def test_a_grant_that_the_document_does_not_hold_any_more_is_over_at_once(desk: Desk) -> None:
    desk.holds(asking(grant()))
    desk.holds(asking())
    assert (await desk.ask()).result is Result.APPROVAL_REQUIRED


async def test_a_grant_ends_by_the_wall_clock(desk: Desk) -> None:
    desk.holds(asking(grant()))
    desk.clock.wall = NOW + LASTS
    assert (await desk.ask()).result is Result.APPROVAL_REQUIRED


async def test_a_clock_that_is_set_back_makes_no_grant_longer(desk: Desk) -> None:
    desk.holds(asking(grant()))
    desk.clock.goes_on(LASTS - HOUR)
    desk.clock.wall -= HOUR
    assert (await desk.ask()).result is Result.ELEVATED
    desk.clock.goes_on(HOUR)
    assert (await desk.ask()).result is Result.APPROVAL_REQUIRED


async def test_nor_does_a_restart_of_the_agent_after_it(desk: Desk) -> None:
    desk.holds(asking(grant()))
    desk.clock.goes_on(LASTS - HOUR)
    desk.clock.wall -= HOUR
    after = restarted(desk)
    desk.clock.goes_on(HOUR)
    assert left(after) == ()


@pytest.mark.parametrize("set_back", [timedelta(0), HOUR], ids=["right clock", "clock set back"])
async def test_after_a_restart_of_the_machine_no_more_is_left_than_before(desk: Desk, set_back: timedelta) -> None:
    desk.holds(asking(grant()))
    desk.clock.goes_on(LASTS - HOUR)
    desk.office.rest()
    clock = FakeMoments(desk.clock.wall - set_back)
    clock.since_boot = timedelta(minutes=1)
    after = restarted(desk, boot_id="another", clock=clock)
    clock.goes_on(HOUR - timedelta(seconds=1))
    assert left(after) == (None,)
    clock.goes_on(timedelta(seconds=1))
    assert left(after) == ()


async def test_a_restart_of_the_machine_does_not_end_what_the_clock_still_allows(desk: Desk) -> None:
    desk.holds(asking(grant()))
    clock = FakeMoments(NOW + HOUR)
    clock.since_boot = timedelta(minutes=1)
    assert left(restarted(desk, boot_id="another", clock=clock)) == (None,)


async def test_a_clock_that_is_slow_makes_users_wait_for_nothing_and_no_grant_longer(desk: Desk) -> None:
    desk.clock.wall = NOW - HOUR
    # The manifest was signed at NOW by the server's clock: the grant has begun, and eight hours are left and not nine.
    desk.holds(asking(grant()))
    assert (await desk.ask()).result is Result.ELEVATED
    desk.clock.goes_on(LASTS)
    assert left(desk) == ()


async def test_a_grant_that_has_begun_by_no_clock_is_waited_for(desk: Desk) -> None:
    desk.holds(asking(grant(not_before=NOW + HOUR)))
    assert (await desk.ask()).result is Result.APPROVAL_REQUIRED
    desk.clock.goes_on(HOUR)
    assert (await desk.ask()).result is Result.ELEVATED


def test_a_damaged_ledger_is_set_aside_and_grants_with_a_number_count_as_used_up(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=5), grant("request-2", uses_left=None)))
    path = desk.folder / ledgers.LEDGER
    path.write_bytes(path.read_bytes().replace(b"request-1", b"request-9"))
    after = restarted(desk)
    assert [(found.id, found.uses_left) for found in after.office.grants()] == [("request-2", None)]
    assert after.problems == [
        "grants.json was damaged; it is kept as grants.json.damaged; grants with a number of uses count as used up"
    ]
    assert [found.id for found in restarted(after).office.grants()] == ["request-2"]
    after.holds(asking(grant("request-3", uses_left=1, not_before=NOW + timedelta(seconds=1))))
    assert [found.id for found in after.office.grants()] == ["request-3"]


def test_a_damaged_ledger_that_cannot_be_replaced_refuses_the_start_and_stays(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=5)))
    path = desk.folder / ledgers.LEDGER
    path.write_bytes(damaged := path.read_bytes()[:-9])
    full = FakeDisk()
    full.full = True
    with pytest.raises(StateError, match="is damaged and cannot be set aside"):
        Desk(desk.folder, house=desk.house, disk=full)
    assert path.read_bytes() == damaged
    assert left(restarted(desk)) == ()


async def test_grants_that_are_over_for_long_are_forgotten_but_not_uses_that_wait(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=2), grant("request-2")))
    await desk.ask()
    desk.clock.goes_on(LASTS + ledgers.FORGOTTEN_AFTER)
    desk.holds(asking())
    kept = (desk.folder / ledgers.LEDGER).read_text(encoding="utf-8")
    used = desk.office.shown()["waiting"]
    assert (used, "request-1" in kept or "request-2" in kept) == (1, True)
    await report(desk)
    desk.holds(asking())
    kept = (desk.folder / ledgers.LEDGER).read_text(encoding="utf-8")
    assert "request-" not in kept


async def test_the_ledger_is_private(desk: Desk) -> None:
    desk.holds(asking(grant()))
    assert (desk.folder / ledgers.LEDGER).stat().st_mode & 0o777 == 0o600


async def report(desk: Desk, link: Link | None = None) -> None:
    await reporter(desk).session(link or Link("uses"))


def reporter(desk: Desk) -> UseReporter:
    return desk.office.reporter


async def test_uses_that_the_server_did_not_take_in_are_told_again(desk: Desk) -> None:
    desk.holds(asking(grant()))
    await desk.ask()
    desk.server.fault = SessionError("gone")
    with pytest.raises(SessionError):
        await report(desk)
    assert waiting(desk) == 1
    desk.server.fault = None
    await report(desk)
    assert (waiting(desk), len(desk.server.reported)) == (0, 1)


async def test_uses_are_told_in_messages_that_the_server_takes(desk: Desk) -> None:
    desk.holds(asking(grant()))
    await results(desk, MOST_AT_ONCE + 1)
    await report(desk)
    await report(desk)
    assert [len(message.uses) for message in desk.server.reported] == [MOST_AT_ONCE, 1]
    assert waiting(desk) == 0


async def test_a_use_is_told_as_soon_as_it_is_made(desk: Desk) -> None:
    desk.holds(asking(grant()))
    session = asyncio.create_task(report(desk))
    await asyncio.wait_for(desk.ask(), 20)
    await asyncio.wait_for(session, 20)
    assert len(desk.server.reported) == 1


async def test_what_waits_is_reported_soon_after_the_device_speaks_to_the_server_again(desk: Desk) -> None:
    desk.holds(asking(grant()))
    await desk.ask()
    desk.server.fault = SessionError("gone")
    reporting = asyncio.create_task(desk.office.report())
    await asyncio.wait_for(desk.delays.waiting.acquire(), 20)
    desk.server.fault = None
    desk.office.report_soon()
    await asyncio.wait_for(desk.server.told.wait(), 20)
    assert len(desk.server.reported) == 1
    reporting.cancel()
    await asyncio.gather(reporting, return_exceptions=True)


async def test_a_power_cut_gives_back_no_more_than_since_the_last_note(desk: Desk) -> None:
    desk.holds(asking(grant()))
    noting = asyncio.create_task(desk.office.note())
    await asyncio.wait_for(desk.delays.waiting.acquire(), 20)
    desk.clock.goes_on(LASTS - HOUR)
    desk.delays.go_on()
    await asyncio.wait_for(desk.delays.waiting.acquire(), 20)
    noting.cancel()
    await asyncio.gather(noting, return_exceptions=True)
    clock = FakeMoments(NOW)
    after = restarted(desk, boot_id="another", clock=clock)
    assert left(after) == (None,)
    clock.goes_on(HOUR)
    assert (left(after), desk.delays.pauses) == ((), [NOTE_SECONDS, NOTE_SECONDS])


def test_a_clock_that_was_set_forward_for_a_while_gives_no_use_back(desk: Desk) -> None:
    desk.holds(asking(grant(uses_left=1)))
    desk.office.use("request-1", "attempt")
    desk.clock.wall += LASTS + 2 * ledgers.FORGOTTEN_AFTER
    desk.office.policy_changed()
    desk.clock.wall = NOW
    assert left(desk) == (0,)


def test_a_grant_whose_time_ends_between_decision_and_use_is_not_used(desk: Desk) -> None:
    desk.holds(asking(grant()))
    desk.clock.wall = NOW + LASTS
    with pytest.raises(ledgers.UseError, match="the approval is used up or over"):
        desk.office.use("request-1", "attempt")
    assert waiting(desk) == 0
