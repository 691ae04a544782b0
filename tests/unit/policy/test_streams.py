from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from epm.policy.v1 import agent_pb2
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.policy.model.delivery import Desired
from services.policy.model.manifest import LIFETIME
from services.policy.model.states import DeliveryState
from services.policy.store.deliveries import deliveries_in
from services.policy.usecases.delivery import TOO_OLD
from tests.builders.doors import open_doors
from tests.builders.policy_streams import World
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import DEPROVISION_AFTER, MemoryDeliveries, device, group, huge, rules, settings


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


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
        assert (await world.known()).state is DeliveryState.OFFERED
        await stream.acknowledge(offer, 1)
        await world.heard(stream)
    assert (await world.known()).state is DeliveryState.APPLIED
    assert world.answered == ["d1", "d1"]  # by its hello, and by its answer


async def test_a_hello_and_the_document_that_it_leads_to_are_one_commit(world: World) -> None:
    assert isinstance(world.deliveries, MemoryDeliveries)
    async with world.stream() as stream:
        await stream.hello()
        await stream.offer()
        assert (world.deliveries.groups, (await world.known()).revision) == ([1], 1)


async def test_a_device_that_lost_its_settings_while_it_was_away_hears_when_its_component_goes(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await world.heard(stream)
    world.publish()
    async with world.stream() as stream:
        await stream.hello(held)
        _, manifest, document = await stream.offer()
        assert (manifest.revision, (await world.known()).lost) == (2, NOW)
        assert document.deprovision_time == NOW + DEPROVISION_AFTER


async def test_what_was_just_acknowledged_is_not_confirmed_before_the_next_heartbeat(world: World) -> None:
    async with world.stream() as stream, world.stream("d2") as other:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        await other.hello()
        await other.offer()  # meanwhile the first stream had its turn
        world.publish(settings(), rules("tools"))
        assert (await stream.apply()).revision == 2


async def test_a_device_that_holds_the_newest_document_gets_no_body(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await world.heard(stream)
    async with world.stream() as stream:
        await stream.hello(held)
        assert (await stream.confirmed()).revision == held.revision


async def test_an_answer_that_was_lost_is_known_from_the_next_hello(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        _, held, _ = await stream.offer()
    assert (await world.known()).state is DeliveryState.OFFERED
    async with world.stream() as stream:
        await stream.hello(held)
        await stream.confirmed()
        assert (await world.known()).acknowledged(Desired.ON)
        assert world.answered == ["d1", "d1"]  # whoever tells the device service hears of it now, not a survey later


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
        await world.heard(stream)
        world.publish(settings(), rules("tools"))
        _, manifest, document = await stream.offer()
        assert (manifest.revision, [policy.name for policy in document.rules_policies]) == (2, ["tools"])


async def test_a_change_of_the_groups_is_pushed_to_the_devices_that_it_reaches(world: World) -> None:
    world.publish(settings(), rules("tools", "lab"))
    async with world.stream("d1") as first, world.stream("d2") as second:
        for stream in (first, second):
            await stream.hello()
            await stream.apply()
            await world.heard(stream)
        world.directories.group(group("lab", "D2"))
        world.streams.wake(None)
        _, manifest, document = await second.offer()
        assert (manifest.revision, len(document.rules_policies)) == (2, 1)
        assert (await first.confirmed()).revision == 1


async def test_a_change_that_changes_nothing_for_the_device_makes_no_revision(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        world.publish(settings(), rules("tools", "elsewhere"))
        assert (await stream.confirmed()).revision == 1


async def test_changes_before_an_answer_are_one_change_after_it(world: World) -> None:
    async with world.stream() as stream, world.stream("d2") as other:
        await stream.hello()
        offer, _, _ = await stream.offer()
        await other.hello()
        await other.apply()
        await world.heard(other)
        world.publish(settings(), rules("one"))
        assert (await other.apply()).revision == 2
        world.publish(settings(), rules("one"), rules("two"))
        assert (await world.known()).revision == 1
        await stream.acknowledge(offer, 1)
        _, manifest, document = await stream.offer()
        assert (manifest.revision, len(document.rules_policies)) == (2, 2)


async def test_a_refused_document_is_not_offered_again_until_it_changes(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await world.heard(stream)
        world.publish(settings(), rules("bad"))
        offer, _, _ = await stream.offer()
        await stream.refuse(offer, "it is bad", "very\0bad")
        await world.until(lambda delivery: delivery.state is DeliveryState.REJECTED)
    assert (await world.known()).rejections == ("it is bad", "verybad")
    async with world.stream() as stream:
        await stream.hello(held)
        world.publish(settings(), rules("good"))
        _, manifest, document = await stream.offer()
        assert (manifest.revision, document.rules_policies[0].name) == (3, "good")
        assert (await world.known()).rejections == ()


async def test_going_back_to_old_content_is_a_new_revision(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        first = await stream.apply()
        await world.heard(stream)
        world.publish(settings(), rules("tools"))
        await stream.apply()
        await world.heard(stream)
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
        deliveries = deliveries_in(database)
        world = World(deliveries)
        world.publish(settings(), rules(f"policy-{number}"))
        async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
            await stream.hello()
            revisions.append((await stream.apply()).revision)
            await world.heard(stream)
        await deliveries.close()
        await database.close()
    assert revisions == [1, 2, 3]


@pytest.mark.parametrize("answer", ["ack", "nack"])
async def test_an_answer_to_no_offer_is_refused(world: World, answer: str) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.offer()
        stranger = agent_pb2.Offer(nonce=b"another")
        await (stream.acknowledge(stranger, 1) if answer == "ack" else stream.refuse(stranger, "no"))
        code, details = await stream.failure()
        assert (code, details.partition(":")[0]) == ("INVALID_ARGUMENT", f"{answer}.nonce")
    assert (await world.known()).state is DeliveryState.OFFERED


async def test_an_answer_counts_once(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        await stream.acknowledge(offer, 1)
        await world.heard(stream)
        await stream.acknowledge(offer, 1)
        assert (await stream.failure())[0] == "INVALID_ARGUMENT"


async def test_an_ack_of_another_revision_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        await stream.acknowledge(offer, 7)
        assert await stream.failure() == ("INVALID_ARGUMENT", "ack.revision: must be 1, the revision of the offer")


async def test_a_refusal_of_another_revision_than_the_offers_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        await stream.refuse(offer, "no", revision=2)
        assert await stream.failure() == ("INVALID_ARGUMENT", "nack.revision: must be 1, the revision of the offer")
    assert (await world.known()).state is DeliveryState.OFFERED


@pytest.mark.parametrize("revision", [0, 1])
async def test_a_refusal_without_a_word_is_kept_and_shown_as_one(world: World, revision: int) -> None:
    async with world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        await stream.refuse(offer, revision=revision)
        await world.until(lambda delivery: delivery.state is DeliveryState.REJECTED)
    assert (await world.known()).rejections == ("the device gave no reason",)


async def test_an_agent_that_does_not_understand_the_document_gets_none_and_shows_why(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(capabilities=["policy-document/2"])
        await world.until(lambda delivery: delivery.state is DeliveryState.REJECTED)
        assert (await world.known()).rejections == (TOO_OLD,)
        world.directories.put(device("d1", enrolled=False))
        world.streams.wake(["d1"])
        assert (await stream.sent_away()).reason == agent_pb2.GO_AWAY_REASON_RETIRED


async def test_an_agent_that_was_too_old_is_offered_the_document_once_it_is_newer(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello(capabilities=[])
        await world.until(lambda delivery: delivery.state is DeliveryState.REJECTED)
    async with world.stream() as stream:
        await stream.hello()
        assert (await stream.offer())[1].revision == 1
        assert ((await world.known()).state, (await world.known()).rejections) == (DeliveryState.OFFERED, ())


async def test_a_document_that_no_message_can_hold_is_not_offered_and_says_why(world: World) -> None:
    world.publish(settings(), *(huge(number) for number in range(5)))
    async with world.stream() as stream:
        await stream.hello()
        await world.until(lambda delivery: delivery.state is DeliveryState.REJECTED)
        assert "can be sent; assign less" in (await world.known()).rejections[0]
        world.publish(settings())
        assert (await stream.offer())[1].revision == 2


async def test_a_device_that_loses_its_settings_is_told_when_its_component_goes_before_the_directory_knows(
    world: World,
) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        world.publish()
        offer, manifest, document = await stream.offer()
        assert (document.any_user.settings, document.deprovision_time) == (None, NOW + DEPROVISION_AFTER)
        await stream.acknowledge(offer, manifest.revision)
        await world.heard(stream)
        world.clock.advance(timedelta(days=1))
        world.publish(rules("unrelated", "nobody"))
        assert (await stream.confirmed()).revision == 2
        world.directories.put(replace(device("d1", "alice"), deprovision_time=NOW + timedelta(days=3)))
        world.streams.wake(["d1"])
        offer, manifest, document = await stream.offer()
        assert document.deprovision_time == NOW + timedelta(days=3)
        await stream.acknowledge(offer, manifest.revision)
        await world.heard(stream)
        world.publish(settings())
        assert (await stream.offer())[2].deprovision_time is None
    assert (await world.known()).lost is None


async def test_a_device_that_has_its_settings_still_is_not_remembered_as_one_that_lost_them(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        held = await stream.apply()
        await world.heard(stream)
    await world.deliveries.change([("d1", lambda old: old.losing(NOW))])
    async with world.stream() as stream:
        await stream.hello(held)
        assert (await stream.confirmed()).revision == 1
    assert (await world.known()).lost is None


async def test_a_device_that_never_had_settings_is_told_of_no_removal(world: World) -> None:
    world.publish()
    async with world.stream() as stream:
        await stream.hello()
        for contents in ([rules()], []):
            offer, manifest, document = await stream.offer()
            assert document.deprovision_time is None
            await stream.acknowledge(offer, manifest.revision)
            await world.heard(stream)
            world.publish(*contents)


async def test_a_confirmation_that_had_to_wait_is_thought_over(tmp_path: Path) -> None:
    world = World()

    async def calm() -> bool:
        world.publish(settings(), rules("meanwhile"))
        return True

    world.manners = replace(world.manners, calm=calm)
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
        world.streams.wake(["d1"])
        _, manifest, document = await stream.offer()
        assert manifest.revision == 2
        assert [policy.name for policy in document.rules_policies] == ["meanwhile"]
