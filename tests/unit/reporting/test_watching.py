"""Who watches is told where they stand, looked at again before every read, and sent away in time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from services._chassis.errors import DeniedError, InvalidError, LimitError, UnavailableError
from services.reporting.model.live import ATTEMPTS_ALONE, Cursor, Passage
from services.reporting.model.reports import Elevation, ElevationFilter, Question
from services.reporting.watching import HEARTBEAT, LONGEST, Watches
from tests.fakes.clock import NOW, FakeClock

ALL = Question(ElevationFilter(), None)


def elevation(number: int) -> Elevation:
    return Elevation(
        event_id=f"e{number}",
        attempt_id=f"a{number}",
        device_id="d1",
        device_name="ws-1",
        occurred=NOW,
        received=NOW,
        body=b"",
        exit_code=None,
    )


@dataclass
class FakeStored:
    """Hold one attempt a position, of which every read takes one."""

    position: int = 5
    asked: list[Question] = field(default_factory=list)

    async def newest(self) -> int:
        """Return the newest position."""
        return self.position

    async def before(self, question: Question, kinds: frozenset[str]) -> Cursor:
        """Begin now."""
        assert kinds == ATTEMPTS_ALONE
        self.asked.append(question)
        return Cursor.behind(self.position)

    async def passage(self, question: Question, cursor: Cursor, kinds: frozenset[str]) -> Passage:
        """Return the next attempt."""
        assert kinds == ATTEMPTS_ALONE
        self.asked.append(question)
        if cursor.position >= self.position:
            return Passage((), cursor, more=False)
        reached = cursor.position + 1
        return Passage((elevation(reached),), Cursor.behind(reached), more=reached < self.position)


@dataclass
class FakeChanges:
    """Wait for nothing: let time pass, and count how often that was."""

    clock: FakeClock
    waits: int = 0

    async def wait(self, after: int, *, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as the port says
        """Let the time pass that was asked for."""
        self.waits += 1
        self.clock.advance(timedelta(seconds=timeout or 0))
        await asyncio.sleep(0)
        return after


class Room:
    """Watches over a store in memory."""

    def __init__(self, **options: float) -> None:
        self.clock = FakeClock()
        self.stored = FakeStored()
        self.changes = FakeChanges(self.clock)
        self.paces: list[float] = []
        self.watches = Watches(
            self.stored,
            self.changes,
            monotonic=self.clock.monotonic,
            pause=self._pause,
            most=int(options.get("most", 50)),
            most_of_one=int(options.get("most_of_one", 50)),
            patience=options.get("patience", 60.0),
        )

    def watch(self, cursor: str = "", principal: str = "user:alice") -> AsyncGenerator[Passage, None]:
        """Watch everything."""
        return self.watches.watch(ALL, cursor, lambda: None, principal=principal)

    async def _pause(self, seconds: float) -> None:
        self.paces.append(seconds)


async def test_a_watcher_is_told_at_once_where_they_stand_and_then_everything_behind() -> None:
    room = Room()
    watch = room.watch(str(Cursor.behind(3)))
    told = [await anext(watch) for _ in range(3)]
    assert [str(one.cursor) for one in told] == [str(Cursor.behind(position)) for position in (3, 4, 5)]
    assert [[found.attempt_id for found in one.elevations] for one in told] == [[], ["a4"], ["a5"]]


async def test_a_watcher_without_a_cursor_begins_now() -> None:
    room = Room()
    watch = room.watch()
    first = await anext(watch)
    room.stored.position = 6
    assert (first.cursor, (await anext(watch)).elevations) == (Cursor.behind(5), (elevation(6),))


async def test_what_is_there_already_is_read_without_a_pause_and_then_gently() -> None:
    room = Room()
    watch = room.watch(str(Cursor()))
    for _ in range(6):
        await anext(watch)
    assert room.paces == []
    room.stored.position = 7
    await anext(watch)
    assert (len(room.paces), room.changes.waits) == (1, 1)


async def test_a_quiet_watch_says_now_and_then_how_far_it_is() -> None:
    room = Room()
    watch = room.watch()
    await anext(watch)
    began = room.clock.monotonic()
    assert (await anext(watch)).elevations == ()
    assert HEARTBEAT <= room.clock.monotonic() - began < HEARTBEAT + 2


async def test_a_watch_ends_after_a_quarter_of_an_hour_and_gives_its_place_back() -> None:
    room = Room(most=1)
    began = room.clock.monotonic()
    with pytest.raises(UnavailableError) as ended:
        async for _ in room.watch():
            pass
    assert ended.value.reason == "WATCH_ENDED"
    assert LONGEST <= room.clock.monotonic() - began < LONGEST + 2
    await anext(room.watch())


async def test_more_watchers_than_there_are_places_are_refused_until_one_leaves() -> None:
    room = Room(most=1)
    async with aclosing(room.watch()) as first:
        await anext(first)
        with pytest.raises(LimitError) as refused:
            await anext(room.watch())
        assert refused.value.reason == "TOO_MANY_WATCHERS"
    await anext(room.watch())


async def test_one_principal_leaves_places_to_others() -> None:
    room = Room(most_of_one=1)
    async with aclosing(room.watch()) as first:
        await anext(first)
        with pytest.raises(LimitError) as refused:
            await anext(room.watch())
        assert refused.value.reason == "TOO_MANY_WATCHERS"
        await anext(room.watch(principal="user:bob"))
    await anext(room.watch())


async def test_whoever_loses_the_right_is_told_nothing_more_and_scope_follows_the_permit_of_now() -> None:
    room = Room()
    permits = iter([frozenset({"emea"}), frozenset({"apac"})])

    def tags() -> frozenset[str]:
        try:
            return next(permits)
        except StopIteration:
            raise DeniedError("the right is gone") from None

    watch = room.watches.watch(ALL, str(Cursor()), tags, principal="user:alice")
    for _ in range(3):
        await anext(watch)
    assert [one.tags for one in room.stored.asked] == [frozenset({"emea"}), frozenset({"apac"})]
    with pytest.raises(DeniedError):
        await anext(watch)


async def test_everybody_is_sent_away_when_the_process_ends() -> None:
    room = Room()
    watch = room.watch(str(Cursor()))
    await anext(watch)
    await room.watches.close()
    with pytest.raises(UnavailableError) as ended:
        await anext(watch)
    assert ended.value.reason == "DRAINING"


@pytest.mark.parametrize("cursor", ["nonsense", str(Cursor.behind(6))])
async def test_a_cursor_that_was_never_told_here_is_refused_with_all_else_that_is_wrong(cursor: str) -> None:
    wrong = Question(ElevationFilter(users=("a\0",)), None)
    with pytest.raises(InvalidError) as refused:
        await anext(Room().watches.watch(wrong, cursor, lambda: None, principal="user:alice"))
    assert [problem.field for problem in refused.value.problems] == ["filter.users", "cursor"]


async def test_a_message_that_is_not_taken_ends_the_watch() -> None:
    room = Room(patience=0.01)
    with pytest.raises(UnavailableError) as ended:
        await room.watches.taken(asyncio.Event().wait())
    assert ended.value.reason == "WATCH_STALLED"
    await room.watches.taken(asyncio.sleep(0))
