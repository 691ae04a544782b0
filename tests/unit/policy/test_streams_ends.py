import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import grpc.aio
import pytest

from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.client import MESSAGE_LIMIT
from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery
from services.policy.model.manifest import LIFETIME
from services.policy.model.states import DeliveryState
from services.policy.ports import DeliveryStep
from services.policy.streams.stream import PolicyStream
from services.policy.usecases.delivery import Conversation
from services.policy.usecases.hello import Hello
from tests.builders.doors import open_doors, service_identity
from tests.builders.policy_streams import SOON, Stream, World
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import MemoryDeliveries, device, huge, rules, settings


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


async def test_a_stream_without_hello_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.say(agent_pb2.StreamPolicyRequest(ack=agent_pb2.Ack(nonce=b"x", revision=1)))
        assert await stream.failure() == ("INVALID_ARGUMENT", "hello: must be the first message of the stream")


async def test_an_answer_that_is_too_large_is_refused_and_says_why(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.say(agent_pb2.StreamPolicyRequest(nack=agent_pb2.Nack(reasons=["x" * MESSAGE_LIMIT])))
        code, message = await stream.failure()
    assert (code, message[:20]) == ("RESOURCE_EXHAUSTED", "the message has 4194")


async def test_a_second_hello_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.say(agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello()))
        assert await stream.failure() == ("INVALID_ARGUMENT", "message: must be ack, nack or outcomes_kept after hello")


async def test_a_hello_that_cannot_be_right_is_refused_with_all_its_problems(world: World) -> None:
    async with world.stream() as stream:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stream.hello(revision=2**63, sha256=b"short")
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert str(failed.value.details()).count("hello.") == 2


async def test_a_device_that_names_another_is_refused(world: World) -> None:
    async with world.stream("d1") as stream:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stream.hello(device_id="d2")
        assert failed.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert await world.known("d2") == Delivery("d2")


async def test_a_service_is_not_a_device(world: World) -> None:
    async with world.doors.mesh(service_identity("reporting")) as channel:
        stream = Stream("d1", agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy())
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def test_a_retired_device_is_refused(world: World) -> None:
    world.directories.put(device("d1", enrolled=False))
    async with world.stream() as stream:
        await refused_hello(stream)


async def test_a_device_that_is_retired_before_it_says_hello_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await world.admitted.wait()
        world.directories.put(device("d1", enrolled=False))
        await refused_hello(stream)
    assert await world.known() == Delivery("d1")


async def test_a_device_that_was_retired_while_it_was_away_is_told_farewell_at_its_hello(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await world.heard(stream)
    await world.until(lambda delivery: not delivery.stream)
    world.directories.put(device("d1", enrolled=False))
    async with world.stream() as stream:
        await stream.hello(held)
        offer, manifest, document = await stream.offer()
        assert (document.any_user.settings, document.rules_policies, document.grants) == (None, (), ())
        await stream.acknowledge(offer, manifest.revision)
        assert (await stream.sent_away()).reason == agent_pb2.GO_AWAY_REASON_RETIRED
    async with world.stream() as stream:
        await stream.hello(manifest)
        assert (await stream.sent_away()).reason == agent_pb2.GO_AWAY_REASON_RETIRED


async def test_a_banned_device_that_holds_a_policy_is_told_nothing(world: World) -> None:
    world.directories.put(replace(device("d1", enrolled=False), banned=True))
    async with world.stream() as stream:
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def refused_hello(stream: Stream) -> None:
    """Say hello without holding a policy, which is refused without a welcome."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.hello()
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_device_that_the_directory_does_not_show_is_asked_to_come_back(world: World) -> None:
    async with world.stream("new") as stream:
        assert (await stream.failure())[0] == "UNAVAILABLE"
    async with world.stream("d1") as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        world.directories.lose("d1")
        world.streams.wake(["d1"])
        assert (await stream.failure())[0] == "UNAVAILABLE"


async def test_the_document_is_confirmed_at_every_heartbeat(tmp_path: Path) -> None:
    world = World(heartbeat=SOON)
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await world.heard(stream)
        world.clock.advance(timedelta(days=6))
        async with asyncio.timeout(20):
            while (again := await stream.confirmed()).expires == held.expires:
                pass
        assert (again.revision, again.expires) == (held.revision, NOW + timedelta(days=6) + LIFETIME)


async def test_the_newest_stream_of_a_device_wins(world: World) -> None:
    async with world.stream() as older, world.stream() as newer:
        await older.hello()
        await older.offer()
        await newer.hello()
        assert (await older.sent_away()).reason == agent_pb2.GO_AWAY_REASON_SUPERSEDED
        await newer.apply()
        await world.heard(newer)
        assert (await world.known()).connected
    await world.until(lambda delivery: not delivery.connected)


async def test_the_newest_stream_wins_over_another_process_too(tmp_path: Path) -> None:
    deliveries, numbers = MemoryDeliveries(), count(1)
    here, there = World(deliveries, numbers=numbers), World(deliveries, numbers=numbers)
    async with (
        open_doors(tmp_path, here.parts()) as here.doors,
        open_doors(tmp_path, there.parts()) as there.doors,
        here.stream() as older,
        there.stream() as newer,
        here.stream("d2") as bystander,
    ):
        await bystander.hello()
        await older.hello()
        held = await older.apply()
        await here.heard(older)
        await newer.hello(held)
        await newer.confirmed()
        await here.streams.hold()
        assert (await older.sent_away()).reason == agent_pb2.GO_AWAY_REASON_SUPERSEDED
        await bystander.apply()
        there.publish(settings(), rules())
        assert (await newer.apply()).revision == 2


async def test_an_older_stream_that_finds_a_newer_one_elsewhere_offers_nothing(tmp_path: Path) -> None:
    deliveries, numbers = MemoryDeliveries(), count(1)
    here, there = World(deliveries, numbers=numbers), World(deliveries, numbers=numbers)
    async with (
        open_doors(tmp_path, here.parts()) as here.doors,
        open_doors(tmp_path, there.parts()) as there.doors,
        here.stream() as older,
        there.stream() as newer,
    ):
        await older.hello()
        held = await older.apply()
        await here.heard(older)
        await newer.hello(held)
        await newer.confirmed()
        here.publish(settings(), rules())
        assert (await older.sent_away()).reason == agent_pb2.GO_AWAY_REASON_SUPERSEDED
    assert (await here.known()).revision == 1


async def test_a_device_that_is_retired_gets_a_document_without_settings_and_is_sent_away(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        world.directories.put(device("d1", enrolled=False))
        world.streams.wake(["d1"])
        offer, manifest, document = await stream.offer()
        assert (document.any_user.settings, document.rules_policies) == (None, ())
        await stream.acknowledge(offer, manifest.revision)
        farewell = await stream.sent_away()
        assert farewell.reason == agent_pb2.GO_AWAY_REASON_RETIRED
        assert not farewell.HasField("reconnect_within")


async def test_a_process_that_ends_sends_its_streams_away(tmp_path: Path) -> None:
    world = World()
    grace = timedelta(seconds=5)
    async with open_doors(tmp_path, world.parts(), drain_grace=grace) as world.doors, world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        await world.streams.drain()
        farewell = await stream.sent_away()
        assert farewell.reason == agent_pb2.GO_AWAY_REASON_DRAINING
        assert farewell.reconnect_within.ToTimedelta() > timedelta()
    assert not (await world.known()).connected


async def test_a_stream_that_begins_while_the_process_ends_is_sent_away(world: World) -> None:
    await world.streams.drain()
    async with world.stream() as stream:
        await stream.hello()
        assert (await stream.sent_away()).reason == agent_pb2.GO_AWAY_REASON_DRAINING


async def test_a_device_that_reads_nothing_holds_nobody_up(world: World) -> None:
    world.publish(settings(), huge(1))
    async with world.stream("d1") as slow, world.stream("d2") as quick:
        await slow.say(agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello(capabilities=["policy-document/1"])))
        await world.until(lambda delivery: delivery.state is DeliveryState.OFFERED)
        await quick.hello()
        for revision in range(1, 5):
            assert (await quick.apply()).revision == revision
            await world.heard(quick)
            world.publish(settings(), rules(f"after-{revision}"))


async def test_nothing_is_offered_that_could_not_be_kept(world: World) -> None:
    assert isinstance(world.deliveries, MemoryDeliveries)
    world.deliveries.failure = UnavailableError("the disk is full")
    async with world.stream() as stream:
        await stream.hello()
        assert (await stream.failure())[0] == "UNAVAILABLE"
    world.deliveries.failure = None
    async with world.stream() as stream:
        await stream.hello()
        assert (await stream.apply()).revision == 1


async def test_a_stream_that_is_held_tells_when_it_confirmed_and_was_seen(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        world.clock.advance(timedelta(minutes=1))
        confirmed = world.clock.now()
        world.streams.wake(["d1"])
        await stream.confirmed()
        world.clock.advance(timedelta(minutes=5))
        await world.streams.hold()
        known = await world.known()
        assert (known.connected, known.confirmed, known.seen) == (True, confirmed, world.clock.now())


async def test_a_stream_that_was_taken_for_gone_is_asked_to_come_back(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        await world.deliveries.change([("d1", lambda old: old.closed(old.stream, NOW))])
        await world.streams.hold()
        away = await stream.sent_away()
        assert (away.reason, away.HasField("reconnect_within")) == (agent_pb2.GO_AWAY_REASON_DRAINING, True)


async def test_that_a_stream_ended_is_written_down_though_its_call_is_cancelled_twice(world: World) -> None:
    listening, leaving, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def silence() -> AsyncIterator[agent_pb2.StreamPolicyRequest]:
        listening.set()
        try:
            await asyncio.Event().wait()
            yield agent_pb2.StreamPolicyRequest()
        finally:
            leaving.set()
            await left.wait()

    async def send(_: agent_pb2.StreamPolicyResponse) -> None: ...

    conversation = Conversation(
        "d1", "stream-1", book=world.book, deliveries=world.writer, new_nonce=lambda: b"", keys=world.speaker.keys
    )
    running = asyncio.create_task(PolicyStream(conversation, world.manners).run(Hello(), silence(), send))
    await listening.wait()
    running.cancel()
    await leaving.wait()
    running.cancel()
    left.set()
    await asyncio.wait([running])
    await world.until(lambda delivery: not delivery.stream)


class Undecided:
    """Keep steps, and never tell that they were kept."""

    def __init__(self, world: World) -> None:
        self.asked = asyncio.Event()
        self._world = world

    def change(self, device_id: str, step: DeliveryStep) -> "asyncio.Future[Delivery]":
        """Hand the step on."""
        kept = self._world.writer.change(device_id, step)
        if self.asked.is_set():
            return kept
        self.asked.set()
        return asyncio.get_running_loop().create_future()


async def test_that_a_stream_ended_is_written_down_though_its_call_is_cancelled_while_it_begins(world: World) -> None:
    async def silence() -> AsyncIterator[agent_pb2.StreamPolicyRequest]:
        await asyncio.Event().wait()
        yield agent_pb2.StreamPolicyRequest()

    async def send(_: agent_pb2.StreamPolicyResponse) -> None: ...

    deliveries = Undecided(world)
    conversation = Conversation(
        "d1", "stream-1", book=world.book, deliveries=deliveries, new_nonce=lambda: b"", keys=world.speaker.keys
    )
    running = asyncio.create_task(PolicyStream(conversation, world.manners).run(Hello(), silence(), send))
    await deliveries.asked.wait()
    await world.until(lambda delivery: bool(delivery.stream))
    running.cancel()
    await asyncio.wait([running])
    await world.until(lambda delivery: not delivery.stream)
