"""Which key signs what a device is told, and which keys it is told of."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from epm.policy.v1 import agent_pb2
from services._chassis.pki import policy_key_id
from services.policy.codec.agent import hello_from_proto
from services.policy.model.manifest import SigningKeys
from services.policy.model.states import DeliveryState
from services.policy.usecases.delivery import CAPABILITY, UNKNOWN_KEYS
from tests.builders.doors import open_doors
from tests.builders.policy_streams import KEY, World
from tests.fakes.policy_delivery import MemoryDeliveries, rules, settings

NEW = Ed25519PrivateKey.generate()
OLD_ID, NEW_ID = policy_key_id(KEY.public_key()), policy_key_id(NEW.public_key())


def test_the_newest_key_that_the_device_knows_signs_and_the_oldest_for_one_that_does_not_tell() -> None:
    keys = SigningKeys(("c", "b", "a"))
    assert [keys.common(known) for known in [(), ("a",), ("a", "b"), ("b", "c"), ("x", "a"), ("x",)]] == [
        "a",
        "a",
        "b",
        "c",
        "a",
        None,
    ]


@pytest.mark.parametrize(
    ("known", "signer"),
    [((), OLD_ID), ((OLD_ID,), OLD_ID), ((OLD_ID, NEW_ID), NEW_ID)],
    ids=["none", "old", "both"],
)
async def test_every_manifest_tells_of_all_keys_under_one_that_the_device_knows(
    tmp_path: Path, known: tuple[str, ...], signer: str
) -> None:
    world = World(keys=(NEW, KEY))
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        await stream.hello(key_ids=known)
        offer, manifest, _ = await stream.offer()
        await stream.acknowledge(offer, manifest.revision)
        await world.heard(stream)
        world.streams.wake(None)
        again = await stream.confirmed()
    both = {key_id: key.public_key().public_bytes_raw() for key_id, key in ((OLD_ID, KEY), (NEW_ID, NEW))}
    assert [(said.key_id, dict(said.keys)) for said in (manifest, again)] == [(signer, both)] * 2
    # What the device applied told it of both: they are known without another hello, unless it never tells.
    assert set((await world.known()).key_ids) == (set(both) if known else set())


async def test_a_device_that_knows_no_key_gets_nothing_and_is_offered_the_same_once_it_does(tmp_path: Path) -> None:
    deliveries = MemoryDeliveries()
    rotated = World(deliveries, keys=(NEW,))
    async with open_doors(tmp_path / "1", rotated.parts()) as rotated.doors, rotated.stream() as stream:
        await stream.hello(key_ids=[OLD_ID])
        await rotated.until(lambda delivery: delivery.state is DeliveryState.REJECTED)
        assert (await rotated.known()).rejections == (UNKNOWN_KEYS,)
        assert (await rotated.known()).confirmed is None
    restored = World(deliveries, keys=(NEW, KEY))
    async with open_doors(tmp_path / "2", restored.parts()) as restored.doors, restored.stream() as stream:
        await stream.hello(key_ids=[OLD_ID])
        assert (await stream.apply()).revision == 1
        await restored.heard(stream)
    assert (await restored.known()).state is DeliveryState.APPLIED


async def test_a_device_that_was_away_while_its_key_was_rotated_is_introduced_while_the_old_one_is_kept(
    tmp_path: Path,
) -> None:
    deliveries = MemoryDeliveries()
    held = None
    for number, (keys, known) in enumerate([((KEY,), ()), ((NEW, KEY), (OLD_ID,)), ((NEW,), (OLD_ID, NEW_ID))]):
        world = World(deliveries, keys=keys)
        async with open_doors(tmp_path / str(number), world.parts()) as world.doors, world.stream() as stream:
            stream.trust(*keys)
            await stream.hello(held, key_ids=known)
            held = await stream.confirmed() if held else await stream.apply()
            assert set(held.keys) == {policy_key_id(key.public_key()) for key in keys}


async def test_a_refusal_of_the_device_is_not_forgotten_with_that_of_ours(tmp_path: Path) -> None:
    world = World()
    async with open_doors(tmp_path, world.parts()) as world.doors:
        async with world.stream() as stream:
            await stream.hello()
            offer, _, _ = await stream.offer()
            await stream.refuse(offer, "it is bad")
            await world.until(lambda delivery: delivery.state is DeliveryState.REJECTED)
        async with world.stream() as stream:
            await stream.hello(key_ids=[OLD_ID])
            world.publish(settings(), rules())
            assert (await stream.apply()).revision == 2


async def test_what_a_hello_says_of_keys_and_runs_is_bounded_and_all_problems_are_said(tmp_path: Path) -> None:
    world = World()
    async with open_doors(tmp_path, world.parts()) as world.doors, world.stream() as stream:
        hello = agent_pb2.Hello(run_id="r" * 65, policy_key_ids=["k\0"], revision=1)
        await stream.say(agent_pb2.StreamPolicyRequest(hello=hello))
        code, message = await stream.failure()
    assert code == "INVALID_ARGUMENT"
    assert [message.count(name) for name in ("hello.run_id", "hello.policy_key_ids", "hello.revision")] == [1, 1, 1]


def test_of_a_hello_that_says_as_much_as_fits_little_is_kept() -> None:
    said = agent_pb2.Hello(agent_version="v" * 100_000, capabilities=[CAPABILITY, *map(str, range(100_000))])
    hello = hello_from_proto(said)
    assert hello.agent_version == "v" * 64
    assert hello.capabilities == {CAPABILITY}
    assert hello_from_proto(agent_pb2.Hello(capabilities=["policy-document/9"])).capabilities == frozenset()
