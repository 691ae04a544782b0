"""Whoever has consumers sees how far they are, sets them to a time and deletes them: on both databases."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from epm.reporting.v1 import export_pb2, reports_pb2
from services._chassis.errors import ConflictError, LimitError
from services.reporting.exporting import Exports, Hello
from services.reporting.model.live import Cursor, Passage, Remembered
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store import tables
from services.reporting.store.consumers import SqlConsumers
from services.reporting.store.stored import SqlStored
from services.reporting.watching import Watches
from tests.builders.doors import bearer
from tests.builders.exportoffice import VIEW_REPORTS, Office, open_office
from tests.builders.refusals import refusal_of
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, completed, decided, enrolled

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(database_url, tmp_path) as opened:
        yield opened


async def listed(office: Office, token: str, **fields: Any) -> list[Any]:
    """Return all consumers of a principal, two a page."""
    found: list[Any] = []
    page = ""
    while True:
        asked = export_pb2.ListConsumersRequest(page_size=2, page_token=page, **fields)
        answer = await office.stub.ListConsumers(asked, metadata=bearer(token))
        found += answer.consumers
        page = answer.next_page_token
        if not page:
            return found


async def rewind(office: Office, token: str, name: str, time: datetime | None) -> Any:
    """Set a consumer to a time."""
    asked = export_pb2.RewindConsumerRequest(name=name)
    if time is not None:
        asked.received_from.FromDatetime(time)
    return (await office.stub.RewindConsumer(asked, metadata=bearer(token))).consumer


async def delete(office: Office, token: str, name: str) -> None:
    """Delete a consumer."""
    await office.stub.DeleteConsumer(export_pb2.DeleteConsumerRequest(name=name), metadata=bearer(token))


async def read_through(office: Office, token: str, name: str, most: int) -> list[str]:
    """Read that many attempts as a consumer, acknowledge them, and leave."""
    async with office.stream(token) as consumer:
        await consumer.hello(name)
        found = await consumer.read(most)
        await consumer.acknowledge()
        await consumer.leave()
    return found


async def audited(office: Office, action: str) -> list[sa.RowMapping]:
    """Return the records of an action."""
    async with office.database.read() as tx:
        return list((await tx.execute(sa.select(tables.AUDIT).where(tables.AUDIT.c.action == action))).mappings())


async def test_consumers_are_listed_by_name_with_how_far_they_are_behind(office: Office) -> None:
    token = office.reader()
    for number in range(1, 7):
        office.clock.advance(MINUTE)
        await office.store(number)
    for name, most in (("c", 2), ("a", 4), ("b", 6)):
        await read_through(office, token, name, most)
    assert [(one.name, one.behind) for one in await listed(office, token)] == [("a", 2), ("b", 0), ("c", 4)]
    oldest = {
        one.name: one.oldest.ToDatetime(NOW.tzinfo) if one.HasField("oldest") else None
        for one in await listed(office, token)
    }
    assert oldest == {"a": NOW + 5 * MINUTE, "b": None, "c": NOW + 3 * MINUTE}


async def test_how_far_behind_counts_from_the_middle_of_a_transaction(office: Office) -> None:
    await office.sink.store([batch([decided(number) for number in range(1, 6)])])
    await office.sink.store([batch([completed(6, "attempt-1")], first=6)])
    token = office.reader()
    await read_through(office, token, "siem", 2)
    assert [(one.name, one.behind) for one in await listed(office, token)] == [("siem", 3)]


async def test_how_far_behind_counts_what_the_caller_may_see_alone(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    await office.store(1, device="d1")
    token = office.reader("scoped", "emea")
    await read_through(office, token, "siem", 1)
    await office.store(2, device="d1")
    await office.store(3, device="d2")
    assert [one.behind for one in await listed(office, token)] == [1]
    assert (await rewind(office, token, "siem", NOW - MINUTE)).behind == 2


async def test_everybody_has_consumers_of_their_own(office: Office) -> None:
    await office.store(1)
    mine, theirs = office.reader("first"), office.reader("second")
    await read_through(office, mine, "siem", 1)
    assert await listed(office, theirs) == []
    for call in (rewind(office, theirs, "siem", NOW), delete(office, theirs, "siem")):
        refused = await refusal_of(call)
        assert (refused.code, refused.reason) == ("NOT_FOUND", "NOT_FOUND")
    assert [one.name for one in await listed(office, mine)] == ["siem"]


async def test_a_consumer_is_connected_while_it_has_a_stream_open(office: Office) -> None:
    await office.store(1)
    token = office.reader()
    async with office.stream(token) as consumer:
        await consumer.hello()
        await consumer.read(1)
        assert [one.connected for one in await listed(office, token)] == [True]
        await consumer.leave()
    await office.exports.guests.idle()
    assert [one.connected for one in await listed(office, token)] == [False]


async def test_a_consumer_that_is_rewound_begins_with_the_first_event_of_that_time(office: Office) -> None:
    token = office.reader()
    for number in range(1, 8):
        office.clock.advance(MINUTE)
        await office.store(number)
    await read_through(office, token, "siem", 6)
    for minutes, first in ((4, 4), (2, 2), (0, 1), (-9999, 1), (6, 6)):
        shown = await rewind(office, token, "siem", NOW + minutes * MINUTE)
        assert (shown.name, shown.behind) == ("siem", 8 - first)
        expected = [f"attempt-{number}" for number in range(first, 8)]
        assert (await read_through(office, token, "siem", len(expected)))[: len(expected)] == expected
    # Forward, too: what was between is left out.
    await rewind(office, token, "siem", NOW + 2 * MINUTE)
    assert (await rewind(office, token, "siem", NOW + 7 * MINUTE)).behind == 1
    records = await audited(office, "consumer_rewound")
    assert [(one["actor"], one["target"]) for one in records] == [("user:siem", "siem")] * 7


async def test_the_position_of_a_time_is_found_however_arrivals_are_spread(office: Office) -> None:
    """Two replicas store what arrived in nearly the same moments in another order."""
    arrivals = [0, 5, 4, 4, 9, 8, 30, 29, 31, 31, 90, 88, 89, 200]
    for number, seconds in enumerate(arrivals, 1):
        received = NOW + timedelta(seconds=seconds)
        await office.sink.store([batch([decided(number)], first=number, received=received)])
    for seconds in sorted({*arrivals, -1, 1, 50, 201}):
        expected = next((place for place, arrived in enumerate(arrivals, 1) if arrived >= seconds), None)
        found = await office.stored.since(NOW + timedelta(seconds=seconds))
        assert found == (Cursor.behind(len(arrivals)) if expected is None else Cursor(expected)), seconds


async def test_a_time_is_looked_for_among_events_of_every_kind_and_of_before_they_were_numbered(office: Office) -> None:
    await office.sink.store([batch([decided(1)], received=NOW)])
    await office.sink.store([batch([completed(2, "attempt-1")], first=2, received=NOW + MINUTE)])
    assert await office.stored.since(NOW + MINUTE) == Cursor(2)
    async with office.database.transaction() as tx:
        await tx.execute(sa.update(tables.ATTEMPT).values(stored=0))
        await tx.execute(sa.update(tables.COMPLETION).values(stored=0))
    assert await office.stored.since(NOW) == Cursor(0)
    assert await office.stored.since(NOW + MINUTE) == Cursor.behind(2)


async def test_a_rewound_or_deleted_consumer_loses_its_stream_and_what_that_acknowledges_counts_no_more(
    office: Office,
) -> None:
    token = office.reader()
    await office.store(1, 2, 3, 4)
    async with office.stream(token) as consumer:
        await consumer.hello()
        await consumer.read(2)
        await consumer.acknowledge()
        await consumer.read(2)
        await rewind(office, token, "siem", NOW - MINUTE)
        refused = await consumer.refusal()
        assert (refused.code, refused.reason) == ("ABORTED", "CONSUMER_MOVED")
    assert [one.behind for one in await listed(office, token)] == [4]
    async with office.stream(token) as consumer:
        await consumer.hello()
        assert await consumer.read(2) == ["attempt-1", "attempt-2"]
        await consumer.acknowledge()
        await delete(office, token, "siem")
        refused = await consumer.refusal()
        assert (refused.code, refused.reason) == ("ABORTED", "CONSUMER_MOVED")
    assert await listed(office, token) == []
    assert (await refusal_of(delete(office, token, "siem"))).code == "NOT_FOUND"
    assert [one["target"] for one in await audited(office, "consumer_deleted")] == ["siem"]


async def test_a_stream_that_another_replica_serves_ends_at_its_next_look_or_acknowledgement(office: Office) -> None:
    await office.store(1, 2, 3, 4)
    consumers = office.consumers

    async def briefly(_seconds: float) -> None:
        await office.stored.newest()

    watches = Watches(SqlStored(office.database, most_events=2), office.changes, monotonic=lambda: 0.0)
    other = Exports(watches, consumers, pause=briefly)
    told: list[Passage] = []

    async def moved() -> AsyncIterator[str]:
        while len(told) < 2:
            await office.stored.newest()
        await consumers.rewind("user:siem", "siem", Cursor(), NOW)
        if acknowledging:
            yield str(told[-1].cursor)
        while True:
            await office.stored.newest()

    async def take(passage: Passage) -> None:
        told.append(passage)

    for acknowledging in (True, False):  # noqa: B007 - `moved` reads it
        told.clear()
        hello = Hello("user:siem", "siem", Question(ElevationFilter(occurred_from=NOW - MINUTE), None))
        with pytest.raises(ConflictError) as ended:
            await other.serve(hello, moved(), take, lambda: None)
        assert ended.value.reason == "CONSUMER_MOVED"
        known = await consumers.known("user:siem", "siem")
        assert known is not None
        assert known.cursor == Cursor()


async def test_a_stream_of_before_a_deletion_makes_no_consumer_anew(office: Office) -> None:
    consumers = office.consumers
    generation = await consumers.begin("user:siem", "siem", Cursor(1))
    await consumers.delete("user:siem", "siem", NOW)
    for _ in range(2):
        with pytest.raises(ConflictError):
            await consumers.commit("user:siem", "siem", Remembered(Cursor(2), generation))
        # Begun anew, it is another one.
        assert await consumers.begin("user:siem", "siem", Cursor(1)) > generation


async def test_a_principal_has_so_many_consumers_and_no_more(office: Office) -> None:
    consumers = SqlConsumers(office.database, most=2)
    for name in ("a", "b", "a"):
        await consumers.begin("user:siem", name, Cursor(1))
    with pytest.raises(LimitError) as refused:
        await consumers.begin("user:siem", "c", Cursor(1))
    assert refused.value.reason == "TOO_MANY_CONSUMERS"
    await consumers.begin("user:other", "c", Cursor(1))
    await consumers.delete("user:siem", "a", NOW)
    await consumers.begin("user:siem", "c", Cursor(1))


async def test_a_consumer_that_is_one_too_many_is_told_so(office: Office) -> None:
    for number in range(100):
        await office.consumers.begin("user:siem", f"consumer-{number}", Cursor(1))
    async with office.stream(office.reader()) as consumer:
        await consumer.hello("one-more", reports_pb2.ElevationFilter())
        refused = await consumer.refusal()
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CONSUMERS")


async def test_what_is_wrong_with_a_call_is_told(office: Office) -> None:
    token = office.reader()
    for time in (None, office.clock.now() + MINUTE):
        assert (await refusal_of(rewind(office, token, "siem", time))).fields == {"received_from"}
    asked = export_pb2.RewindConsumerRequest(name="siem")
    asked.received_from.nanos = -1
    refused = await refusal_of(office.stub.RewindConsumer(asked, metadata=bearer(token)))
    assert refused.fields == {"received_from"}
    for name in ("", "x" * 65, "a\0b", "nobody"):
        assert (await refusal_of(rewind(office, token, name, NOW))).code == "NOT_FOUND"
        assert (await refusal_of(delete(office, token, name))).code == "NOT_FOUND"
    page = export_pb2.ListConsumersRequest(page_size=-1, page_token="x")
    refused = await refusal_of(office.stub.ListConsumers(page, metadata=bearer(token)))
    assert refused.fields == {"page_size", "page_token"}


async def test_consumers_need_the_right_to_view_reports(office: Office) -> None:
    rights = {"policy_authoring.read", "reporting.configure", "audit.read"}
    assert VIEW_REPORTS not in rights
    token = office.access.grant("user:author", rights)
    for call in (listed(office, token), rewind(office, token, "siem", NOW), delete(office, token, "siem")):
        assert (await refusal_of(call)).reason == "RIGHT_MISSING"
