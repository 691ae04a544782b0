import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from agent_stub.component import Component
from agent_stub.files import StateError
from agent_stub.policy.keeper import PolicyKeeper
from elevation.document import PolicyDocument
from elevation.model import Settings
from tests.fakes.agent import NOW, FakeDelays, FakeMoments, Installation, document

PATIENCE = 20
OFF = document(settings=Settings(enabled=False))
WEEK = timedelta(days=7)


class Place:
    """Where the component stands, or not."""

    def __init__(self, folder: Path) -> None:
        self.house = Installation()
        self.keeper = PolicyKeeper(folder, self.house.identity())
        self.clock = FakeMoments()
        self.delays = FakeDelays()
        self.changes: asyncio.Queue[str] = asyncio.Queue()
        self.fault = ""
        self.bug: Exception | None = None
        self.revision = 0
        self.told: list[bool] = []
        self.stuck = ""
        self.component = Component(
            self.keeper,
            self,
            now=lambda: self.clock.wall,
            delays=self.delays,
            moved=lambda: self.told.append(self.component.stands),
        )

    @asynccontextmanager
    async def bring(self) -> AsyncIterator[None]:
        if self.fault:
            raise StateError(self.fault)
        if self.bug is not None:
            raise self.bug
        self.changes.put_nowait("came")
        yield
        self.clear()

    def clear(self) -> None:
        if self.stuck:
            raise StateError(self.stuck)
        self.changes.put_nowait("went")

    def receives(self, content: PolicyDocument) -> None:
        self.revision += 1
        self.keeper.apply(self.house.offer(content, self.revision), NOW)
        self.component.policy_changed()

    async def change(self) -> str:
        return await asyncio.wait_for(self.changes.get(), PATIENCE)

    async def looked(self) -> None:
        """Wait until it has looked, decided and waits again."""
        await asyncio.wait_for(self.delays.waiting.acquire(), PATIENCE)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    task = asyncio.create_task(place.component.keep())
    await place.looked()
    yield place
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def without_settings(removal: timedelta | None) -> PolicyDocument:
    found = document(settings=None)
    return PolicyDocument(
        device_id=found.device_id,
        device_name=found.device_name,
        any_user=found.any_user,
        deprovision_time=NOW + removal if removal is not None else None,
    )


async def test_a_device_without_a_policy_has_no_component(place: Place) -> None:
    assert not place.component.stands


async def test_a_settings_policy_brings_the_component_even_one_that_turns_epm_off(place: Place) -> None:
    place.receives(OFF)
    assert await place.change() == "came"
    await place.looked()
    assert place.component.stands


async def test_rules_without_settings_bring_nothing(place: Place) -> None:
    place.receives(without_settings(None))
    await place.looked()
    assert place.changes.empty()


async def test_a_component_whose_policy_was_taken_away_stays_until_its_time_and_goes_then(place: Place) -> None:
    place.receives(document())
    assert await place.change() == "came"
    await place.looked()
    place.receives(without_settings(WEEK))
    await place.looked()
    assert place.component.stands
    place.clock.wall = NOW + WEEK - timedelta(seconds=1)
    place.delays.go_on()
    await place.looked()
    assert place.component.stands
    place.clock.wall = NOW + WEEK
    place.delays.go_on()
    assert await place.change() == "went"


async def test_a_removal_that_is_near_is_waited_for_exactly(place: Place) -> None:
    place.receives(without_settings(timedelta(seconds=7)))
    assert await place.change() == "came"
    await place.looked()
    assert place.delays.pauses[-1] == 7


async def test_a_policy_that_returns_in_time_keeps_the_component(place: Place) -> None:
    place.receives(without_settings(WEEK))
    assert await place.change() == "came"
    await place.looked()
    place.receives(document())
    await place.looked()
    place.clock.wall = NOW + 2 * WEEK
    place.delays.go_on()
    await place.looked()
    assert place.component.stands
    assert place.changes.empty()


async def test_a_document_without_settings_and_time_removes_the_component_at_once(place: Place) -> None:
    place.receives(document())
    assert await place.change() == "came"
    place.receives(without_settings(None))
    assert await place.change() == "went"


async def test_a_component_that_cannot_stand_says_why_and_is_tried_again(place: Place) -> None:
    place.fault = "socket /x: cannot be opened"
    place.receives(document())
    await place.looked()
    assert (place.component.stands, place.component.problem) == (False, "socket /x: cannot be opened")
    place.fault = ""
    place.delays.go_on()
    assert await place.change() == "came"
    await place.looked()
    assert place.component.problem == ""


async def test_a_bug_in_the_component_does_not_end_the_watch_over_it(place: Place) -> None:
    place.bug = ZeroDivisionError("bug")
    place.receives(document())
    await place.looked()
    assert place.component.problem == "internal error of the agent; its log says more"
    place.bug = None
    place.delays.go_on()
    assert await place.change() == "came"


async def test_who_waits_for_it_hears_that_it_came_and_went(place: Place) -> None:
    place.receives(document())
    assert await place.change() == "came"
    place.receives(without_settings(None))
    await place.looked()
    await place.looked()
    assert place.told == [True, False]


async def test_a_component_that_cannot_be_removed_stands_until_it_can(place: Place) -> None:
    place.receives(document())
    assert await place.change() == "came"
    await place.looked()
    place.stuck = "socket /x: cannot be removed"
    place.receives(without_settings(None))
    await place.looked()
    assert (place.component.stands, place.component.problem) == (True, "socket /x: cannot be removed")
    assert place.told == [True]
    place.stuck = ""
    place.delays.go_on()
    assert await place.change() == "went"
    await place.looked()
    assert (place.component.stands, place.component.problem, place.told) == (False, "", [True, False])


async def test_an_agent_that_stops_does_not_wait_for_a_component_that_cannot_be_removed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.receives(document())
    task = asyncio.create_task(place.component.keep())
    assert await place.change() == "came"
    place.stuck = "socket /x: cannot be removed"
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    assert done == {task}


async def test_it_is_known_at_the_first_look_whether_it_stands(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.receives(document())
    task = asyncio.create_task(place.component.keep())
    await asyncio.wait_for(place.component.looked.wait(), PATIENCE)
    assert place.component.stands
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_removal_that_was_due_while_the_agent_was_off_is_known_at_the_first_look(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.receives(without_settings(WEEK))
    place.clock.wall = NOW + WEEK
    task = asyncio.create_task(place.component.keep())
    await asyncio.wait_for(place.component.looked.wait(), PATIENCE)
    assert (place.component.stands, place.changes.empty()) == (False, True)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
