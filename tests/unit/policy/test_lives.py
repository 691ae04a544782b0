"""A device that enrols again begins a new life: what it said before counts no more."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from elevation.model import ReportingScope
from services.policy.model.delivery import Delivery, Desired, SettingsState
from services.policy.model.directory import DirectoryDevice
from services.policy.model.states import DeliveryState
from services.policy.usecases.settings_states import survey
from tests.builders.doors import open_doors
from tests.builders.policy_streams import World
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import FakeDirectories, MemoryDeliveries, corpus, device, policy_book, settings

ONE = b"1" * 32
FIRST, SECOND = NOW - timedelta(days=1), NOW
APPLIED = Delivery("d1", life=FIRST).prepared(ONE, Desired.ON).sent(NOW).applied(1, Desired.ON, NOW)


def living(life: datetime) -> DirectoryDevice:
    return replace(device("d1"), life=life)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(directories=FakeDirectories(living(FIRST)))
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


def test_of_an_older_life_the_revision_alone_is_left() -> None:
    full = APPLIED.introduced("run-1", ("key",)).losing(NOW)
    assert full.in_life(SECOND) == Delivery("d1", 1, life=SECOND)
    assert full.in_life(FIRST) is full
    assert full.in_life(None) is full


def test_a_directory_that_is_behind_resets_nothing() -> None:
    newer = replace(APPLIED, life=SECOND)
    assert newer.outlives(FIRST)
    assert newer.in_life(FIRST) is newer
    assert not newer.outlives(SECOND)
    assert not newer.outlives(None)


def test_what_was_kept_before_lives_were_known_belongs_to_the_first_that_is_told() -> None:
    assert replace(APPLIED, life=None).in_life(FIRST) == APPLIED


async def test_a_survey_forgets_what_a_device_acknowledged_before_it_enrolled_again() -> None:
    deliveries, directories = MemoryDeliveries(), FakeDirectories(living(FIRST))
    book = policy_book(directories)
    book.put(corpus(settings()))
    await survey(book, deliveries, ["d1"], now=NOW)
    await deliveries.change([("d1", lambda old: old.opened("s", revision=0, sha256=b"", now=NOW).sent(NOW))])
    await deliveries.change([("d1", lambda old: old.applied(1, Desired.ON, NOW))])
    [before] = await survey(book, deliveries, ["d1"], now=NOW)
    assert (before.acknowledged, before.life) == (True, FIRST)
    directories.put(living(SECOND))
    [after] = await survey(book, deliveries, ["d1"], now=NOW)
    assert after == SettingsState(
        device_id="d1", desired=Desired.ON, acknowledged=False, revision=1, scope=ReportingScope.ALL, life=SECOND
    )
    kept = deliveries.kept["d1"]
    assert (kept.revision, kept.state, kept.stream, kept.life) == (2, DeliveryState.PENDING, "", SECOND)
    assert await survey(book, deliveries, ["d1"], now=NOW) == [after]
    assert deliveries.kept["d1"] == kept


async def test_a_replica_whose_directory_is_behind_says_and_changes_nothing_of_a_newer_life() -> None:
    deliveries, behind = MemoryDeliveries(), policy_book(FakeDirectories(living(FIRST)))
    behind.put(corpus(settings()))
    deliveries.kept["d1"] = replace(APPLIED, life=SECOND)
    assert await survey(behind, deliveries, ["d1"], now=NOW) == []
    assert deliveries.kept["d1"] == replace(APPLIED, life=SECOND)


async def test_a_stream_of_a_new_life_is_offered_a_document_though_nobody_forgot_the_old_one(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        await world.heard(stream)
    world.directories.put(living(SECOND))
    async with world.stream() as stream:
        await stream.hello()
        _, manifest, _ = await stream.offer()
        assert manifest.revision == 2
        known = await world.known()
        assert (known.life, known.applied_revision, known.state) == (SECOND, 0, DeliveryState.OFFERED)


async def test_a_stream_is_asked_to_come_back_where_the_directory_is_behind(world: World) -> None:
    assert isinstance(world.deliveries, MemoryDeliveries)
    world.deliveries.kept["d1"] = newer = replace(APPLIED, life=SECOND)
    async with world.stream() as stream:
        await stream.hello(revision=1, sha256=ONE)
        assert (await stream.failure())[0] == "UNAVAILABLE"
    assert await world.known() == newer


async def test_an_answer_of_the_old_life_counts_no_more(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        offer, _, _ = await stream.offer()
        world.directories.put(living(SECOND))
        await survey(world.book, world.deliveries, ["d1"], now=NOW)
        await stream.acknowledge(offer, 1)
        assert (await stream.sent_away()).HasField("reconnect_within")
    known = await world.known()
    assert (known.applied_revision, known.confirmed, known.life) == (0, None, SECOND)
