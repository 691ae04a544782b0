"""What a device refused for a cause of its own that passes is offered to it again, and nothing else is."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from epm.policy.v1 import agent_pb2
from services.policy.model.states import DeliveryState
from services.policy.usecases.delivery import SHORTEST_WAIT
from tests.builders.doors import open_doors
from tests.builders.policy_streams import SOON, Stream, World
from tests.fakes.policy_delivery import rules, settings

FULL = "the device cannot store the policy (no space left on device)"
SECOND = timedelta(seconds=1)
BEATS = 3


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(heartbeat=SOON)
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


async def refuse(world: World, stream: Stream, *, temporary: bool) -> int:
    """Refuse the next offer, and wait until that is kept."""
    offer = await offered(stream)
    manifest = agent_pb2.Manifest.FromString(offer.signed_manifest.manifest)
    await stream.refuse(offer, FULL, temporary=temporary)
    await world.until(lambda delivery: delivery.rejected_revision == manifest.revision)
    return manifest.revision


async def offered(stream: Stream) -> agent_pb2.Offer:
    """Return the next offer, past signs of life."""
    while not (response := await stream.read()).HasField("offer"):
        assert response.HasField("welcome"), response
    return response.offer


async def is_left_alone(stream: Stream) -> bool:
    """Tell whether the next heartbeats are signs of life alone."""
    return [(await stream.read()).WhichOneof("message") for _ in range(BEATS)] == ["welcome"] * BEATS


async def test_it_is_offered_again_under_the_next_revision_after_a_minute_and_not_before(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(run_id="run-1")
        assert await refuse(world, stream, temporary=True) == 1
        world.clock.advance(SHORTEST_WAIT - SECOND)
        assert await is_left_alone(stream)
        delivery = await world.known()
        assert (delivery.state, delivery.rejections) == (DeliveryState.REJECTED, (FULL,))
        world.clock.advance(SECOND)
        again = await offered(stream)
        assert agent_pb2.Manifest.FromString(again.signed_manifest.manifest).revision == 2
        await stream.acknowledge(again, 2)
        await world.heard(stream)
    delivery = await world.known()
    assert (delivery.state, delivery.rejections, delivery.put_off) == (DeliveryState.APPLIED, (), None)


async def test_a_device_whose_disk_stays_full_is_asked_once_a_minute(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(run_id="run-1")
        for revision in (1, 2, 3):
            assert await refuse(world, stream, temporary=True) == revision
            assert await is_left_alone(stream)
            world.clock.advance(SHORTEST_WAIT)


async def test_the_wait_goes_on_over_the_streams_of_a_run(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(run_id="run-1")
        await refuse(world, stream, temporary=True)
    world.clock.advance(SHORTEST_WAIT - SECOND)
    async with world.stream() as stream:
        await stream.hello(run_id="run-1")
        assert await is_left_alone(stream)
        assert (await world.known()).state is DeliveryState.REJECTED
        world.clock.advance(SECOND)
        await stream.acknowledge(await offered(stream), 2)
        await world.heard(stream)


async def test_the_wait_is_a_heartbeat_where_that_is_longer(tmp_path: Path) -> None:
    world = World(heartbeat=timedelta(minutes=5))
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        await stream.hello(run_id="run-1")
        await refuse(world, stream, temporary=True)
        world.clock.advance(timedelta(minutes=4))
        world.streams.wake(None)
        world.clock.advance(timedelta(minutes=1))
        world.streams.wake(None)
        again = agent_pb2.Manifest.FromString((await offered(stream)).signed_manifest.manifest)
        assert again.issued.ToDatetime() == world.clock.now().replace(tzinfo=None)


async def test_what_is_refused_for_good_is_never_offered_to_the_same_run_again(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(run_id="run-1")
        await refuse(world, stream, temporary=True)
        world.clock.advance(SHORTEST_WAIT)
        assert await refuse(world, stream, temporary=False) == 2
        world.clock.advance(timedelta(days=30))
        assert await is_left_alone(stream)
    async with world.stream() as stream:
        await stream.hello(run_id="run-1")
        assert await is_left_alone(stream)
    async with world.stream() as stream:
        await stream.hello(run_id="run-2")
        assert await refuse(world, stream, temporary=False) == 3


async def test_another_document_does_not_wait(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(run_id="run-1")
        await refuse(world, stream, temporary=True)
        world.publish(settings(), rules("tools"))
        await stream.acknowledge(await offered(stream), 2)
        await world.heard(stream)
        world.clock.advance(SHORTEST_WAIT)
        await stream.confirmed()


async def test_nobody_waits_for_a_clock_that_was_set_back(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(run_id="run-1")
        await refuse(world, stream, temporary=True)
        world.clock.advance(-timedelta(days=8))
        await stream.acknowledge(await offered(stream), 2)
        await world.heard(stream)
