"""A stream is held to the reporting scope of its device, over real doors."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from elevation.model import ReportingScope
from services.reporting.model.events import microseconds
from services.reporting.model.scope import Reported
from tests.builders.doors import open_doors
from tests.fakes.clock import NOW
from tests.fakes.reporting import DeviceStream, decided, diagnostic, enrolled, unmanaged, uuid7
from tests.unit.reporting.test_streams import World

BEFORE = NOW - timedelta(minutes=1)
ALL, MANAGED = ReportingScope.ALL, ReportingScope.MANAGED


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


def tell(world: World, reported: Reported) -> None:
    """Have the directory tell the scope of a device."""
    device = world.directory.devices["d1"] = replace(enrolled("d1"), reported=reported)
    world.streams.follow(device)


async def rejected(stream: DeviceStream, through: int) -> list[int]:
    """Read acknowledgements so far, and return what was rejected."""
    found: list[int] = []
    while True:
        ack = (await stream.read()).ack
        found += [one.seq for one in ack.rejected]
        if ack.committed_through >= through:
            return found


@pytest.mark.parametrize(
    ("scope", "passed_over"),
    [
        (None, []),
        (ALL, []),
        (MANAGED, [1]),
        (ReportingScope.DIAGNOSTIC, [1, 2]),
        (ReportingScope.NOTHING, [1, 2, 3]),
    ],
)
async def test_what_the_scope_does_not_allow_is_acknowledged_and_not_kept(
    world: World, scope: ReportingScope | None, passed_over: list[int]
) -> None:
    tell(world, Reported(scope))
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([unmanaged(1, at=BEFORE), decided(2, at=BEFORE), diagnostic(3)])
        assert await rejected(stream, 3) == passed_over
    assert set(world.sink.events) == {uuid7(n) for n in (1, 2, 3) if n not in passed_over}
    assert world.sink.dead_letters == []


async def test_a_scope_that_changes_counts_on_the_stream_that_is_open(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([unmanaged(1, at=BEFORE)])
        assert await rejected(stream, 1) == []
        tell(world, Reported(MANAGED, ((ALL, microseconds(BEFORE)),)))
        await stream.send([unmanaged(2, at=BEFORE), unmanaged(3, at=BEFORE - timedelta(seconds=1))], first=2)
        assert await rejected(stream, 3) == [2]
        tell(world, Reported(ALL))
        await stream.send([unmanaged(4, at=BEFORE)], first=4)
        assert await rejected(stream, 4) == []
    assert set(world.sink.events) == {uuid7(1), uuid7(3), uuid7(4)}


async def test_what_has_only_just_occurred_waits_for_wider_settings_to_be_told(world: World) -> None:
    tell(world, Reported(MANAGED))
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([unmanaged(1)])
        reading = asyncio.create_task(rejected(stream, 1))
        done, _ = await asyncio.wait([reading], timeout=0.2)
        assert not done
        tell(world, Reported(ALL))
        assert await reading == []
    assert set(world.sink.events) == {uuid7(1)}


async def test_a_device_is_waited_for_once(world: World) -> None:
    tell(world, Reported(MANAGED))
    async with world.stream() as stream:
        await stream.hello()
        for number in (1, 2, 3):
            await stream.send([unmanaged(number)], first=number)
        async with asyncio.timeout(3.5):  # once is two seconds
            assert await rejected(stream, 3) is not None
    assert world.sink.events == {}
