"""The writer that commits what devices say, in groups."""

import asyncio
from collections.abc import Sequence

import pytest

from elevation.model import GroupType
from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, Desired
from services.policy.ports import DeliveryStep
from services.policy.workers import LARGEST_GROUP, DeliveryWriter
from tests.builders.working import working
from tests.fakes.policy_delivery import (
    MemoryDeliveries,
    group,
)

ON, OFF, NONE = Desired.ON, Desired.OFF, Desired.NONE
DEVELOPERS = group("developers", "alice", kind=GroupType.USER)


class SlowDeliveries(MemoryDeliveries):
    """Deliveries that are kept when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        self.reached.set()
        await self.released.wait()
        return await super().change(steps)


def preparing(old: Delivery) -> Delivery:
    return old.prepared(bytes([old.revision + 1]) * 32, ON)


async def test_what_comes_while_a_group_is_committed_becomes_the_next_group() -> None:
    deliveries = SlowDeliveries()
    writer = DeliveryWriter(deliveries)
    async with working(writer.run):
        first = writer.change("d1", preparing)
        await deliveries.reached.wait()
        rest = [writer.change("d1", preparing) for _ in range(5)]
        assert not first.done()
        deliveries.released.set()
        assert [(await answer).revision for answer in (first, *rest)] == [1, 2, 3, 4, 5, 6]
    assert deliveries.groups == [1, 5]


async def test_a_group_does_not_grow_beyond_its_limit() -> None:
    deliveries = MemoryDeliveries()
    writer = DeliveryWriter(deliveries)
    answers = [writer.change(f"d{number}", preparing) for number in range(LARGEST_GROUP + 1)]
    async with working(writer.run):
        await asyncio.gather(*answers)
    assert deliveries.groups == [LARGEST_GROUP, 1]


async def test_everyone_in_a_group_that_was_not_kept_is_told_and_the_next_group_goes_on() -> None:
    deliveries = MemoryDeliveries()
    deliveries.failure = UnavailableError("the disk is full")
    writer = DeliveryWriter(deliveries)
    answers = [writer.change("d1", preparing) for _ in range(2)]
    async with working(writer.run):
        assert [type(found) for found in await asyncio.gather(*answers, return_exceptions=True)] == [
            UnavailableError
        ] * 2
        deliveries.failure = None
        assert (await writer.change("d1", preparing)).revision == 1


async def test_a_step_that_fails_is_refused_alone_and_the_writer_goes_on() -> None:
    def fail(_: Delivery) -> Delivery:
        raise OverflowError("a step that fails")

    deliveries = MemoryDeliveries()
    writer = DeliveryWriter(deliveries)
    steps = preparing, fail, preparing
    answers = [writer.change(f"d{number}", step) for number, step in enumerate(steps)]
    async with working(writer.run) as running:
        found = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(answer) for answer in found] == [Delivery, OverflowError, Delivery]
        assert (await writer.change("d0", preparing)).revision == 2
        assert not running.done()
    assert {device_id: kept.revision for device_id, kept in deliveries.kept.items() if kept.revision} == {
        "d0": 2,
        "d2": 1,
    }


async def test_a_writer_that_is_closed_leaves_nobody_waiting() -> None:
    writer = DeliveryWriter(MemoryDeliveries())
    waiting = writer.change("d1", preparing)
    await writer.close()
    for answer in (waiting, writer.change("d1", preparing)):
        with pytest.raises(UnavailableError):
            await answer


async def test_nobody_waits_for_calm_where_no_step_waits() -> None:
    assert not await DeliveryWriter(MemoryDeliveries()).calm()


async def test_calm_comes_once_no_step_waits() -> None:
    writer = DeliveryWriter(MemoryDeliveries())
    waiting = writer.change("d1", preparing)
    calm = asyncio.create_task(writer.calm())
    await asyncio.sleep(0)
    assert not calm.done()
    async with working(writer.run):
        assert await calm
        await waiting
