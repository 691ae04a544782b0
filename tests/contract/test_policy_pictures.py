"""What everything promises that shows all deliveries at once, or keeps bundles: in memory, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.policy.model.bundle import UNKNOWN, Bundle, Contents
from services.policy.model.delivery import Delivery, Desired
from services.policy.model.rollout import Facts
from services.policy.ports import Bundles, Deliveries, Pictures
from services.policy.store.bundles import MOST_ASKED, SqlBundles
from services.policy.store.deliveries import KeptDeliveries, deliveries_in
from services.policy.store.rollouts import SqlPictures
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import MemoryDeliveries
from tests.fakes.rollouts import MemoryBundles, MemoryPictures

ONE, TWO = b"1" * 32, b"2" * 32
TOOLS = Bundle.of(Contents(rules={"tools": 3}, settings={"a": 1}, stale_after=timedelta(days=30)))
OTHER = Bundle.of(Contents(rules={"\N{SNOWMAN}": 2**62}))


@dataclass
class Kept:
    """Deliveries with what shows them."""

    deliveries: Deliveries
    pictures: Pictures
    bundles: Bundles

    async def put(self, *found: Delivery) -> None:
        """Keep deliveries as they are given."""
        await self.deliveries.change([(each.device_id, lambda _, each=each: each) for each in found])  # type: ignore[misc]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, service="policy")
    await upgrade(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def deliveries(database: Database) -> AsyncIterator[KeptDeliveries]:
    opened = deliveries_in(database)
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "sql"])
async def kept(request: pytest.FixtureRequest, database: Database, deliveries: KeptDeliveries) -> Kept:
    if request.param == "memory":
        memory = MemoryDeliveries()
        return Kept(memory, MemoryPictures(memory), MemoryBundles(memory))
    return Kept(deliveries, SqlPictures(database), SqlBundles(database))


async def test_without_deliveries_a_picture_is_empty(kept: Kept) -> None:
    picture = await kept.pictures.picture(NOW)
    assert (picture.taken, picture.facts, picture.contents, picture.reasons) == (NOW, {}, {}, {})


async def test_a_picture_shows_every_fact_of_every_device(kept: Kept) -> None:
    away = NOW - timedelta(hours=1)
    await kept.put(
        Delivery("new"),
        Delivery("offered", 1, ONE, Desired.ON, TOOLS, offered=NOW, stream="s", seen=NOW),
        Delivery("away", 4, ONE, Desired.ON, OTHER, None, 3, Desired.ON, TOOLS, confirmed=away, seen=away),
        Delivery(
            "refused", 2, ONE, bundle=TOOLS, rejected_revision=2, rejections=("no \N{SNOWMAN}", "x"), confirmed=NOW
        ),
        Delivery("recovered", 3, ONE, bundle=TOOLS, rejected_revision=2, rejections=("old",), confirmed=NOW),
    )
    picture = await kept.pictures.picture(NOW)
    assert picture.facts == {
        "new": Facts(),
        "offered": Facts(1, True, 0, 0, TOOLS.digest, None, None, True),  # noqa: FBT003 - facts as they are read
        "away": Facts(4, False, 3, 0, OTHER.digest, TOOLS.digest, away, False),  # noqa: FBT003
        "refused": Facts(2, False, 0, 2, TOOLS.digest, None, NOW, False),  # noqa: FBT003
        "recovered": Facts(3, False, 0, 2, TOOLS.digest, None, NOW, False),  # noqa: FBT003
    }
    assert picture.contents == {TOOLS.digest: TOOLS.contents, OTHER.digest: OTHER.contents}
    assert picture.reasons == {"refused": ("no \N{SNOWMAN}", "x")}


async def test_a_device_is_connected_until_its_stream_is_closed(kept: Kept) -> None:
    delivery = Delivery("d1", stream="s", seen=NOW)
    await kept.put(delivery, Delivery("d2", seen=NOW))
    picture = await kept.pictures.picture(NOW)
    assert (picture.of("d1").connected, picture.of("d2").connected) == (True, False)
    assert delivery.connected


async def test_pictures_follow_what_is_delivered(kept: Kept) -> None:
    await kept.put(Delivery("d1", 1, ONE, Desired.ON, TOOLS))
    await kept.pictures.picture(NOW)
    await kept.deliveries.change([("d1", lambda old: old.prepared(TWO, Desired.ON, OTHER))])
    picture = await kept.pictures.picture(NOW)
    assert picture.contents[OTHER.digest] == OTHER.contents
    assert picture.of("d1").bundle == OTHER.digest


async def test_a_delivery_comes_back_with_its_bundles(kept: Kept) -> None:
    delivery = Delivery("d1", 2, TWO, Desired.ON, OTHER, applied_revision=1, applied_bundle=TOOLS)
    await kept.put(delivery)
    found = (await kept.deliveries.many(["d1"]))["d1"]
    assert (found.bundle, found.applied_bundle) == (OTHER, TOOLS)
    assert await kept.bundles.many([TOOLS.digest, b"unknown"]) == {TOOLS.digest: TOOLS.contents}
    assert await kept.bundles.many([]) == {}
    await kept.deliveries.change([("d1", lambda old: replace(old, bundle=UNKNOWN))])
    assert (await kept.deliveries.many(["d1"]))["d1"].bundle == UNKNOWN


async def test_what_is_known_by_its_digest_alone_keeps_its_contents(kept: Kept) -> None:
    await kept.put(Delivery("d1", 1, ONE, Desired.ON, TOOLS))
    await kept.deliveries.change([("d1", lambda old: old.applied(1, Desired.ON, NOW))])
    assert await kept.bundles.many([TOOLS.digest]) == {TOOLS.digest: TOOLS.contents}


async def test_many_bundles_are_read_at_once(database: Database, deliveries: KeptDeliveries) -> None:
    bundles = [Bundle.of(Contents(rules={f"policy-{number}": 1})) for number in range(MOST_ASKED + 1)]
    made = [Delivery(f"d{number}", 1, ONE, Desired.ON, bundle) for number, bundle in enumerate(bundles)]
    await deliveries.change([(each.device_id, lambda _, each=each: each) for each in made])  # type: ignore[misc]
    found = await SqlBundles(database).many([bundle.digest for bundle in bundles])
    assert found == {bundle.digest: bundle.contents for bundle in bundles}


async def test_bundles_that_no_delivery_names_are_dropped(database: Database, deliveries: KeptDeliveries) -> None:
    kept = Kept(deliveries, SqlPictures(database), SqlBundles(database))
    third = Bundle.of(Contents(rules={"third": 1}))
    await kept.put(
        Delivery("d1", 1, ONE, Desired.ON, TOOLS), Delivery("d2", 1, ONE, Desired.ON, third, applied_bundle=OTHER)
    )
    bundles = SqlBundles(database)
    assert await bundles.drop_unnamed() == 0
    await kept.deliveries.change([("d1", lambda old: old.prepared(TWO, Desired.ON, third))])
    assert await bundles.drop_unnamed() == 1
    everything = [TOOLS.digest, OTHER.digest, third.digest]
    assert set(await bundles.many(everything)) == {OTHER.digest, third.digest}


async def test_a_bundle_that_comes_back_while_bundles_are_dropped_is_there(
    database: Database, deliveries: KeptDeliveries
) -> None:
    kept = Kept(deliveries, SqlPictures(database), SqlBundles(database))
    await kept.put(Delivery("d1", 1, ONE, Desired.ON, TOOLS))
    bundles = SqlBundles(database)
    for _ in range(20):
        await kept.deliveries.change([("d1", lambda old: replace(old, bundle=UNKNOWN))])
        await asyncio.gather(
            bundles.drop_unnamed(), kept.deliveries.change([("d1", lambda old: replace(old, bundle=TOOLS))])
        )
        assert set(await bundles.many([TOOLS.digest])) == {TOOLS.digest}
