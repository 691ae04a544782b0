"""What everything that keeps deliveries promises: in memory, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from services._chassis.db import Database
from services._chassis.migrate import differences, upgrade
from services.policy.model.delivery import Delivery, Desired, Held
from services.policy.model.states import DeliveryState
from services.policy.ports import Deliveries
from services.policy.store import tables
from services.policy.store.deliveries import deliveries_in
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import MemoryDeliveries

ONE, TWO = b"1" * 32, b"2" * 32


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, service="policy")
    await upgrade(opened)
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "sql"])
async def deliveries(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Deliveries]:
    kept = deliveries_in(database)
    yield MemoryDeliveries() if request.param == "memory" else kept
    await kept.close()


@pytest.fixture
async def elsewhere(deliveries: Deliveries, database: Database) -> AsyncIterator[Deliveries]:
    """Read what is kept as one does who holds none of the streams, and knows nothing without reading."""
    kept = deliveries_in(database)
    yield deliveries if isinstance(deliveries, MemoryDeliveries) else kept
    await kept.close()


def preparing(sha256: bytes, desired: Desired = Desired.ON) -> Callable[[Delivery], Delivery]:
    return lambda old: old.prepared(sha256, desired)


def opened(old: Delivery) -> Delivery:
    return old.opened("s", revision=0, sha256=b"", now=NOW)


async def test_the_schema_is_what_the_code_declares(database: Database) -> None:
    assert await differences(database, tables.METADATA) == []


async def test_a_device_that_nobody_heard_of_has_an_empty_delivery(deliveries: Deliveries) -> None:
    assert await deliveries.many(["d1"]) == {"d1": Delivery("d1")}
    assert await deliveries.many([]) == {}
    assert list(await deliveries.change([])) == []


async def test_every_fact_comes_back_as_it_was_kept(deliveries: Deliveries) -> None:
    full = Delivery(
        device_id="d1",
        revision=2**62,
        sha256=ONE,
        desired=Desired.OFF,
        offered=NOW,
        applied_revision=3,
        applied_desired=Desired.ON,
        rejected_revision=4,
        rejections=("first \N{SNOWMAN}", "second"),
        confirmed=NOW + timedelta(microseconds=1),
        lost=NOW - timedelta(days=1),
        stream="stream-1",
        seen=NOW + timedelta(seconds=1),
        runs=("run-1", "run-2"),
        key_ids=("key-1",),
        put_off=NOW - timedelta(minutes=1),
        life=NOW - timedelta(days=2),
    )
    assert list(await deliveries.change([("d1", lambda _: full)])) == [full]
    assert await deliveries.many(["d1", "d2"]) == {"d1": full, "d2": Delivery("d2")}


async def test_steps_of_one_device_are_taken_one_after_the_other(deliveries: Deliveries) -> None:
    led_to = await deliveries.change([("d2", preparing(ONE)), ("d1", preparing(ONE)), ("d2", preparing(TWO))])
    assert [(found.device_id, found.revision) for found in led_to] == [("d2", 1), ("d1", 1), ("d2", 2)]
    assert (await deliveries.many(["d2"]))["d2"].sha256 == TWO


async def test_a_step_sees_what_an_earlier_change_kept(deliveries: Deliveries) -> None:
    await deliveries.change([("d1", preparing(ONE))])
    [again] = await deliveries.change([("d1", preparing(ONE))])
    assert again.revision == 1
    [other] = await deliveries.change([("d1", lambda old: preparing(TWO)(old).sent(NOW))])
    assert (other.revision, other.state) == (2, DeliveryState.OFFERED)


async def test_a_stream_that_is_held_is_seen_and_what_it_did_not_confirm_stays(deliveries: Deliveries) -> None:
    names = ("d1", "d2")
    for name in names:
        await deliveries.change(
            [(name, lambda old: replace(old.opened("s", revision=0, sha256=b"", now=NOW), revision=1))]
        )
        await deliveries.change([(name, lambda old: old.applied(1, Desired.ON, NOW))])
    later = NOW + timedelta(minutes=1)
    confirmed = {"d1": later, "d2": None}
    held = [Held(device_id=name, stream="s", seen=later, confirmed=confirmed[name]) for name in names[::-1]]
    assert await deliveries.hold(held) == {}
    known = await deliveries.many(names)
    assert {name: (known[name].seen, known[name].confirmed) for name in names} == {
        "d1": (later, later),
        "d2": (later, NOW),
    }


async def test_of_a_stream_that_is_not_the_newest_nothing_is_kept(deliveries: Deliveries) -> None:
    await deliveries.change([("d1", lambda old: old.opened("newer", revision=0, sha256=b"", now=NOW))])
    before = await deliveries.many(["d1", "lost"])
    later = NOW + timedelta(minutes=1)
    held = [Held(device_id=name, stream="older", seen=later, confirmed=later) for name in ("d1", "lost")]
    assert await deliveries.hold(held) == before
    assert await deliveries.many(["d1", "lost"]) == before
    assert await deliveries.hold([]) == {}


async def test_of_steps_that_fail_nothing_is_kept(deliveries: Deliveries) -> None:
    def fail(_: Delivery) -> Delivery:
        raise RuntimeError("a step that fails")

    with pytest.raises(RuntimeError):
        await deliveries.change([("d1", preparing(ONE)), ("d1", fail)])
    assert await deliveries.many(["d1"]) == {"d1": Delivery("d1")}


async def test_changes_at_the_same_time_lose_nothing(deliveries: Deliveries) -> None:
    def one_more(old: Delivery) -> Delivery:
        return old.prepared(bytes(31) + bytes([old.revision + 1]), Desired.ON)

    devices = [f"d{number}" for number in range(5)]
    orders = [devices if turn % 2 else devices[::-1] for turn in range(10)]
    await asyncio.gather(*(deliveries.change([(name, one_more) for name in order]) for order in orders))
    assert {found.revision for found in (await deliveries.many(devices)).values()} == {10}


async def test_many_devices_go_the_same_way_as_few(deliveries: Deliveries) -> None:
    devices = [f"d{number:04}" for number in range(1200)]
    await deliveries.change([(name, preparing(ONE)) for name in devices])
    assert {found.revision for found in (await deliveries.many(devices)).values()} == {1}


async def test_what_changes_of_open_streams_is_what_is_read_back(deliveries: Deliveries, elsewhere: Deliveries) -> None:
    devices = [f"d{number:03}" for number in range(230)]
    await deliveries.change([(name, opened) for name in devices])
    led_to = await deliveries.change([(name, lambda old: preparing(ONE)(old).sent(NOW)) for name in devices])
    assert dict(await elsewhere.many(devices)) == {found.device_id: found for found in led_to}
    mixed: list[Callable[[Delivery], Delivery]] = [
        lambda old: old.applied(1, Desired.ON, NOW),
        lambda old: old.rejected(1, ("no",), NOW, temporary=True),
        lambda old: old,
        lambda old: old.closed("s", NOW),
    ]
    led_to = await deliveries.change([(name, mixed[number % 4]) for number, name in enumerate(devices)])
    assert dict(await elsewhere.many(devices)) == {found.device_id: found for found in led_to}
    assert dict(await deliveries.many(devices)) == dict(await elsewhere.many(devices))


async def test_a_step_sees_what_was_held_since_the_stream_was_opened(deliveries: Deliveries) -> None:
    await deliveries.change([("d1", opened), ("d2", opened)])
    later = NOW + timedelta(minutes=1)
    held = [
        Held(device_id="d1", stream="s", seen=later, confirmed=later),
        Held(device_id="d2", stream="older", seen=later, confirmed=later),
    ]
    await deliveries.hold(held)
    found = await deliveries.change([(name, lambda old: old) for name in ("d1", "d2")])
    assert [(each.seen, each.confirmed) for each in found] == [(later, later), (NOW, None)]


async def test_after_steps_that_failed_the_next_ones_see_what_was_kept(deliveries: Deliveries) -> None:
    def fail(_: Delivery) -> Delivery:
        raise RuntimeError("a step that fails")

    kept = await deliveries.change([("d1", opened)])
    with pytest.raises(RuntimeError):
        await deliveries.change([("d1", preparing(ONE)), ("d1", fail)])
    assert list(await deliveries.change([("d1", lambda old: old)])) == list(kept)


async def test_a_step_sees_what_others_did_to_a_stream_that_was_opened_here(database: Database) -> None:
    here, there = deliveries_in(database), deliveries_in(database)
    await here.change([("d1", opened), ("d2", opened)])
    newer = [("d1", lambda old: preparing(ONE)(old.opened("newer", revision=0, sha256=b"", now=NOW)))]
    [expected] = await there.change(newer)
    assert await here.many(["d1"]) == {"d1": expected}
    found = await here.change([(name, lambda old: old) for name in ("d1", "d2")])
    assert [found[0], found[1].stream] == [expected, "s"]
    await here.close()
    await there.close()


async def test_who_looked_at_a_device_of_which_somebody_else_holds_the_stream_sees_what_they_do_to_it(
    database: Database,
) -> None:
    here, there = deliveries_in(database), deliveries_in(database)
    await here.change([("d1", opened)])
    await there.change([("d1", lambda old: old)])
    [expected] = await here.change([("d1", lambda old: old.applied(1, Desired.ON, NOW))])
    assert dict(await there.many(["d1"])) == {"d1": expected}
    assert list(await there.change([("d1", lambda old: old)])) == [expected]
    await here.close()
    await there.close()
