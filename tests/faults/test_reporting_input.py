"""Events as they should not come: whatever one device sends, its other events and those of others are stored once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import grpc.aio
import pytest

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2
from services._chassis.paging import PageRequest
from services.reporting.codec.intake import again
from services.reporting.intake import Retries
from services.reporting.model.events import LARGEST_EVENT, Batch
from services.reporting.model.intake import IntakeFilter, IntakeQuestion, LetterBody
from services.reporting.model.reports import Elevation, ElevationFilter, Question
from services.reporting.store.intake import SqlIntake
from services.reporting.store.reports import SqlReports
from tests.builders import wirebytes
from tests.builders.counts import check
from tests.builders.ingest import Ingest, open_ingest
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.reporting import completed, decided, diagnostic, uuid7

EVERYTHING = Question(ElevationFilter(), None)
HOUR = timedelta(hours=1)
BROKEN = b"caf\xe9"
"""Latin-1, which is no UTF-8."""


@pytest.fixture
async def ingest(database_url: str, tmp_path: Path) -> AsyncIterator[Ingest]:
    async with open_ingest(database_url, tmp_path) as made:
        yield made


def ids(*numbers: int) -> list[str]:
    return [uuid7(number) for number in numbers]


def with_broken_user(number: int) -> bytes:
    """Return an event whose user is no UTF-8, as a library that does not look would send it."""
    return decided(number, user="cafe").SerializeToString().replace(b"cafe", BROKEN)


async def acknowledged(call: "grpc.aio.StreamStreamCall[bytes, bytes]", through: int) -> list[agent_pb2.RejectedEvent]:
    """Return what was rejected of everything up to this number."""
    rejected: list[agent_pb2.RejectedEvent] = []
    while True:
        read = await call.read()
        assert isinstance(read, bytes), await call.details()
        ack = agent_pb2.StreamEventsResponse.FromString(read).ack
        rejected += ack.rejected
        if ack.committed_through >= through:
            return rejected


async def test_batches_that_come_twice_and_in_any_order_are_stored_once_and_leave_no_gap(ingest: Ingest) -> None:
    events = [decided(1), completed(2, "attempt-1"), decided(3), diagnostic(4), decided(5), decided(6)]
    async with ingest.stream() as stream:
        for first, last in ((5, 6), (1, 2), (3, 4), (1, 6), (2, 5)):
            await stream.send(events[first - 1 : last], first=first)
        for _ in range(2):
            await stream.acknowledged(6)
    assert await ingest.report(events[3:], first=4) == []
    assert await ingest.stored() == ids(1, 2, 3, 4, 5, 6)
    assert (await ingest.gaps(), await ingest.dead_letters()) == ([], [])
    await check(ingest.database)


async def test_a_gap_is_noted_holds_up_nothing_and_closes_when_its_events_come_late(ingest: Ingest) -> None:
    assert await ingest.report([decided(1), decided(2)]) == []
    assert await ingest.report([decided(6), decided(7)], first=6) == []
    assert await ingest.gaps() == [(3, 5)]
    assert await ingest.report([decided(4)], first=4) == []
    assert await ingest.gaps() == [(3, 3), (5, 5)]
    assert await ingest.report([decided(3), decided(4), decided(5)], first=3) == []
    assert (await ingest.gaps(), await ingest.stored()) == ([], ids(1, 2, 3, 4, 5, 6, 7))


@pytest.mark.parametrize(
    ("occurred", "taken"),
    [
        (NOW + 23 * HOUR, True),
        (NOW + 25 * HOUR, False),
        (datetime.max.replace(tzinfo=NOW.tzinfo), False),
    ],
    ids=["an hour less than a day ahead", "more than a day ahead", "at the end of time"],
)
async def test_an_event_from_the_future_is_kept_apart_and_its_neighbours_are_stored(
    ingest: Ingest, occurred: datetime, *, taken: bool
) -> None:
    sent = [decided(1), decided(2, at=occurred), decided(3)]
    assert await ingest.report(sent) == ([] if taken else [2])
    assert await ingest.stored() == (ids(1, 2, 3) if taken else ids(1, 3))
    assert [(seq, body) for seq, _, body in await ingest.dead_letters()] == (
        [] if taken else [(2, sent[1].SerializeToString())]
    )


async def test_an_event_from_before_the_enrolment_is_stored_and_reported_under_its_own_time(ingest: Ingest) -> None:
    # A device that was enrolled anew, or whose clock was wrong, has true events from before; reports are about then.
    long_ago = NOW - timedelta(days=20)
    assert await ingest.report([decided(1, at=long_ago), decided(2)]) == []
    reports = SqlReports(ingest.database)
    then = Question(ElevationFilter(occurred_before=NOW - timedelta(days=19)), None)
    assert [one.occurred for one in (await reports.elevations(then, PageRequest(10))).items] == [long_ago]
    assert (await reports.summary(EVERYTHING)).total == 2


async def test_an_event_of_another_device_stays_that_devices_and_is_kept_apart_here(ingest: Ingest) -> None:
    assert await ingest.report([decided(1), decided(2)], device="d1") == []
    assert await ingest.report([decided(3), decided(1, user="mallory"), decided(4)], device="d2") == [2]
    owners = {one.event_id: one.device_id for one in await elevations(ingest)}
    assert owners == dict(zip(ids(1, 2, 3, 4), ("d1", "d1", "d2", "d2"), strict=True))
    assert [(seq, reason) for seq, reason, _ in await ingest.dead_letters()] == [(2, "another event has this id")]
    await check(ingest.database)


async def test_a_completion_of_another_device_ends_no_attempt(ingest: Ingest) -> None:
    await ingest.report([decided(1)], device="d1")
    await ingest.report([completed(2, "attempt-1", exit_code=9)], device="d2")
    assert [one.exit_code for one in await elevations(ingest)] == [None]


async def test_oversized_fields_are_kept_apart_whole_and_their_neighbours_are_stored(ingest: Ingest) -> None:
    sent = [
        decided(1),
        decided(2, user="u" * 257),
        decided(3, arguments=["a" * LARGEST_EVENT]),
        decided(4, file={"company_name": "c" * 1025}),
        decided(5, attempt="a" * 65),
        decided(6, arguments=["a" * (LARGEST_EVENT // 2)]),
    ]
    assert await ingest.report(sent) == [2, 3, 4, 5]
    assert await ingest.stored() == ids(1, 6)
    assert [(seq, body) for seq, _, body in await ingest.dead_letters()] == [
        (seq, sent[seq - 1].SerializeToString()) for seq in (2, 3, 4, 5)
    ]


async def test_an_event_that_is_no_utf_8_is_kept_apart_and_blocks_nothing(ingest: Ingest) -> None:
    broken = with_broken_user(2)
    events = [decided(1).SerializeToString(), broken, decided(3).SerializeToString()]
    async with ingest.bytes_stream() as call:
        await call.write(wirebytes.request([wirebytes.entry(seq, one) for seq, one in enumerate(events, 1)]))
        (rejected,) = await acknowledged(call, 3)
        await call.write(wirebytes.request([wirebytes.entry(4, decided(4).SerializeToString())]))
        assert await acknowledged(call, 4) == []
    assert (rejected.seq, rejected.reason) == (2, "the event is no message, or holds a text that is not UTF-8")
    assert await ingest.stored() == ids(1, 3, 4)
    assert [(seq, body) for seq, _, body in await ingest.dead_letters()] == [(2, broken)]
    assert await ingest.gaps() == []


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x7fshort", b"\x32"], ids=["noise", "cut off", "empty"])
async def test_an_event_that_is_no_message_is_kept_apart_and_blocks_nothing(ingest: Ingest, garbage: bytes) -> None:
    events = [garbage, decided(2).SerializeToString()]
    async with ingest.bytes_stream() as call:
        await call.write(wirebytes.request([wirebytes.entry(seq, one) for seq, one in enumerate(events, 1)]))
        assert [one.seq for one in await acknowledged(call, 2)] == [1]
    assert await ingest.stored() == ids(2)
    assert [(seq, body) for seq, _, body in await ingest.dead_letters()] == [(1, garbage)]


async def test_a_batch_of_ten_thousand_events_is_stored_whole_where_the_credit_allows_it(
    database_url: str, tmp_path: Path
) -> None:
    many = [decided(number, at=NOW - number * timedelta(minutes=1)) for number in range(1, 10_001)]
    many[4999] = decided(5000, user="")
    async with open_ingest(database_url, tmp_path, credit=10_000) as ingest:
        assert await ingest.report(many) == [5000]
        assert await ingest.report(many[9990:], first=9991) == []
        assert len(await ingest.stored()) == 9999
        await check(ingest.database)


async def test_a_batch_of_ten_thousand_events_is_refused_whole_where_the_credit_is_less(ingest: Ingest) -> None:
    async with ingest.stream() as stream:
        await stream.send([decided(number) for number in range(1, 10_001)])
        code, text = await stream.failure()
    assert code == "INVALID_ARGUMENT"
    assert "events in flight; wait for the ack" in text
    assert await ingest.stored() == []


async def test_a_poison_event_in_the_middle_is_kept_apart_and_everything_else_is_stored(ingest: Ingest) -> None:
    poison: dict[int, event_pb2.ElevationEvent] = {
        40: decided(40, user="a\0b"),
        41: event_pb2.ElevationEvent(),
        89: decided(89, outcome=99),
    }
    sent = [poison.get(number) or decided(number) for number in range(1, 91)]
    for _ in range(2):  # whoever did not hear the answer sends it all again
        assert await ingest.report(sent) == sorted(poison)
    assert await ingest.stored() == ids(*(number for number in range(1, 91) if number not in poison))
    assert [seq for seq, _, _ in await ingest.dead_letters()] == sorted(poison)
    assert await ingest.gaps() == []


async def test_a_device_whose_clock_steps_back_and_forth_loses_no_event(ingest: Ingest) -> None:
    steps = (0, -48, 3, -24 * 300, 20, 0, -1)
    sent = [decided(number, at=NOW + step * HOUR) for number, step in enumerate(steps, 1)]
    assert await ingest.report(sent) == []
    found = [one.event_id for one in await elevations(ingest)]
    assert found == [uuid7(number) for number in (5, 3, 6, 1, 7, 2, 4)]
    assert (await SqlReports(ingest.database).summary(EVERYTHING)).total == len(steps)


async def test_a_server_whose_clock_is_behind_keeps_apart_what_it_takes_for_the_future_and_stores_it_once_it_is_right(
    database_url: str, tmp_path: Path
) -> None:
    clock = FakeClock(NOW - timedelta(days=3))
    async with open_ingest(database_url, tmp_path, clock=clock) as ingest:
        assert await ingest.report([decided(1)]) == [1]
        clock.advance(timedelta(days=3))
        assert await ingest.report([decided(2)], first=2) == []
        ((seq, reason, body),) = await ingest.dead_letters()
        assert (seq, body) == (1, decided(1).SerializeToString())
        assert "more than a day ahead of the server" in reason
        for stored in (1, 0):
            assert await retried(ingest) == (stored, [])
        assert (await ingest.stored(), await ingest.dead_letters()) == (ids(1, 2), [])
        await check(ingest.database)


async def test_what_cannot_be_read_stays_apart_with_its_reason_when_it_is_tried_again(ingest: Ingest) -> None:
    async with ingest.bytes_stream() as call:
        await call.write(wirebytes.request([wirebytes.entry(1, with_broken_user(1))]))
        await acknowledged(call, 1)
    assert await retried(ingest) == (0, ["the event is no message, or holds a text that is not UTF-8"])
    assert [body for _, _, body in await ingest.dead_letters()] == [with_broken_user(1)]


async def retried(ingest: Ingest) -> tuple[int, list[str]]:
    """Try all dead letters again; return how many are stored, and why the rest is not."""
    intake = SqlIntake(ingest.database)

    def read(found: LetterBody, received: int) -> tuple[Batch, str]:
        return again(found, "name-of-d1", received)

    asked = IntakeQuestion(IntakeFilter(), None)
    letters = (await intake.dead_letters(asked, PageRequest(100))).items
    if not letters:
        return 0, []
    retries = Retries(intake, ingest.sink.store, read, ingest.clock.now)
    done = await retries.retry([letter.letter_id for letter in letters], None)
    return done.stored, [letter.reason for letter in done.remaining]


async def test_what_others_send_meanwhile_is_stored_whatever_one_device_sends(ingest: Ingest) -> None:
    async def report(device: str, first: int) -> None:
        for number in range(first, first + 50):
            assert await ingest.report([decided(number)], device=device, first=number - first + 1) == []

    async def disturb() -> None:
        for number in range(20):
            async with ingest.bytes_stream("d3") as call:
                await call.write(b"\xff" if number % 2 else wirebytes.request([wirebytes.entry(0, BROKEN)]))
                with suppress(grpc.aio.AioRpcError):
                    await call.read()

    await asyncio.gather(report("d1", 1000), report("d2", 2000), disturb())
    assert await ingest.stored() == ids(*range(1000, 1050), *range(2000, 2050))


async def elevations(ingest: Ingest) -> list[Elevation]:
    page = await SqlReports(ingest.database).elevations(EVERYTHING, PageRequest(1000))
    return list(page.items)
