"""Documents of many connected devices are prepared in one commit, and only what is kept is offered."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from epm.policy.v1 import agent_pb2
from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, Desired
from services.policy.model.states import DeliveryState
from services.policy.ports import DeliveryStep
from services.policy.preparer import GROUP, Preparer
from tests.builders.doors import open_doors
from tests.builders.policy_streams import Stream, World
from tests.fakes.policy_delivery import Authored, FakeDirectories, MemoryDeliveries, corpus, device, rules, settings

FEW = ("d1", "d2", "d3")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(directories=FakeDirectories(*(device(name) for name in FEW)))
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


@asynccontextmanager
async def settled(world: World, names: Iterable[str] = FEW) -> AsyncIterator[list[Stream]]:
    """Open streams of devices that hold the newest document."""
    async with AsyncExitStack() as open_streams:
        streams = [await open_streams.enter_async_context(world.stream(name)) for name in names]
        for stream in streams:
            await stream.hello()
            await stream.apply()
            await world.heard(stream)
        yield streams


@asynccontextmanager
async def preparing(world: World, group: int = GROUP) -> AsyncIterator[Preparer]:
    preparer = Preparer(world.streams, world.writer, world.clock, group=group)
    running = asyncio.create_task(preparer.run())
    yield preparer
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def author(world: World, *contents: Authored) -> None:
    """Change what is authored without a word to the streams."""
    world.book.put(corpus(*contents, revision=world.book.revision + 1))


def groups(world: World) -> list[int]:
    assert isinstance(world.deliveries, MemoryDeliveries)
    return world.deliveries.groups


async def test_one_commit_prepares_what_all_streams_offer(world: World) -> None:
    async with settled(world) as streams, preparing(world) as preparer:
        author(world, settings(), rules("tools"))
        before = len(groups(world))
        preparer.look_at([*FEW, "not connected"])
        assert [(await stream.offer())[1].revision for stream in streams] == [2, 2, 2]
        assert groups(world)[before:] == [3]


async def test_who_has_the_document_already_is_told_so_and_nothing_is_written(world: World) -> None:
    async with settled(world) as streams, preparing(world) as preparer:
        before = len(groups(world))
        preparer.look_at(FEW)
        assert [(await stream.confirmed()).revision for stream in streams] == [1, 1, 1]
        assert len(groups(world)) == before


async def test_what_could_not_be_kept_is_not_offered(world: World) -> None:
    assert isinstance(world.deliveries, MemoryDeliveries)
    async with settled(world, ["d1"]) as [stream], preparing(world) as preparer:
        author(world, settings(), rules("tools"))
        world.deliveries.failure = UnavailableError("the disk is full")
        preparer.look_at(["d1"])
        assert (await stream.failure())[0] == "UNAVAILABLE"
        world.deliveries.failure = None
        async with world.stream() as again:
            await again.hello()
            assert (await again.offer())[1].revision == 2


async def test_a_device_that_has_yet_to_answer_is_left_alone_until_it_does(world: World) -> None:
    async with world.stream() as stream, settled(world, ["d2"]) as [other], preparing(world) as preparer:
        await stream.hello()
        offer, _, _ = await stream.offer()
        author(world, settings(), rules("tools"))
        preparer.look_at(["d1"])
        preparer.look_at(["d2"])
        assert (await other.apply()).revision == 2
        assert (await world.known()).revision == 1
        await stream.acknowledge(offer, 1)
        _, manifest, document = await stream.offer()
        assert (manifest.revision, document.rules_policies[0].name) == (2, "tools")


async def test_a_stream_that_a_newer_one_elsewhere_superseded_is_sent_away(tmp_path: Path) -> None:
    deliveries, numbers = MemoryDeliveries(), count(1)
    here, there = World(deliveries, numbers=numbers), World(deliveries, numbers=numbers)
    async with (
        open_doors(tmp_path, here.parts()) as here.doors,
        open_doors(tmp_path, there.parts()) as there.doors,
        settled(here, ["d1"]) as [older],
        there.stream() as newer,
        preparing(here) as preparer,
    ):
        await newer.hello()
        await newer.offer()
        author(here, settings(), rules("tools"))
        preparer.look_at(["d1"])
        assert (await older.sent_away()).reason == agent_pb2.GO_AWAY_REASON_SUPERSEDED
        assert (await here.known()).revision == 1


async def test_a_retired_device_does_not_wait_for_its_turn(world: World) -> None:
    async with settled(world, ["d1"]) as [stream]:
        world.directories.put(device("d1", enrolled=False))
        Preparer(world.streams, world.writer, world.clock).look_at(["d1"])  # which nobody runs
        _, manifest, document = await stream.offer()
        assert (manifest.revision, document.any_user.settings) == (2, None)


async def test_a_device_that_loses_its_settings_is_told_when_they_went(world: World) -> None:
    async with settled(world, ["d1"]) as [stream], preparing(world) as preparer:
        author(world)
        preparer.look_at(["d1"])
        assert (await stream.offer())[2].deprovision_time is not None
    assert (await world.known()).lost == world.clock.now()


async def test_a_stream_that_says_hello_meanwhile_prepares_its_document_itself(world: World) -> None:
    async with world.stream() as stream, preparing(world) as preparer:
        await stream.hello()
        preparer.look_at(["d1"])
        assert (await stream.apply()).revision == 1
        await world.until(lambda delivery: delivery.state is DeliveryState.APPLIED)


async def test_more_devices_than_a_group_are_prepared_in_several(world: World) -> None:
    async with settled(world) as streams, preparing(world, group=2) as preparer:
        author(world, settings(), rules("tools"))
        before = len(groups(world))
        preparer.look_at(FEW)
        assert {(await stream.offer())[1].revision for stream in streams} == {2}
        assert groups(world)[before:] == [2, 1]


class NotingDeliveries(MemoryDeliveries):
    """Note whose deliveries are changed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: list[str] = []

    async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        """Take the steps, and note them."""
        self.changed += [device_id for device_id, _ in steps]
        return await super().change(steps)


async def test_rows_are_written_in_the_order_of_their_ids(tmp_path: Path) -> None:
    deliveries = NotingDeliveries()
    world = World(deliveries, FakeDirectories(*(device(name) for name in FEW)))
    async with (
        open_doors(tmp_path, world.parts()) as world.doors,
        settled(world) as streams,
        preparing(world, group=2) as preparer,
    ):
        author(world, settings(), rules("tools"))
        deliveries.changed.clear()
        preparer.look_at(["d2", "d3", "d1"])
        assert [(await stream.offer())[1].revision for stream in streams] == [2, 2, 2]
        assert deliveries.changed[:3] == list(FEW)


async def test_what_was_prepared_is_not_offered_once_another_document_is_due(world: World) -> None:
    async with settled(world, ["d1"]) as [stream]:
        author(world, settings(), rules("tools"))
        await prepare(world)
        author(world, settings(), rules("others"))
        world.streams.wake(["d1"])
        _, manifest, document = await stream.offer()
        assert (manifest.revision, document.rules_policies[0].name) == (3, "others")


async def test_what_is_prepared_and_not_kept_is_kept_before_it_is_offered(world: World) -> None:
    async with settled(world, ["d1"]) as [stream]:
        author(world, settings(), rules("tools"))
        await prepare(world, kept=False)
        world.streams.wake(["d1"])
        _, manifest, document = await stream.offer()
        assert (manifest.revision, document.rules_policies[0].name) == (2, "tools")
        assert (await world.known()).revision == 2


async def prepare(world: World, *, kept: bool = True) -> None:
    """Prepare the document of d1 as the preparer does; the stream has not had its turn when this returns."""
    stream = world.streams.of("d1")
    assert stream is not None
    step = stream.conversation.preparation(world.clock.now())
    assert step is not None
    if kept:
        [found] = await world.deliveries.change([("d1", step)])
        stream.conversation.take(found)


async def test_queued_steps_wait_for_the_groups_that_come_first(world: World) -> None:
    async with world.stream() as stream, world.writer.first() as change:
        queued = world.writer.change("d1", lambda old: old.prepared(b"2" * 32, Desired.ON))
        await stream.hello()  # time passes
        assert not queued.done()
        [first] = await change([("d1", lambda old: old.prepared(b"1" * 32, Desired.ON))])
    assert (first.revision, (await queued).revision) == (1, 2)
