import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import grpc.aio
import pytest

from elevation.model import RulesPolicy
from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.migrate import upgrade
from services.policy.model.delivery import Delivery, Desired
from services.policy.model.manifest import LIFETIME
from services.policy.model.states import DeliveryState
from services.policy.store.deliveries import SqlDeliveries
from tests.builders.doors import open_doors, service_identity
from tests.builders.policy_streams import SOON, Stream, World
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import DEPROVISION_AFTER, MemoryDeliveries, device, group, rules, settings


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


async def known(world: World, device_id: str = "d1") -> Delivery:
    return (await world.deliveries.many([device_id]))[device_id]


async def test_the_device_is_welcomed_and_offered_its_document_at_once(world: World) -> None:
    world.publish(settings(), rules("tools"))
    async with world.stream() as stream:
        welcome = await stream.hello(device_id="d1")
        assert welcome.server_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW
        assert welcome.heartbeat.ToTimedelta() == timedelta(hours=1)
        offer, manifest, document = await stream.offer()
        assert manifest.revision == 1
        assert manifest.expires == NOW + LIFETIME
        assert (document.device_id, document.device_name) == ("d1", "D1")
        assert [policy.name for policy in document.rules_policies] == ["tools"]
        assert (await known(world)).state is DeliveryState.OFFERED
        await stream.acknowledge(offer, 1)
        assert (await stream.confirmed()).sha256 == manifest.sha256
    assert (await known(world)).state is DeliveryState.APPLIED
    assert world.answered == ["d1"]


async def test_a_device_that_holds_the_newest_document_gets_no_body(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await stream.confirmed()
    async with world.stream() as stream:
        await stream.hello(held)
        assert (await stream.confirmed()).revision == held.revision


async def test_an_answer_that_was_lost_is_known_from_the_next_hello(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        _, held, _ = await stream.offer()
    assert (await known(world)).state is DeliveryState.OFFERED
    async with world.stream() as stream:
        await stream.hello(held)
        await stream.confirmed()
        assert (await known(world)).acknowledged(Desired.ON)


async def test_the_end_of_a_stream_answers_nothing(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        first, _, _ = await stream.offer()
        await stream.call.done_writing()
        assert (await stream.failure())[0] == "OK"
    async with world.stream() as stream:
        await stream.hello()
        again, manifest, _ = await stream.offer()
        assert (manifest.revision, again.nonce == first.nonce) == (1, False)


async def test_a_change_is_pushed_under_the_next_revision(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await stream.confirmed()
        world.publish(settings(), rules("tools"))
        _, manifest, document = await stream.offer()
        assert (manifest.revision, [policy.name for policy in document.rules_policies]) == (2, ["tools"])


async def test_a_change_of_the_groups_is_pushed_to_the_devices_that_it_reaches(world: World) -> None:
    world.publish(settings(), rules("tools", "lab"))
    async with world.stream("d1") as first, world.stream("d2") as second:
        for stream in (first, second):
            await stream.hello()
            await stream.apply()
            await stream.confirmed()
        world.directories.group(group("lab", "D2"))
        world.streams.wake(None)
        _, manifest, document = await second.offer()
        assert (manifest.revision, len(document.rules_policies)) == (2, 1)
        assert (await first.confirmed()).revision == 1


async def test_a_change_that_changes_nothing_for_the_device_makes_no_revision(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await stream.confirmed()
        world.publish(settings(), rules("tools", "elsewhere"))
        assert (await stream.confirmed()).revision == 1


async def test_changes_before_an_answer_are_one_change_after_it(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        world.publish(settings(), rules("one"))
        world.publish(settings(), rules("one"), rules("two"))
        await stream.acknowledge(offer, 1)
        _, manifest, document = await stream.offer()
        assert (manifest.revision, len(document.rules_policies)) == (2, 2)


async def test_a_refused_document_is_not_offered_again_until_it_changes(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await stream.confirmed()
        world.publish(settings(), rules("bad"))
        offer, _, _ = await stream.offer()
        await stream.refuse(offer, "it is bad", "very\0bad")
        await until(world, DeliveryState.REJECTED)
    assert (await known(world)).rejections == ("it is bad", "verybad")
    async with world.stream() as stream:
        await stream.hello(held)
        world.publish(settings(), rules("good"))
        _, manifest, document = await stream.offer()
        assert (manifest.revision, document.rules_policies[0].name) == (3, "good")
        assert (await known(world)).rejections == ()


async def test_going_back_to_old_content_is_a_new_revision(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        first = await stream.apply()
        await stream.confirmed()
        world.publish(settings(), rules("tools"))
        await stream.apply()
        await stream.confirmed()
        world.publish(settings())
        _, back, _ = await stream.offer()
        assert (back.revision, back.sha256) == (3, first.sha256)


async def test_a_device_that_holds_more_than_anyone_here_knows_gets_a_revision_above_it(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(revision=41, sha256=b"x" * 32)
        assert (await stream.offer())[1].revision == 42


async def test_a_device_that_holds_other_content_under_our_revision_gets_the_next_one(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
    async with world.stream() as stream:
        await stream.hello(revision=1, sha256=b"x" * 32)
        assert (await stream.offer())[1].revision == 2


async def test_revisions_outlive_the_process(tmp_path: Path) -> None:
    revisions = []
    for number in range(3):
        database = await Database.connect(f"sqlite:///{tmp_path / 'policy.db'}", service="policy")
        await upgrade(database)
        world = World(SqlDeliveries(database))
        world.publish(settings(), rules(f"policy-{number}"))
        async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
            await stream.hello()
            revisions.append((await stream.apply()).revision)
            await stream.confirmed()
        await database.close()
    assert revisions == [1, 2, 3]


async def test_a_stream_without_hello_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.say(agent_pb2.StreamPolicyRequest(ack=agent_pb2.Ack(nonce=b"x", revision=1)))
        assert await stream.failure() == ("INVALID_ARGUMENT", "hello: must be the first message of the stream")


async def test_a_second_hello_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.say(agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello()))
        assert await stream.failure() == ("INVALID_ARGUMENT", "message: must be ack or nack after hello")


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
    assert await known(world, "d2") == Delivery("d2")


async def test_a_service_is_not_a_device(world: World) -> None:
    async with world.doors.mesh(service_identity("reporting")) as channel:
        stream = Stream("d1", agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy())
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def test_a_retired_device_is_refused(world: World) -> None:
    world.directories.put(device("d1", enrolled=False))
    async with world.stream() as stream:
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def test_a_device_that_the_directory_does_not_show_is_asked_to_come_back(world: World) -> None:
    async with world.stream("new") as stream:
        assert (await stream.failure())[0] == "UNAVAILABLE"
    async with world.stream("d1") as stream:
        await stream.hello()
        await stream.apply()
        await stream.confirmed()
        world.directories.lose("d1")
        world.streams.wake(["d1"])
        assert (await stream.failure())[0] == "UNAVAILABLE"


@pytest.mark.parametrize("answer", ["ack", "nack"])
async def test_an_answer_to_no_offer_is_refused(world: World, answer: str) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.offer()
        stranger = agent_pb2.Offer(nonce=b"another")
        await (stream.acknowledge(stranger, 1) if answer == "ack" else stream.refuse(stranger, "no"))
        code, details = await stream.failure()
        assert (code, details.partition(":")[0]) == ("INVALID_ARGUMENT", f"{answer}.nonce")
    assert (await known(world)).state is DeliveryState.OFFERED


async def test_an_answer_counts_once(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        await stream.acknowledge(offer, 1)
        await stream.confirmed()
        await stream.acknowledge(offer, 1)
        assert (await stream.failure())[0] == "INVALID_ARGUMENT"


async def test_an_ack_of_another_revision_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        await stream.acknowledge(offer, 7)
        assert await stream.failure() == ("INVALID_ARGUMENT", "ack.revision: must be 1, the revision of the offer")


async def test_an_agent_that_does_not_understand_the_document_gets_none(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(capabilities=["policy-document/2"])
        world.publish(settings(), rules())
        await world.streams.drain()
        assert (await stream.sent_away()).reason == agent_pb2.GO_AWAY_REASON_DRAINING
    assert (await known(world)).state is DeliveryState.PENDING


async def test_a_document_that_no_message_can_hold_is_not_offered_and_says_why(world: World) -> None:
    world.publish(settings(), *(huge(number) for number in range(5)))
    async with world.stream() as stream:
        await stream.hello()
        await until(world, DeliveryState.REJECTED)
        assert "can be sent; assign less" in (await known(world)).rejections[0]
        world.publish(settings())
        assert (await stream.offer())[1].revision == 2


async def test_the_document_is_confirmed_at_every_heartbeat(tmp_path: Path) -> None:
    world = World(heartbeat=SOON)
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await stream.confirmed()
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
        await newer.confirmed()
        assert (await known(world)).connected(NOW)
    assert isinstance(world.deliveries, MemoryDeliveries)
    await world.deliveries.until("d1", lambda delivery: not delivery.connected(NOW))


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
        await older.confirmed()
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
        await older.confirmed()
        await newer.hello(held)
        await newer.confirmed()
        here.publish(settings(), rules())
        assert (await older.sent_away()).reason == agent_pb2.GO_AWAY_REASON_SUPERSEDED
    assert (await known(here)).revision == 1


async def test_a_device_that_is_retired_gets_a_document_without_settings_and_is_sent_away(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await stream.confirmed()
        world.directories.put(device("d1", enrolled=False))
        world.streams.wake(["d1"])
        offer, manifest, document = await stream.offer()
        assert (document.any_user.settings, document.rules_policies) == (None, ())
        await stream.acknowledge(offer, manifest.revision)
        farewell = await stream.sent_away()
        assert farewell.reason == agent_pb2.GO_AWAY_REASON_RETIRED
        assert not farewell.HasField("reconnect_within")


async def test_a_device_that_loses_its_settings_is_told_when_its_component_goes_before_the_directory_knows(
    world: World,
) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await stream.confirmed()
        world.publish()
        offer, manifest, document = await stream.offer()
        assert (document.any_user.settings, document.deprovision_time) == (None, NOW + DEPROVISION_AFTER)
        await stream.acknowledge(offer, manifest.revision)
        await stream.confirmed()
        world.clock.advance(timedelta(days=1))
        world.publish(rules("unrelated", "nobody"))
        assert (await stream.confirmed()).revision == 2
        world.directories.put(replace(device("d1", "alice"), deprovision_time=NOW + timedelta(days=3)))
        world.streams.wake(["d1"])
        offer, manifest, document = await stream.offer()
        assert document.deprovision_time == NOW + timedelta(days=3)
        await stream.acknowledge(offer, manifest.revision)
        await stream.confirmed()
        world.publish(settings())
        assert (await stream.offer())[2].deprovision_time is None
    assert (await known(world)).lost is None


async def test_a_device_that_never_had_settings_is_told_of_no_removal(world: World) -> None:
    world.publish()
    async with world.stream() as stream:
        await stream.hello()
        for contents in ([rules()], []):
            offer, manifest, document = await stream.offer()
            assert document.deprovision_time is None
            await stream.acknowledge(offer, manifest.revision)
            await stream.confirmed()
            world.publish(*contents)


async def test_a_process_that_ends_sends_its_streams_away(tmp_path: Path) -> None:
    world = World()
    grace = timedelta(seconds=5)
    async with open_doors(tmp_path, world.parts(), drain_grace=grace) as world.doors, world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await stream.confirmed()
        await world.streams.drain()
        farewell = await stream.sent_away()
        assert farewell.reason == agent_pb2.GO_AWAY_REASON_DRAINING
        assert farewell.reconnect_within.ToTimedelta() > timedelta()
    assert not (await known(world)).connected(NOW)


async def test_a_device_that_reads_nothing_holds_nobody_up(world: World) -> None:
    world.publish(settings(), huge(1))
    async with world.stream("d1") as slow, world.stream("d2") as quick:
        await slow.say(agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello(capabilities=["policy-document/1"])))
        await until(world, DeliveryState.OFFERED)
        await quick.hello()
        for revision in range(1, 5):
            assert (await quick.apply()).revision == revision
            await quick.confirmed()
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


async def test_an_open_stream_is_shown_as_connected_as_long_as_a_process_holds_it(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await stream.confirmed()
        world.clock.advance(timedelta(minutes=5))
        assert not (await known(world)).connected(world.clock.now())
        await world.streams.hold()
        assert (await known(world)).connected(world.clock.now())
        assert (await known(world)).confirmed == world.clock.now()


def huge(number: int) -> RulesPolicy:
    """Make a policy of about a megabyte."""
    [rule] = rules().rules
    described = tuple(replace(rule, name=f"rule-{index}", description="x" * 1000) for index in range(1000))
    return rules(f"huge-{number}", rules=described)


async def until(world: World, state: DeliveryState) -> None:
    assert isinstance(world.deliveries, MemoryDeliveries)
    await world.deliveries.until("d1", lambda delivery: delivery.state is state)
