"""What never came and what agents say of themselves is shown, and every list of the intake can be narrowed: on both databases."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from epm.reporting.v1 import intake_pb2
from tests.builders.intakeoffice import IntakeOffice, open_intake, poison, walk
from tests.builders.refusals import refusal_of
from tests.fakes.clock import NOW
from tests.fakes.reporting import decided, diagnostic, uuid7


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[IntakeOffice]:
    async with open_intake(database_url, tmp_path) as opened:
        yield opened


async def test_gaps_are_shown_and_what_comes_late_is_taken_out_again(office: IntakeOffice) -> None:
    ask = office.caller()
    await office.send(decided(1), first=1)
    await office.send(decided(2), first=10)
    office.clock.advance(timedelta(minutes=1))
    await office.send(decided(3), first=1, device="d2", journal="other")
    await office.send(decided(4), first=5, device="d2", journal="other")

    async def shown() -> list[tuple[str, str, int, int]]:
        found = await walk(ask, "ListGaps")
        return [(one.device_id, one.journal_id, one.first_seq, one.last_seq) for one in found]

    assert await shown() == [("d2", "other", 2, 4), ("d1", "journal-1", 2, 9)]
    await office.send(decided(5), first=6)
    assert await shown() == [("d1", "journal-1", 2, 5), ("d1", "journal-1", 7, 9), ("d2", "other", 2, 4)]
    await office.send(*(decided(number) for number in range(20, 24)), first=2)
    await office.send(*(decided(number) for number in range(30, 33)), first=7)
    assert await shown() == [("d2", "other", 2, 4)]


async def test_a_gap_that_is_filled_by_a_dead_letter_is_a_letter_and_no_gap(office: IntakeOffice) -> None:
    ask = office.caller()
    await office.send(decided(1), first=1)
    await office.send(decided(3), first=3)
    await office.send(poison(2), first=2)
    assert await walk(ask, "ListGaps") == []
    assert [one.seq for one in await walk(ask, "ListDeadLetters")] == [2]


async def test_diagnostics_are_shown_by_code_and_losses_with_how_many(office: IntakeOffice) -> None:
    lost = diagnostic(1, "EVENTS_LOST", message="the disk was full", count=12, first_seq=3, last_seq=14)
    await office.send(lost, diagnostic(2, "CLOCK_STEPPED"), diagnostic(3, "CLOCK_STEPPED"), name="ws-17")
    ask = office.caller()
    (found,) = await walk(ask, "ListDiagnostics", codes=["EVENTS_LOST"])
    assert (found.event_id, found.device_id, found.device_name) == (uuid7(1), "d1", "ws-17")
    assert found.diagnostic == lost.diagnostic
    assert [one.event_id for one in await walk(ask, "ListDiagnostics")] == [uuid7(3), uuid7(2), uuid7(1)]
    assert len(await walk(ask, "ListDiagnostics", codes=["EVENTS_LOST", "CLOCK_STEPPED"])) == 3


async def test_lists_narrow_by_device_and_by_time(office: IntakeOffice) -> None:
    for hour, device in enumerate(("d1", "d2", "d1")):
        await office.send(
            poison(hour + 1), decided(hour + 10), diagnostic(hour + 20), device=device, journal=f"j{hour}", first=5
        )
        office.clock.advance(timedelta(hours=1))
    ask = office.caller()
    span = intake_pb2.IntakeFilter()
    span.received_from.FromDatetime(NOW + timedelta(hours=1))
    span.received_before.FromDatetime(NOW + timedelta(hours=2))
    for rpc in ("ListDeadLetters", "ListGaps", "ListDiagnostics"):
        assert [one.device_id for one in await walk(ask, rpc, filter=span)] == ["d2"]
        only = intake_pb2.IntakeFilter(device_ids=["d1", "d9"])
        assert [one.device_id for one in await walk(ask, rpc, filter=only)] == ["d1", "d1"]


@pytest.mark.parametrize("rpc", ["ListDeadLetters", "ListGaps", "ListDiagnostics"])
async def test_all_problems_of_a_list_are_told_at_once(office: IntakeOffice, rpc: str) -> None:
    ask = office.caller()
    asked = intake_pb2.IntakeFilter(device_ids=["\0"])
    asked.received_from.seconds, asked.received_before.nanos = 2**40, -1
    refused = await refusal_of(ask(rpc, filter=asked, page_size=-1))
    assert refused.fields == {"filter.device_ids", "filter.received_from", "filter.received_before", "page_size"}
    asked = intake_pb2.IntakeFilter(device_ids=[str(number) for number in range(101)])
    asked.received_from.seconds = asked.received_before.seconds = 1
    refused = await refusal_of(ask(rpc, filter=asked, page_token="x"))
    assert refused.fields == {"filter.device_ids", "filter.received_before", "page_token"}
