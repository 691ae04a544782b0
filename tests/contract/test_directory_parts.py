"""A directory that is read in parts is whole in the end, whatever changes meanwhile: on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from random import Random

import pytest

from elevation.model import GroupType
from epm.device.v1 import lifecycle_pb2
from services._chassis.db import Database
from services.device.codec.directory import MOST_ENTRIES
from services.device.model.groups import MOST_MEMBERS
from services.device.ports import DirectoryChanges, Progress
from services.device.store.directory import LARGEST_READ, MOST_DEVICES, MOST_GROUPS
from services.device.store.sql import SqlStore
from services.device.streams import DirectoryStreams
from tests.builders.device_database import device_database
from tests.builders.devices import a_device, a_group

MANY = 2 * MOST_DEVICES + 7


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with device_database(database_url) as made:
        yield made


async def write(store: SqlStore, *names: str, groups: tuple[str, ...] = (), members: tuple[str, ...] = ()) -> int:
    """Write devices and groups of these names in one transaction, and return its revision."""
    async with store.transaction() as work:
        revision = await work.next_revision()
        await work.devices.save(*(a_device(name, revision=revision) for name in names))
        await work.groups.save(*(a_group(name, *members, revision=revision) for name in groups))
    return revision


async def parts_of(store: SqlStore, after: int | Progress) -> AsyncIterator[DirectoryChanges]:
    rest: int | Progress | None = after
    while rest is not None:
        async with store.read() as work:
            changes = await work.changes(rest)
        yield changes
        rest = changes.rest


async def test_every_part_is_small_and_together_they_have_everything_once(database: Database) -> None:
    store = SqlStore(database)
    names, groups = (
        [f"d{number:04}" for number in range(MANY)],
        tuple(f"g{number:04}" for number in range(MOST_GROUPS + 3)),
    )
    await write(store, *names[:300], groups=groups)
    revision = await write(store, *names[300:])
    parts = [part async for part in parts_of(store, 0)]
    assert max(len(part.devices) for part in parts) <= MOST_DEVICES
    assert max(len(part.groups) for part in parts) <= MOST_GROUPS
    assert [device.device_id for part in parts for device in part.devices] == names
    assert [group.name for part in parts for group in part.groups] == list(groups)
    assert {part.revision for part in parts} == {revision}
    later = [part async for part in parts_of(store, revision - 1)]
    assert [device.device_id for part in later for device in part.devices] == names[300:]
    assert not any(part.groups for part in later)


async def test_large_groups_come_few_at_a_time(database: Database) -> None:
    store = SqlStore(database)
    members = tuple(f"{number:0120}" for number in range(MOST_MEMBERS))
    assert sum(map(len, members)) > LARGEST_READ
    await write(store, groups=("a", "b", "c"), members=members)
    await write(store, "d1", groups=("small", "smaller"))
    parts = [part async for part in parts_of(store, 0)]
    assert [[group.name for group in part.groups] for part in parts] == [["a"], ["b"], ["c"], ["small", "smaller"]]
    assert [device.device_id for part in parts for device in part.devices] == ["d1"]


async def test_what_changes_between_two_parts_is_in_the_whole(database: Database) -> None:
    store = SqlStore(database)
    names = [f"d{number:04}" for number in range(MANY)]
    await write(store, *names, groups=("first", "last"))
    parts: list[DirectoryChanges] = []
    revision = 0
    async for part in parts_of(store, 0):
        parts.append(part)
        if len(parts) == 1:
            await write(store, names[0], names[-1], "new", groups=("first", "late"))
            async with store.transaction() as work:
                revision = await work.next_revision()
                await work.identities.bury(names[1], revision)
                await work.groups.save(a_group("last", deleted=True, revision=revision))
    assert parts[-1].revision == revision
    devices = {device.device_id: device for part in parts for device in part.devices}
    groups = {group.name: group for part in parts for group in part.groups}
    assert {name for part in parts for name in part.deleted} == {names[1]}
    async with store.read() as work:
        assert {name: device for name, device in devices.items() if name != names[1]} == dict(
            await work.devices.many([*names, "new"])
        )
        assert {name for name, group in groups.items() if not group.deleted} == set(
            await work.groups.many(["first", "last", "late"])
        )


async def test_a_reader_holds_the_directory_as_it_was_at_the_revision_it_is_told(database: Database) -> None:
    store, random = SqlStore(database), Random(4)  # noqa: S311 - chance that is the same every time
    names = [f"d{number:04}" for number in range(MOST_ENTRIES + MANY)]
    await write(store, *names)
    told: dict[str, str] = {}
    states: dict[int, Mapping[str, str]] = {}

    async def disturb() -> None:
        """Rename some devices in one transaction, and remember the state that it leads to."""
        async with store.transaction() as work:
            revision = await work.next_revision()
            chosen = await work.devices.many(random.sample(names, 40))
            await work.devices.save(
                *(replace(each, name=f"{each.device_id}-{revision}", revision=revision) for each in chosen.values())
            )
            now = await work.devices.many(names)
            states[revision] = {name: device.name for name, device in now.items()}

    broken = 0
    messages = DirectoryStreams(store, database.changes).follow(0)
    for _ in range(6):
        await disturb()
        async for message in messages:
            told.update((device.device_id, device.name) for device in message.devices)
            if not message.more:
                break
            broken += 1
            await disturb()
        assert told == states[message.revision]
    assert broken
    await messages.aclose()  # type: ignore[attr-defined]


async def test_nested_groups_are_told(database: Database) -> None:
    store = SqlStore(database)
    async with store.transaction() as work:
        revision = await work.next_revision()
        await work.groups.save(a_group("crowd", groups=("people", "staff"), type=GroupType.USER, revision=revision))
    messages = DirectoryStreams(store, database.changes).follow(0)
    message = await anext(messages)
    assert isinstance(message, lifecycle_pb2.WatchDirectoryResponse)
    assert [list(group.groups) for group in message.groups] == [["people", "staff"]]
    await messages.aclose()  # type: ignore[attr-defined]
