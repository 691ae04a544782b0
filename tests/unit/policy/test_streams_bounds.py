"""How many streams there may be, how devices are cut off, and when two of them look like one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from epm.policy.v1 import agent_pb2
from services._chassis.errors import DeniedError
from services.policy.model.delivery import MOST_RUNS, Delivery
from services.policy.model.states import DeliveryState
from services.policy.open_streams import BUSY, FULL, GREETED_OF_ONE, OPENED_OF_ONE
from services.policy.streams.manners import JITTER, Manners
from services.policy.usecases.sayings import COME_BACK
from tests.builders.doors import open_doors
from tests.builders.policy_streams import SOON, World
from tests.fakes.policy_delivery import MemoryDeliveries, device, huge, settings

LAST_CALL = 0.7
"""Seconds within which a retired device is gone."""

SLACK = 2.0
"""Seconds that a busy machine may take longer."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


async def throttled(world: World, device_id: str) -> timedelta:
    async with world.stream(device_id) as stream:
        await stream.say(agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello()))
        response = await stream.read()
        assert response.WhichOneof("message") == "throttle", response
        assert await stream.failure() == ("OK", "")
        return response.throttle.retry_after.ToTimedelta()


async def test_a_process_that_holds_its_most_streams_asks_others_to_come_later(tmp_path: Path) -> None:
    world = World(most_streams=1)
    async with open_doors(tmp_path, world.parts()) as world.doors:
        async with world.stream("d1") as stream:
            await stream.hello()
            await stream.apply()
            assert await throttled(world, "d2") == FULL.retry_after
            async with world.stream("d1") as newer:
                await newer.hello()
                await newer.offer()
        await world.until(lambda delivery: not delivery.stream)
        async with world.stream("d2") as stream:
            assert (await stream.hello()).HasField("server_time")


async def test_no_more_devices_are_greeted_at_once_than_the_bound(tmp_path: Path) -> None:
    world = World(most_streams=2)
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream("d1") as first:
        await world.admitted.wait()
        assert await throttled(world, "d2") == BUSY.retry_after
        await first.hello()
        await first.offer()
        async with world.stream("d2") as second:
            assert (await second.hello()).HasField("server_time")


async def test_a_retired_device_that_answers_nothing_is_gone_in_time(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        started = time.monotonic()
        world.directories.put(device("d1", enrolled=False))
        world.streams.wake(["d1"])
        await stream.offer()
        assert (await stream.sent_away()).reason == agent_pb2.GO_AWAY_REASON_RETIRED
        assert time.monotonic() - started < LAST_CALL + SLACK


async def test_a_retired_device_that_reads_nothing_is_gone_in_time_too(world: World) -> None:
    world.publish(settings(), huge(1))
    async with world.stream() as stream:
        await stream.say(agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello(capabilities=["policy-document/1"])))
        await world.until(lambda delivery: delivery.offered is not None)
        started = time.monotonic()
        world.directories.put(device("d1", enrolled=False))
        world.streams.wake(["d1"])
        await world.until(lambda delivery: not delivery.stream)
        assert time.monotonic() - started < LAST_CALL + SLACK


async def test_a_retired_device_hears_its_last_document_though_the_server_is_slow_to_make_it(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        world.directories.put(device("d1", enrolled=False))
        async with world.writer.first():
            world.streams.wake(["d1"])
            offered = asyncio.create_task(stream.offer())
            await asyncio.wait({offered}, timeout=2 * LAST_CALL)
            assert not offered.done()
        offer, manifest, document = await offered
        assert document.any_user.settings is None
        await stream.acknowledge(offer, manifest.revision)
        assert (await stream.sent_away()).reason == agent_pb2.GO_AWAY_REASON_RETIRED
    assert (await world.known()).applied_revision == manifest.revision


async def test_a_device_that_is_cut_hears_why_and_is_gone_at_once(world: World) -> None:
    async with world.stream() as stream, world.stream("d2") as other:
        for one in (stream, other):
            await one.hello()
            await one.apply()
            await world.heard(one)
        gone = DeniedError("the device was deleted", reason="DEVICE_UNKNOWN")
        world.streams.judge(lambda device_id, _: gone if device_id == "d1" else None, ["d1", "d2", "away"])
        assert await stream.failure() == ("PERMISSION_DENIED", "the device was deleted")
        world.streams.wake(["d2"])
        assert (await other.confirmed()).revision == 1


async def test_a_run_that_comes_back_after_another_one_is_two_lines_of_life(world: World) -> None:
    for run_id, suspected in (("a", 0), ("a", 0), ("b", 0), ("a", 1), ("a", 1), ("b", 1), ("a", 2)):
        async with world.stream() as stream:
            await stream.hello(run_id=run_id)
            await stream.offer()
            assert len(world.suspected) == suspected
    async with world.stream() as stream:
        await stream.hello()
        await stream.offer()
    assert world.suspected == ["d1", "d1"]


def test_the_last_runs_are_remembered_and_after_a_suspicion_none_but_the_one_that_speaks() -> None:
    delivery = Delivery("d1")
    runs = [f"run-{number}" for number in range(MOST_RUNS + 2)]
    for run_id in runs:
        assert not delivery.alternates(run_id)
        delivery = delivery.introduced(run_id, ())
    assert delivery.runs == tuple(runs[-MOST_RUNS:])
    assert not delivery.alternates(runs[0])
    assert delivery.alternates(runs[-2])
    assert delivery.introduced(runs[-2], ("k",)).runs == (runs[-2],)
    assert delivery.introduced("", ()).runs == (*runs[-MOST_RUNS:][1:], "")


def test_agents_that_never_tell_their_runs_are_under_no_suspicion_nor_is_one_that_gives_way_to_an_older_version() -> (
    None
):
    delivery = Delivery("d1")
    for run_id in ("", "", "a", "", "", "b", "", "c"):
        assert not delivery.alternates(run_id)
        delivery = delivery.introduced(run_id, ())
    assert delivery.runs == ("a", "b", "c")


async def test_a_copy_that_does_not_tell_its_run_is_seen_and_keeps_the_original_from_nothing(world: World) -> None:
    async with world.stream() as original, world.stream() as copy:
        await original.hello(run_id="a")
        await original.offer()
        await copy.hello()
        assert (await original.sent_away()).reconnect_within.ToTimedelta() == COME_BACK
        async with world.stream() as again:
            await again.hello(run_id="a")
            await again.offer()
    assert world.suspected == ["d1"]


async def test_the_older_of_two_lines_of_life_is_asked_back_so_that_both_are_seen(tmp_path: Path) -> None:
    deliveries, numbers = MemoryDeliveries(), count(1)
    here, there = World(deliveries, numbers=numbers), World(deliveries, numbers=numbers)
    async with (
        open_doors(tmp_path, here.parts()) as here.doors,
        open_doors(tmp_path, there.parts()) as there.doors,
    ):
        for newer_at in (here, there):
            async with here.stream() as older, newer_at.stream() as newer:
                await older.hello(run_id=f"older-{newer_at is here}")
                await older.offer()
                await newer.hello(run_id=f"newer-{newer_at is here}")
                await newer.offer()
                await here.streams.hold()
                farewell = await older.sent_away()
                assert farewell.reconnect_within.ToTimedelta() == COME_BACK


async def test_a_device_that_only_connects_anew_is_not_asked_back(world: World) -> None:
    async with world.stream() as older, world.stream() as newer:
        await older.hello(run_id="a")
        await older.offer()
        await newer.hello(run_id="a")
        assert not (await older.sent_away()).HasField("reconnect_within")
    assert world.suspected == []


def test_heartbeats_are_spread_and_come_three_times_before_a_policy_is_stale() -> None:
    def manners(chance: float) -> Manners:
        plain = World().manners
        return Manners(
            speaker=plain.speaker,
            clock=plain.clock,
            on_answer=plain.on_answer,
            on_clone=plain.on_clone,
            heartbeat=timedelta(minutes=5),
            chance=lambda: chance,
        )

    assert [manners(chance).silence(None) for chance in (0.0, 1.0)] == [300, 300 * (1 - JITTER)]
    assert manners(0).silence(timedelta(minutes=3)) == 60
    assert manners(0).silence(timedelta(days=30)) == 300
    assert manners(0).silence(timedelta()) == 1


async def test_a_document_that_is_stale_sooner_is_confirmed_sooner(tmp_path: Path) -> None:
    world = World(heartbeat=timedelta(hours=1))
    world.publish(settings(stale_after=timedelta(seconds=3)))
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        assert (await stream.confirmed()).revision == 1


async def test_a_device_to_which_nothing_can_be_confirmed_is_shown_that_the_server_lives(tmp_path: Path) -> None:
    world = World(heartbeat=SOON)
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        assert (await stream.read()).welcome.heartbeat.ToTimedelta() == SOON
        await stream.refuse(offer, "it is bad")
        await world.until(lambda delivery: delivery.state is DeliveryState.REJECTED)
        for _ in range(3):
            assert (await stream.read()).WhichOneof("message") == "welcome"


async def test_a_confirmation_costs_one_signature_and_no_write(tmp_path: Path) -> None:
    world = World(heartbeat=SOON)
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        assert isinstance(world.deliveries, MemoryDeliveries)
        writes = len(world.deliveries.groups)
        for _ in range(3):
            while (heard := (await stream.read()).WhichOneof("message")) == "welcome":
                pass  # said while the answer was on its way: on a busy machine that takes longer than the heartbeat
            assert heard == "up_to_date"
        assert len(world.deliveries.groups) == writes
        assert (await world.known()).connected


async def test_a_device_that_opens_streams_and_says_nothing_keeps_no_other_from_being_greeted(tmp_path: Path) -> None:
    world = World(most_streams=4 * GREETED_OF_ONE)
    async with open_doors(tmp_path, world.parts()) as world.doors, AsyncExitStack() as silent:
        for _ in range(GREETED_OF_ONE):
            world.admitted.clear()
            await silent.enter_async_context(world.stream("d1"))
            await world.admitted.wait()
        assert await throttled(world, "d1") == BUSY.retry_after
        async with world.stream("d2") as other:
            assert (await other.hello()).HasField("server_time")


async def test_a_device_that_opens_streams_without_end_is_asked_to_come_later_and_costs_nothing_more() -> None:
    world = World()

    def ask(device_id: str) -> timedelta | None:
        with world.streams.greeting(device_id) as busy:
            return None if busy is None else busy.retry_after

    assert [ask("d1") for _ in range(OPENED_OF_ONE)] == [None] * OPENED_OF_ONE
    assert ask("d1") == BUSY.retry_after
    assert ask("d2") is None
    world.clock.advance(timedelta(seconds=1))
    assert [ask("d1") for _ in range(3)] == [None, None, BUSY.retry_after]
