"""Refused calls are written down: every one counts, what waits is bounded, and nobody waits for it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from services._chassis.audit import Act, AuditEntry
from services._chassis.errors import UnavailableError
from services._chassis.refusal_writer import LARGEST_BATCH, RefusalWriter
from services._chassis.refusals import AUTHENTICATION_FAILED, CALL_DENIED, LONGEST_MESSAGE, Bounds, RefusalLog, Refused
from tests.fakes.clock import NOW, FakeClock

MINUTE = timedelta(minutes=1)
BOUNDS = Bounds(queue=50, apart=3, callers=20, origins=5)


class Desk:
    """A log, its writer, and the audit record that they fill."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self.clock = FakeClock()
        self.log = RefusalLog(bounds)
        self.written: list[AuditEntry] = []
        self.transactions = 0
        self.failing: Exception | None = None
        self.writer = RefusalWriter(self.log, self.write, self.clock.now)

    async def write(self, entries: Sequence[AuditEntry]) -> None:
        if self.failing:
            raise self.failing
        self.transactions += 1
        self.written += entries

    def deny(self, actor: str = "user:alice", *, method: str = "/a/B", reason: str = "RIGHT_MISSING") -> None:
        self.log.denied(self.refused(actor, method, reason))

    def fail(self, origin: str, reason: str = "TOKEN_UNKNOWN") -> None:
        self.log.failed(origin, self.refused("anonymous", "/a/B", reason, source=origin))

    def refused(self, actor: str, method: str, reason: str, source: str = "ipv4:192.0.2.1:5") -> Refused:
        act = Act(actor=actor, source=source, request_id="r-1", decision_id="d-1")
        return Refused(act=act, method=method, reason=reason, message="needs a right", at=self.clock.now())

    def counted(self, action: str = CALL_DENIED) -> int:
        return sum(int(entry.details["count"]) for entry in self.written if entry.action == action)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_refused_call_is_written_whole(desk: Desk) -> None:
    desk.deny()
    await desk.writer.write_due()
    assert desk.written == [
        AuditEntry(
            action="call_denied",
            target_kind="Method",
            target="/a/B",
            details={"count": "1", "reason": "RIGHT_MISSING", "message": "needs a right"},
            act=Act(actor="user:alice", source="ipv4:192.0.2.1:5", request_id="r-1", decision_id="d-1"),
            at=NOW,
        )
    ]


async def test_the_same_again_and_again_is_counted_together_until_the_minute_is_over(desk: Desk) -> None:
    for _ in range(10):
        desk.deny()
        desk.clock.advance(timedelta(seconds=1))
    await desk.writer.write_due()
    assert [entry.details["count"] for entry in desk.written] == ["1", "1", "1"]
    desk.clock.advance(MINUTE)
    await desk.writer.write_due()
    last = desk.written[-1]
    assert (last.details["count"], last.target, last.act and last.act.actor) == ("7", "/a/B", "user:alice")
    assert (last.details["first"], last.details["last"]) == ("2026-11-23T12:00:03+00:00", "2026-11-23T12:00:09+00:00")


async def test_a_new_minute_tells_calls_apart_again(desk: Desk) -> None:
    for _ in range(5):
        desk.deny()
    desk.clock.advance(MINUTE)
    desk.deny()
    await desk.writer.write_due()
    assert [entry.details["count"] for entry in desk.written] == ["1", "1", "1", "2", "1"]


@pytest.mark.parametrize("other", [{"actor": "user:bob"}, {"method": "/a/C"}, {"reason": "OBJECT_OUT_OF_SCOPE"}])
async def test_other_callers_methods_and_reasons_are_told_apart(desk: Desk, other: dict[str, str]) -> None:
    for _ in range(10):
        desk.deny()
    desk.deny(**other)
    await desk.writer.write_due()
    assert len(desk.written) == BOUNDS.apart + 1


async def test_however_many_callers_are_refused_what_waits_is_bounded_and_the_count_is_right(desk: Desk) -> None:
    most = BOUNDS.queue + BOUNDS.callers + 1
    for number in range(20_000):
        desk.deny(f"user:{number % 300}", method=f"/a/{number % 7}")
        assert desk.log.waiting <= most
    await desk.writer.close()
    assert desk.counted() == 20_000
    shared = [entry for entry in desk.written if not entry.target]
    assert [(entry.act, entry.details["reason"]) for entry in shared] == [(None, "RIGHT_MISSING")]


async def test_a_queue_that_stays_full_for_many_minutes_does_not_grow(desk: Desk) -> None:
    desk.failing = UnavailableError("no database")
    for number in range(2000):
        desk.deny(f"user:{number}", reason=f"REASON_{number % 3}")
        desk.fail(f"192.0.2.{number % 200}")
        desk.clock.advance(timedelta(seconds=7))
    assert desk.log.waiting <= BOUNDS.queue + BOUNDS.callers + BOUNDS.origins + 2
    desk.failing = None
    await desk.writer.close()
    assert (desk.counted(), desk.counted(AUTHENTICATION_FAILED)) == (2000, 2000)


async def test_failed_authentication_makes_one_record_for_each_origin_and_minute(desk: Desk) -> None:
    for _ in range(30):
        desk.fail("192.0.2.7")
        desk.fail("192.0.2.8", "TOKEN_EXPIRED")
    desk.fail("192.0.2.7", "TOKEN_MISSING")
    await desk.writer.write_due()
    assert desk.written == []
    desk.clock.advance(MINUTE)
    await desk.writer.write_due()
    told = [(entry.target, entry.details["count"], entry.details["reason"]) for entry in desk.written]
    assert told == [
        ("192.0.2.7", "31", "TOKEN_MISSING 1, TOKEN_UNKNOWN 30"),
        ("192.0.2.8", "30", "TOKEN_EXPIRED"),
    ]
    assert {entry.act and entry.act.actor for entry in desk.written} == {"anonymous"}


async def test_failures_of_more_origins_than_are_remembered_share_one_record(desk: Desk) -> None:
    for number in range(200):
        desk.fail(f"192.0.2.{number}")
    desk.clock.advance(MINUTE)
    await desk.writer.write_due()
    assert len(desk.written) == BOUNDS.origins + 1
    assert desk.counted(AUTHENTICATION_FAILED) == 200
    assert [entry.details["count"] for entry in desk.written if not entry.target] == ["195"]


async def test_a_batch_that_could_not_be_written_is_written_later(desk: Desk) -> None:
    desk.deny("user:first")
    desk.failing = UnavailableError("no database")
    with pytest.raises(UnavailableError):
        await desk.writer.write_due()
    desk.deny("user:second")
    desk.failing = None
    await desk.writer.write_due()
    assert [entry.act and entry.act.actor for entry in desk.written] == ["user:first", "user:second"]


async def test_records_are_written_in_batches() -> None:
    desk = Desk(Bounds())
    for number in range(2 * LARGEST_BATCH + 1):
        desk.deny(f"user:{number}")
    await desk.writer.write_due()
    assert (desk.transactions, len(desk.written)) == (3, 2 * LARGEST_BATCH + 1)


async def test_stopping_writes_also_what_is_still_being_counted(desk: Desk) -> None:
    for _ in range(10):
        desk.deny()
        desk.fail("192.0.2.7")
    await desk.writer.close()
    assert (desk.counted(), desk.counted(AUTHENTICATION_FAILED), desk.log.waiting) == (10, 10, 0)


@pytest.mark.parametrize("failure", [UnavailableError("no database"), sa.exc.NoResultFound()])
async def test_stopping_without_a_database_ends_all_the_same_and_says_what_is_lost(
    desk: Desk, failure: Exception
) -> None:
    desk.deny()
    desk.fail("192.0.2.7")
    desk.failing = failure
    with capture_logs() as logs:
        await desk.writer.close()
    assert [(line["event"], line["records"]) for line in logs] == [("refusals_not_written", 2)]


async def test_whatever_a_message_repeats_can_be_stored(desk: Desk) -> None:
    refused = desk.refused("user:alice", "/a/B", "OBJECT_OUT_OF_SCOPE")
    desk.log.denied(replace(refused, message='the group "\0\x1b[31m\udc00" ' + "x" * 1000))
    await desk.writer.write_due()
    (entry,) = desk.written
    assert entry.details["message"].startswith('the group "??[31m?" x')
    assert len(entry.details["message"]) == LONGEST_MESSAGE


async def test_the_worker_writes_as_soon_as_a_call_is_refused(desk: Desk) -> None:
    seen = asyncio.Event()

    async def write(_entries: Sequence[AuditEntry]) -> None:
        seen.set()

    working = asyncio.create_task(RefusalWriter(desk.log, write, desk.clock.now).run())
    desk.deny()
    await seen.wait()
    working.cancel()


async def test_what_is_being_written_when_the_worker_is_cancelled_is_written_once(desk: Desk) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def write(entries: Sequence[AuditEntry]) -> None:
        begun.set()
        await go_on.wait()
        desk.written += entries

    writer = RefusalWriter(desk.log, write, desk.clock.now)
    working = asyncio.create_task(writer.run())
    desk.deny()
    await begun.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    closing = asyncio.create_task(writer.close())
    go_on.set()
    await closing
    assert desk.counted() == 1
