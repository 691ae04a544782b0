"""Consumers of exports get every attempt at least once, and go on behind what they acknowledged: on both databases."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from epm.reporting.v1 import reports_pb2
from services._chassis.errors import UnavailableError
from services.reporting.codec.questions import question_from_proto
from services.reporting.exporting import MOST_UNDER_WAY, Exports, Hello
from services.reporting.model.live import Cursor, Passage, Remembered
from services.reporting.watching import Watches
from tests.builders.exportoffice import EVERYTHING, Office, open_office
from tests.fakes.reporting import enrolled


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(database_url, tmp_path) as opened:
        yield opened


async def test_a_consumer_goes_on_behind_what_it_acknowledged_and_gets_the_rest_again(office: Office) -> None:
    token = office.reader()
    await office.store(1, 2, 3, 4, 5)
    async with office.stream(token) as consumer:
        await consumer.hello()
        assert await consumer.read(2) == ["attempt-1", "attempt-2"]
        await consumer.acknowledge()
        assert await consumer.read(2) == ["attempt-3", "attempt-4"]
        await consumer.leave()
    await office.store(6)
    async with office.stream(token) as consumer:
        await consumer.hello()
        assert await consumer.read(4) == [f"attempt-{number}" for number in (3, 4, 5, 6)]
        await consumer.acknowledge()
        await consumer.leave()
    async with office.stream(token) as consumer:
        await consumer.hello()
        await office.store(7)
        assert await consumer.read(1) == ["attempt-7"]


async def test_a_new_consumer_begins_now_and_stays_there_though_it_never_acknowledged(office: Office) -> None:
    token = office.reader()
    await office.store(1)
    async with office.stream(token) as consumer:
        await consumer.hello(asked=reports_pb2.ElevationFilter())
        await consumer.read(0)
    await office.store(2)
    async with office.stream(token) as consumer:
        await consumer.hello(asked=reports_pb2.ElevationFilter())
        assert await consumer.read(1) == ["attempt-2"]


async def test_consumers_of_other_names_and_other_principals_do_not_meet(office: Office) -> None:
    await office.store(1, 2)
    first = office.reader("first")
    for token, name in ((first, "a"), (first, "b"), (office.reader("second"), "a")):
        async with office.stream(token) as consumer:
            await consumer.hello(name)
            assert await consumer.read(2) == ["attempt-1", "attempt-2"]
            await consumer.acknowledge()
            await consumer.leave()


async def test_only_so_much_is_under_way_until_it_is_acknowledged(office: Office) -> None:
    await office.store(*range(1, 2 * MOST_UNDER_WAY + 5))
    async with office.stream(office.reader()) as consumer:
        await consumer.hello()
        assert len(await consumer.read(2 * MOST_UNDER_WAY)) == 2 * MOST_UNDER_WAY
        more = asyncio.ensure_future(consumer.read(1))
        await asyncio.wait([more], timeout=0.5)
        assert not more.done()
        await consumer.acknowledge()
        assert await more == [f"attempt-{2 * MOST_UNDER_WAY + number}" for number in (1, 2)]
        # Whatever hangs, what is stored meanwhile is stored.
        await office.store(50)


async def test_an_acknowledgement_is_written_though_the_consumer_then_breaks_off(office: Office) -> None:
    await office.store(1, 2, 3)
    async with office.stream(office.reader()) as consumer:
        await consumer.hello()
        await consumer.read(2)
        acknowledged = Cursor.read(consumer.cursor)
        await consumer.acknowledge()
        await consumer.read(1)
        async with asyncio.timeout(20):
            while (known := await office.consumers.known("user:siem", "siem")) is None or known.cursor != acknowledged:
                pass


async def test_what_is_remembered_never_goes_back(office: Office) -> None:
    consumers = office.consumers
    generation = await consumers.begin("user:a", "siem", Cursor(3, 1, 5))
    for cursor in (Cursor(2, 9, 9), Cursor(3, 1, 4)):
        await consumers.commit("user:a", "siem", Remembered(cursor, generation))
        assert await consumers.known("user:a", "siem") == Remembered(Cursor(3, 1, 5), generation)
    assert await consumers.begin("user:a", "siem", Cursor(9)) == generation
    await consumers.commit("user:a", "siem", Remembered(Cursor(3, 2, 1), generation))
    assert await consumers.known("user:a", "siem") == Remembered(Cursor(3, 2, 1), generation)
    assert await consumers.known("user:b", "siem") is None


async def test_only_attempts_of_visible_devices_are_handed_over(office: Office) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    await office.store(1, device="d1")
    await office.store(2, device="d2")
    async with office.stream(office.reader("siem", "apac")) as consumer:
        await consumer.hello()
        assert await consumer.read(1) == ["attempt-2"]


async def test_what_is_wrong_with_a_stream_is_told(office: Office) -> None:
    token = office.reader()
    async with office.stream(token) as consumer:
        await consumer.hello("x\n", reports_pb2.ElevationFilter(users=["\0"]))
        assert sorted((await consumer.refusal()).problems) == ["filter.users", "hello.consumer"]
    async with office.stream(token) as consumer:
        await consumer.acknowledge("1.1.1")
        assert [*(await consumer.refusal()).problems] == ["hello"]
    for cursor in ("nonsense", "1.1.1"):
        async with office.stream(token) as consumer:
            await consumer.hello()
            await consumer.read(0)
            await consumer.acknowledge(cursor)
            assert [*(await consumer.refusal()).problems] == ["ack.cursor"]
    async with office.stream(token) as consumer:
        await consumer.hello()
        await consumer.hello()
        assert [*(await consumer.refusal()).problems] == ["ack"]
    async with office.stream(office.access.grant("user:author", ["policy_authoring.read"])) as consumer:
        assert (await consumer.refusal()).reason == "RIGHT_MISSING"


async def test_a_consumer_that_takes_or_acknowledges_nothing_loses_its_place_and_slows_no_intake(
    office: Office,
) -> None:
    impatient = Watches(office.stored, office.changes, monotonic=time.monotonic, most=1, patience=0.2)
    exports = Exports(impatient, office.consumers, longest_wait=0.2)
    await office.store(*range(1, 2 * MOST_UNDER_WAY + 3))
    hello = Hello("user:siem", "siem", question_from_proto(EVERYTHING, None))
    hung, taken = asyncio.Event(), []

    async def silent() -> AsyncIterator[str]:
        await hung.wait()
        yield ""

    async def take(passage: Passage) -> None:
        taken.append(passage)

    for write in (lambda _passage: hung.wait(), take):
        with pytest.raises(UnavailableError) as ended:
            await exports.serve(hello, silent(), write, lambda: None)
        assert ended.value.reason == "WATCH_STALLED"
    assert sum(len(passage.elevations) for passage in taken) == 2 * MOST_UNDER_WAY
    await office.store(50)
