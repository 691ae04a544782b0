"""What every sink of events promises: on memory, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.migrate import differences
from services._chassis.paging import PageRequest
from services.reporting.model.events import Rejection
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store import tables
from services.reporting.store.reports import SqlReports
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.clock import NOW
from tests.fakes.reporting import FakeSink, batch, completed, decided, diagnostic, unmanaged, uuid7

EVERYTHING = Question(ElevationFilter(), None)
numbers = iter(range(1_000_000, 2_000_000))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


async def attempts(database: Database) -> list[str]:
    page = await SqlReports(database).elevations(EVERYTHING, PageRequest(1000))
    return sorted(elevation.event_id for elevation in page.items)


async def rows(database: Database, table: sa.Table, *columns: str) -> list[tuple[object, ...]]:
    async with database.read() as tx:
        asked = sa.select(*(table.c[column] for column in columns)).order_by(*(table.c[column] for column in columns))
        return [tuple(row) for row in await tx.execute(asked)]


async def test_the_schema_is_what_the_code_declares(database: Database) -> None:
    assert await differences(database, tables.METADATA) == []


async def test_what_is_stored_is_there_for_a_connection_of_its_own(sink: DurableSink, database: Database) -> None:
    rejected = await sink.store([batch([decided(1), unmanaged(2), diagnostic(3)])])
    assert rejected == [()]
    assert await attempts(database) == [uuid7(1), uuid7(2)]
    assert await rows(database, tables.DIAGNOSTIC, "code", "device_id") == [("EVENTS_LOST", "d1")]


async def test_a_batch_that_comes_again_is_stored_once(sink: DurableSink, database: Database) -> None:
    first = batch([decided(1), completed(2, "attempt-1"), diagnostic(3)])
    await sink.store([first])
    assert await sink.store([first, first]) == [(), ()]
    assert await attempts(database) == [uuid7(1)]
    assert len(await rows(database, tables.COMPLETION, "event_id")) == 1


async def test_an_event_that_comes_again_in_another_journal_is_stored_once(
    sink: DurableSink, database: Database
) -> None:
    await sink.store([batch([decided(1)])])
    assert await sink.store([batch([decided(1)], journal="journal-2")]) == [()]
    assert await attempts(database) == [uuid7(1)]


async def test_two_events_at_one_place_are_not_mistaken_for_one(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(1)])])
    [[rejection]] = await sink.store([batch([decided(2), decided(3)])])
    assert rejection == (1, "another event has this place in the journal")
    assert await attempts(database) == [uuid7(1), uuid7(3)]
    assert await rows(database, tables.DEAD_LETTER, "seq", "device_id") == [(1, "d1")]


async def test_a_device_cannot_take_the_event_id_of_another(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(1)])])
    [[rejection]] = await sink.store([batch([decided(1, user="mallory")], device="d2")])
    assert rejection.reason == "another event has this id"
    assert len(await attempts(database)) == 1


async def test_a_rejected_event_is_kept_apart_once_and_its_neighbours_are_stored(
    sink: DurableSink, database: Database
) -> None:
    poisoned = batch([decided(1), decided(2, justification="x" * 257), decided(3)])
    for _ in range(2):
        [[rejection]] = await sink.store([poisoned])
        assert rejection == (2, "justification must have at most 256 characters")
    assert await attempts(database) == [uuid7(1), uuid7(3)]
    assert await rows(database, tables.DEAD_LETTER, "seq", "journal_id") == [(2, "journal-1")]


async def test_a_journal_without_a_name_is_kept_apart(sink: DurableSink, database: Database) -> None:
    [[rejection]] = await sink.store([batch([decided(1)], journal="\0" * 200)])
    assert rejection.reason.startswith("journal_id must have")
    assert await attempts(database) == []


async def test_what_a_journal_passes_over_is_recorded_as_a_gap(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(1), decided(2)], first=1)])
    await sink.store([batch([decided(6)], first=6), batch([decided(7)], first=7)])
    assert await rows(database, tables.GAP, "first_seq", "last_seq") == [(3, 5)]


async def test_what_is_out_of_scope_fills_its_place_and_nothing_of_it_is_kept(
    sink: DurableSink, database: Database
) -> None:
    refused = (Rejection(2, "out of scope"), Rejection(3, "out of scope"))
    sent = replace(batch([decided(1)]), passed_over=refused)
    later = replace(batch([], first=5), passed_over=(Rejection(4, "out of scope"),))
    for _ in range(2):  # resent likewise
        assert await sink.store([sent, later]) == [refused, later.passed_over]
    assert await sink.store([batch([decided(5)], first=5)]) == [()]
    assert await attempts(database) == [uuid7(1), uuid7(5)]
    assert await rows(database, tables.COUNT, "attempts") == [(2,)] * len(await rows(database, tables.COUNT, "span"))
    for table in (tables.GAP, tables.DEAD_LETTER):
        assert await rows(database, table, next(iter(table.c.keys()))) == []
    assert await rows(database, tables.JOURNAL, "high_water") == [(5,)]


async def test_what_is_out_of_scope_takes_no_harm_from_a_neighbour_that_the_database_refuses(
    sink: DurableSink, database: Database
) -> None:
    bad = batch([completed(1, "attempt-9"), completed(2, "attempt-8")])
    poison = bad.completions[0]._replace(exit_code=2**80)
    sent = replace(bad, completions=(poison, bad.completions[1]), passed_over=(Rejection(3, "out of scope"),))
    [rejected] = await sink.store([sent])
    assert [one.seq for one in rejected] == [1, 3]
    assert await rows(database, tables.COMPLETION, "event_id") == [(uuid7(2),)]
    assert await rows(database, tables.DEAD_LETTER, "seq") == [(1,)]


async def test_what_comes_late_is_no_longer_missing(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(9)], first=9)])
    await sink.store([batch([decided(4), decided(5)], first=4)])
    assert await rows(database, tables.GAP, "first_seq", "last_seq") == [(1, 3), (6, 8)]


async def test_a_sink_that_did_not_see_the_journal_before_notices_no_false_gap(
    sink: DurableSink, database: Database
) -> None:
    other = DurableSink.on(database.url)
    await sink.store([batch([decided(1)], first=1)])
    await other.store([batch([decided(2)], first=2)])
    await sink.store([batch([decided(3)], first=3)])
    await other.close()
    assert await rows(database, tables.GAP, "first_seq") == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_completion_joins_its_attempt_in_any_order(
    sink: DurableSink, database: Database, order: tuple[int, int]
) -> None:
    told = [batch([decided(1)], first=1), batch([completed(2, "attempt-1", exit_code=-3)], first=2)]
    for index in order:
        await sink.store([told[index]])
    found = await SqlReports(database).elevation("attempt-1", None)
    assert found is not None
    assert found.exit_code == -3


async def test_a_completion_of_another_device_joins_nothing(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(1)]), batch([completed(2, "attempt-1", exit_code=7)], device="d2")])
    found = await SqlReports(database).elevation("attempt-1", None)
    assert found is not None
    assert found.exit_code is None


async def test_many_rows_go_the_same_way_as_few(sink: DurableSink, database: Database) -> None:
    events = [decided(number) for number in range(1, 301)]
    await sink.store([batch(events[:200])])
    assert await sink.store([batch(events)]) == [()]
    assert len(await attempts(database)) == 300


async def test_a_value_that_the_database_refuses_is_kept_apart_and_holds_up_nobody(
    sink: DurableSink, database: Database
) -> None:
    good, bad = batch([decided(1)]), batch([completed(2, "attempt-9"), completed(3, "attempt-8")], device="d2")
    poison = bad.completions[0]._replace(exit_code=2**80)
    [nothing, rejected] = await sink.store([good, replace(bad, completions=(poison, *bad.completions[1:]))])
    assert nothing == ()
    assert [one.seq for one in rejected] == [1]
    assert await attempts(database) == [uuid7(1)]
    assert await rows(database, tables.COMPLETION, "event_id") == [(uuid7(3),)]


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[tuple[str, int, int]]]:
    """Draw groups of slices of journals: in any order, each at least once, some several times."""
    sizes = draw(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 12), min_size=1))
    slices = [(name, start, start + 3) for name, size in sizes.items() for start in range(0, size, 3)]
    again = draw(st.lists(st.sampled_from(slices), max_size=8))
    order = draw(st.permutations(slices + again))
    cuts = draw(st.lists(st.integers(1, 4), min_size=len(order), max_size=len(order)))
    groups: list[list[tuple[str, int, int]]] = []
    while order:
        size = cuts.pop()
        groups.append(list(order[:size]))
        order = order[size:]
    return groups


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=deliveries())
async def test_however_batches_arrive_each_event_is_stored_once(
    sink: DurableSink, database: Database, groups: list[list[tuple[str, int, int]]]
) -> None:
    fake, base = FakeSink(), next(numbers) * 1000
    before = set(await attempts(database))
    sent: set[str] = set()
    for group in groups:
        told = []
        for name, start, end in group:
            events = [decided(base + ord(name) * 100 + place) for place in range(start, end)]
            sent |= {event.event_id for event in events}
            told.append(batch(events, device=f"{name}-{base}", first=start + 1))
        assert await sink.store(told) == await fake.store(told)
    assert set(await attempts(database)) - before == sent == set(fake.events)
    assert len(await attempts(database)) == len(before) + len(sent)
    assert await rows(database, tables.GAP, "first_seq") == []
    await _forget(database)


async def _forget(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(sa.delete(tables.ATTEMPT))


async def test_names_of_the_day_stay_with_the_event(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(1)], name="old-name"), batch([decided(2)], first=2, name="new-name")])
    page = await SqlReports(database).elevations(EVERYTHING, PageRequest(10))
    assert [found.device_name for found in page.items] == ["new-name", "old-name"]
    assert page.items[0].received == NOW + timedelta(seconds=1)


async def test_what_another_replica_took_for_missing_is_no_gap_once_it_is_stored(
    sink: DurableSink, database: Database
) -> None:
    other = DurableSink.on(database.url)
    await sink.store([batch([decided(1)], first=1)])
    await other.store([batch([decided(9)], first=9)])
    assert await rows(database, tables.GAP, "first_seq", "last_seq") == [(2, 8)]
    await sink.store([batch([decided(number) for number in range(2, 9)], first=2)])
    await sink.store([batch([decided(10)], first=10)])
    await other.close()
    assert await rows(database, tables.GAP, "first_seq") == []


async def test_a_gap_outlives_the_process_that_noticed_it(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(5)], first=5)])
    later = DurableSink.on(database.url)
    await later.store([batch([decided(7)], first=7)])
    await later.close()
    assert await rows(database, tables.GAP, "first_seq", "last_seq") == [(1, 4), (6, 6)]


async def test_what_was_handed_over_behind_a_group_that_is_not_stored_is_not_stored_either(
    database: Database, sink: DurableSink
) -> None:
    async with database.transaction() as tx:
        await tx.execute(sa.text("ALTER TABLE reporting_attempt RENAME TO away"))
    first, second = batch([decided(1)]), batch([diagnostic(2)], first=2)
    told = await asyncio.gather(sink.store([first]), sink.store([second]), return_exceptions=True)
    assert [type(answer) for answer in told] == [UnavailableError, UnavailableError]
    assert await rows(database, tables.DIAGNOSTIC, "seq") == []
    async with database.transaction() as tx:
        await tx.execute(sa.text("ALTER TABLE away RENAME TO reporting_attempt"))
    assert [*await asyncio.gather(sink.store([first]), sink.store([second]))] == [[()], [()]]
    assert await attempts(database) == [uuid7(1)]
    assert await rows(database, tables.GAP, "first_seq") == []
