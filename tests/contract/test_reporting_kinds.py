"""Consumers of exports get completions and diagnostics in one order with attempts: on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import export_pb2, reports_pb2
from services.reporting.exporting import MOST_UNDER_WAY
from services.reporting.model.live import ATTEMPT, COMPLETION, DIAGNOSTIC, Cursor
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store import tables
from services.reporting.store.stored import SqlStored
from tests.builders.exportoffice import Office, open_office
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, completed, decided, diagnostic, enrolled

ALL = (export_pb2.EVENT_KIND_ATTEMPT, export_pb2.EVENT_KIND_COMPLETION, export_pb2.EVENT_KIND_DIAGNOSTIC)
KINDS = frozenset({ATTEMPT, COMPLETION, DIAGNOSTIC})
HOUR = timedelta(hours=1)
numbers = count(1000)


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(database_url, tmp_path) as opened:
        yield opened


async def send(office: Office, *events: event_pb2.ElevationEvent, first: int, device: str = "d1") -> None:
    """Store events in one transaction."""
    await office.sink.store([batch(events, first=first, device=device)])


async def test_every_kind_comes_in_the_order_in_which_it_was_stored_and_once(office: Office) -> None:
    await send(office, decided(1), first=1)
    await send(office, completed(2, "attempt-1", exit_code=3), first=2)
    await send(office, diagnostic(3, "CLOCK_STEPPED"), first=3)
    await send(office, decided(4), completed(5, "attempt-4"), diagnostic(6, "EVENTS_LOST", count=7), first=4)
    expected = ["attempt-1", "end of attempt-1", "CLOCK_STEPPED", "attempt-4", "end of attempt-4", "EVENTS_LOST"]
    token = office.reader()
    async with office.stream(token) as consumer:
        await consumer.hello(kinds=ALL)
        assert await consumer.read_all(2) == expected[:2]
        await consumer.acknowledge()
        await consumer.leave()
    async with office.stream(token) as consumer:
        await consumer.hello(kinds=ALL)
        assert sorted(await consumer.read_all(2)) == sorted(expected[2:4])
        assert await consumer.read_all(2) == expected[4:]


async def test_what_a_consumer_does_not_take_is_not_handed_over(office: Office) -> None:
    await send(office, decided(1), completed(2, "attempt-1"), diagnostic(3, "CLOCK_STEPPED"), first=1)
    for number, (kinds, expected) in enumerate(
        (
            ((), ["attempt-1"]),
            (ALL[:1], ["attempt-1"]),
            (ALL[1:2], ["end of attempt-1"]),
            (ALL[2:], ["CLOCK_STEPPED"]),
            (ALL[1:], ["end of attempt-1", "CLOCK_STEPPED"]),
        )
    ):
        async with office.stream(office.reader()) as consumer:
            await consumer.hello(f"siem-{number}", kinds=kinds)
            assert await consumer.read_all(len(expected)) == expected
            await consumer.acknowledge()
            await consumer.leave()


async def test_kinds_that_are_not_known_are_refused_with_everything_else_that_is_wrong(office: Office) -> None:
    for kinds in ([0], [99], [*ALL, 99]):
        async with office.stream(office.reader()) as consumer:
            await consumer.hello("", reports_pb2.ElevationFilter(users=["\0"]), kinds)
            assert (await consumer.refusal()).fields == {"hello.consumer", "hello.kinds", "filter.users"}


async def test_what_is_told_of_a_completion_and_of_a_diagnostic_is_whole(office: Office) -> None:
    lost = diagnostic(2, "EVENTS_LOST", message="the disk was full", count=12, first_seq=3, last_seq=14)
    await send(office, decided(3), first=9)
    completion = completed(1, "attempt-3", exit_code=-7)
    await send(office, completion, lost, first=1)
    async with office.stream(office.reader()) as consumer:
        await consumer.hello(kinds=ALL[1:])
        message = await consumer.call.read()
        while not message.completions:
            message = await consumer.call.read()
    (end,), (said,) = message.completions, message.diagnostics
    assert (end.attempt_id, end.exit_code, end.device_id, end.device_name) == ("attempt-3", -7, "d1", "name-of-d1")
    assert end.event_id == completion.event_id
    assert (said.event_id, said.device_id, said.device_name) == (lost.event_id, "d1", "name-of-d1")
    assert said.diagnostic == lost.diagnostic
    for told in (end, said):
        assert told.occurred.ToDatetime(NOW.tzinfo) == NOW
        assert told.received.ToDatetime(NOW.tzinfo) == NOW + timedelta(seconds=1)


async def test_only_events_of_visible_devices_are_handed_over_whatever_their_kind(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    for number, device in ((1, "d1"), (4, "d2")):
        name = f"attempt-{number}"
        events = (decided(number), completed(number + 1, name), diagnostic(number + 2, device.upper()))
        await send(office, *events, first=1, device=device)
    async with office.stream(office.reader("siem", "apac")) as consumer:
        await consumer.hello(kinds=ALL)
        assert await consumer.read_all(3) == ["attempt-4", "end of attempt-4", "D2"]


async def test_a_filter_narrows_completions_to_those_of_its_attempts_and_diagnostics_by_device_and_time(
    office: Office,
) -> None:
    await send(office, decided(1, user="alice"), decided(2, user="bob"), first=1)
    await send(office, completed(3, "attempt-1"), completed(4, "attempt-2"), diagnostic(5, "HERE"), first=3)
    # Another device speaks of an attempt that is not its own.
    await send(office, completed(6, "attempt-1"), diagnostic(7, "THERE"), first=1, device="d2")
    asked = reports_pb2.ElevationFilter(users=["alice"], devices=["name-of-d1"])
    asked.occurred_from.FromDatetime(NOW - HOUR)
    async with office.stream(office.reader()) as consumer:
        await consumer.hello("by-user", asked, ALL)
        await send(office, decided(8, user="alice"), first=20)
        assert sorted(await consumer.read_all(4)) == ["HERE", "attempt-1", "attempt-8", "end of attempt-1"]
    asked = reports_pb2.ElevationFilter(device_ids=["d2"])
    asked.occurred_from.FromDatetime(NOW - HOUR)
    asked.occurred_before.FromDatetime(NOW + HOUR)
    async with office.stream(office.reader()) as consumer:
        await consumer.hello("by-device", asked, ALL)
        await send(office, decided(9), first=30, device="d2")
        assert sorted(await consumer.read_all(2)) == ["THERE", "attempt-9"]
    asked.occurred_before.FromDatetime(NOW)
    async with office.stream(office.reader()) as consumer:
        await consumer.hello("before", asked, ALL)
        await send(office, decided(10, at=NOW - timedelta(minutes=1)), first=40, device="d2")
        assert await consumer.read_all(1) == ["attempt-10"]


async def test_a_group_of_devices_narrows_every_kind(office: Office) -> None:
    await send(office, decided(1), completed(2, "attempt-1"), diagnostic(3, "HERE"), first=1)
    await send(office, decided(4), completed(5, "attempt-4"), diagnostic(6, "THERE"), first=1, device="d2")
    for group, expected in (
        ("lab", ["THERE", "attempt-4", "end of attempt-4"]),
        ("all-devices", ["HERE", "THERE", "attempt-1", "attempt-4", "end of attempt-1", "end of attempt-4"]),
    ):
        asked = reports_pb2.ElevationFilter(device_groups=[group])
        asked.occurred_from.FromDatetime(NOW - HOUR)
        async with office.stream(office.reader()) as consumer:
            await consumer.hello(f"of {group}", asked, ALL)
            await send(office, diagnostic(next(numbers), "LAST"), first=next(numbers), device="d2")
            found = await consumer.read_all(len(expected) + 1)
            assert sorted({*found} - {"LAST"}) == expected


async def test_a_completion_comes_though_its_attempt_never_did(office: Office) -> None:
    async with office.stream(office.reader()) as consumer:
        await consumer.hello(asked=reports_pb2.ElevationFilter(), kinds=ALL)
        await consumer.read_all(0)
        await send(office, completed(1, "attempt-of-a-lost-journal"), first=1)
        assert await consumer.read_all(1) == ["end of attempt-of-a-lost-journal"]


async def test_events_of_several_kinds_at_one_place_are_never_parted(office: Office) -> None:
    """A cursor stands behind a place: what has the same one comes with it, or would never come."""
    await office.sink.store(
        [
            batch([decided(1), decided(2)], first=1),
            batch([completed(3, "attempt-1"), completed(4, "attempt-2")], first=1),
            batch([diagnostic(5, "A"), diagnostic(6, "B")], first=1),
        ]
    )
    async with office.stream(office.reader()) as consumer:
        await consumer.hello(kinds=ALL)
        assert sorted(await consumer.read_all(3)) == ["A", "attempt-1", "end of attempt-1"]
        assert sorted(await consumer.read_all(3)) == ["B", "attempt-2", "end of attempt-2"]


async def test_a_consumer_of_before_goes_on_behind_its_cursor_with_every_kind(office: Office) -> None:
    """What was stored before it was numbered comes before everything, as attempts did."""
    await send(office, decided(1), completed(2, "attempt-1"), first=1)
    async with office.database.transaction() as tx:
        await tx.execute(sa.update(tables.COMPLETION).values(stored=0))
    token = office.reader()
    await office.consumers.begin("user:siem", "siem", Cursor.behind(1))
    await send(office, decided(3), completed(4, "attempt-3"), first=3)
    async with office.stream(token) as consumer:
        await consumer.hello(kinds=ALL)
        assert await consumer.read_all(2) == ["attempt-3", "end of attempt-3"]
    async with office.stream(token) as consumer:
        await consumer.hello("new", kinds=ALL)
        assert sorted(await consumer.read_all(4)) == [
            "attempt-1",
            "attempt-3",
            "end of attempt-1",
            "end of attempt-3",
        ]


async def test_what_is_not_acknowledged_counts_whatever_its_kind(office: Office) -> None:
    for number in range(1, 2 * MOST_UNDER_WAY + 3):
        await send(office, diagnostic(number, f"CODE-{number}"), first=number)
    async with office.stream(office.reader()) as consumer:
        await consumer.hello(kinds=ALL)
        assert len(await consumer.read_all(2 * MOST_UNDER_WAY)) == 2 * MOST_UNDER_WAY
        more = asyncio.ensure_future(consumer.read_all(1))
        await asyncio.wait([more], timeout=0.5)
        assert not more.done()
        await consumer.acknowledge()
        assert await more == [f"CODE-{2 * MOST_UNDER_WAY + 1}", f"CODE-{2 * MOST_UNDER_WAY + 2}"]


async def test_watching_stays_about_attempts(office: Office) -> None:
    await send(office, decided(1), completed(2, "attempt-1"), diagnostic(3), first=1)
    passage = await office.stored.passage(Question(ElevationFilter(), None), Cursor())
    assert (len(passage.elevations), passage.completions, passage.statements) == (1, (), ())


EVENTS = st.lists(st.lists(st.sampled_from("acd"), min_size=1, max_size=6), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=EVENTS, most=st.integers(1, 4), positions=st.integers(1, 3))
async def test_a_walk_over_all_kinds_leaves_nothing_out_and_tells_nothing_twice(
    office: Office, groups: list[list[str]], most: int, positions: int
) -> None:
    cursor, expected = Cursor.behind(await office.stored.newest()), []
    for group in groups:
        events = []
        for kind in group:
            number = next(numbers)
            made = {
                "a": decided(number),
                "c": completed(number, f"attempt-{number}"),
                "d": diagnostic(number, f"C{number}"),
            }
            events.append(made[kind])
        await office.sink.store([batch(events, journal=f"journal-{next(numbers)}")])
        expected += [event.event_id for event in events]
    reader = SqlStored(office.database, most_events=most, most_positions=positions)
    told: list[str] = []
    more = True
    while more:
        passage = await reader.passage(Question(ElevationFilter(), None), cursor, KINDS)
        cursor, more = passage.cursor, passage.more
        found = {one.attempt_id.removeprefix("attempt-") for one in passage.elevations}
        found |= {one.attempt_id.removeprefix("attempt-") for one in passage.completions}
        found |= {one.code.removeprefix("C") for one in passage.statements}
        told += [f"01930000-0000-7000-8000-{int(number):012x}" for number in sorted(found, key=int)]
    assert told == expected


async def test_a_walk_begins_with_the_first_event_of_its_kinds_that_occurred_since(office: Office) -> None:
    await send(office, completed(1, "attempt-0", at=NOW - 2 * HOUR), first=1)
    await send(office, decided(2, at=NOW - 2 * HOUR), first=2)
    await send(office, completed(3, "attempt-2", at=NOW), first=3)
    asked = Question(ElevationFilter(occurred_from=NOW - HOUR), None)
    assert await office.stored.before(asked, frozenset({ATTEMPT})) == Cursor.behind(3)
    assert await office.stored.before(asked, KINDS) == Cursor(3)
    earlier = Question(ElevationFilter(occurred_from=NOW - 3 * HOUR), None)
    assert await office.stored.before(earlier, KINDS) == Cursor(1)
