"""Watching a rollout: one feed of pictures for everybody, which sleeps while nobody looks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from elevation.model import Platform
from services._chassis.errors import DeniedError, NotFoundError, UnavailableError
from services._chassis.permits import Permit
from services.policy.model.rollout import Rollout
from services.policy.usecases.rollout_watch import LONGEST, READ_EVERY, SPEAK_EVERY, PictureFeed, watch_rollout
from tests.builders.rollouts import ALL, TOOLS, World, world
from tests.fakes.clock import FakeClock
from tests.fakes.policy_delivery import rules, stored
from tests.fakes.policy_delivery import settings as settings_of


class Pace:
    """Let the feed look when the test says so."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self._go = asyncio.Event()

    async def pause(self, _seconds: float) -> None:
        self.waiting.set()
        await self._go.wait()
        self._go.clear()

    async def tick(self, times: int = 1) -> None:
        """Have the feed look, and wait until it has."""
        for _ in range(times):
            await self.waiting.wait()
            self.waiting.clear()
            self._go.set()
            await self.waiting.wait()


class Watching:
    """A feed that runs, and who watches by it."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.pace = Pace()
        self.clock = FakeClock()
        self.permit: Permit | None = ALL
        self.feed = PictureFeed(
            made.pictures, changes=lambda: len(made.deliveries.groups), now=self.clock.now, pause=self.pace.pause
        )

    def check(self) -> Permit:
        if self.permit is None:
            raise DeniedError("the right is gone")
        return self.permit

    def watch(self, *, until_converged: bool = False) -> AsyncIterator[Rollout]:
        """Watch the rollout of tools."""
        return watch_rollout(self.made.convergence, self.feed, TOOLS, check=self.check, until_converged=until_converged)

    async def next(self, watch: AsyncIterator[Rollout], *, ticks: int = 1) -> Rollout:
        """Return what is told next, which takes so many looks."""
        told = asyncio.ensure_future(anext(watch))
        await self.pace.tick(ticks)
        return await told


@asynccontextmanager
async def watching(made: World) -> AsyncIterator[Watching]:
    house = Watching(made)
    run = asyncio.create_task(house.feed.run())
    yield house
    run.cancel()
    with suppress(asyncio.CancelledError):
        await run


async def test_a_watch_tells_at_once_and_after_each_change() -> None:
    async with asyncio.timeout(10), watching(world("d1", "d2")) as house:
        watch = house.watch()
        assert (await anext(watch)).pending == 2
        await house.made.offer("d1")
        assert (await house.next(watch)).offered == 1
        await house.made.apply("d1")
        assert (await house.next(watch)).applied == 1


async def test_nothing_is_told_while_nothing_changes_but_now_and_then() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        watch = house.watch()
        first = await anext(watch)
        told = asyncio.ensure_future(anext(watch))
        house.clock.advance(timedelta(seconds=15))
        await house.pace.tick(SPEAK_EVERY - 1)
        assert not told.done()
        await house.pace.tick()
        again = await told
        assert (again.pending, again.time > first.time) == (1, True)


async def test_deliveries_are_read_after_changes_here_and_seldom_for_those_elsewhere() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        watch = house.watch()
        await anext(watch)
        waiting = asyncio.ensure_future(anext(watch))
        before = house.made.pictures.taken
        await house.pace.tick(READ_EVERY * 3)
        assert house.made.pictures.taken - before == 3
        waiting.cancel()


async def test_nobody_watching_nothing_is_read() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        watch = house.watch()
        await anext(watch)
        await watch.aclose()  # type: ignore[attr-defined]
        await house.pace.waiting.wait()
        taken = house.made.pictures.taken
        house.pace._go.set()
        second = house.watch()
        assert (await anext(second)).pending == 1
        assert house.made.pictures.taken == taken + 1


async def test_many_who_watch_share_one_picture_and_one_count() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        watches = [house.watch() for _ in range(5)]
        told = await asyncio.gather(*map(anext, watches))
        assert house.made.pictures.taken == 1
        assert all(each is told[0] for each in told)


async def test_a_watch_until_all_have_answered_ends_then() -> None:
    async with asyncio.timeout(10), watching(world("d1", "d2")) as house:
        await house.made.apply("d1")
        watch = house.watch(until_converged=True)
        assert not (await anext(watch)).converged
        await house.made.refuse("d2", "no")
        assert (await house.next(watch)).converged
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


async def test_a_watch_without_revision_follows_the_newest() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        await house.made.apply("d1")
        watch = house.watch()
        assert (await anext(watch)).applied == 1
        house.made.author(stored(settings_of(), 1), stored(rules("tools", platform=Platform.LINUX), 2))
        found = await house.next(watch)
        assert (found.subject.revision, found.pending) == (2, 1)


async def test_a_watch_ends_when_the_policy_is_deleted() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        watch = house.watch()
        await anext(watch)
        house.made.author(stored(settings_of(), 1))
        with pytest.raises(NotFoundError):
            await house.next(watch)


async def test_a_watch_ends_when_the_right_is_taken_away() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        watch = house.watch()
        await anext(watch)
        house.permit = None
        with pytest.raises(DeniedError):
            await house.next(watch)


async def test_a_watch_ends_with_the_process() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        watch = house.watch()
        await anext(watch)
        told = asyncio.ensure_future(anext(watch))
        await house.feed.close()
        with pytest.raises(UnavailableError, match="about to end"):
            await told
        with pytest.raises(UnavailableError, match="about to end"):
            await anext(house.watch())


async def test_a_database_that_is_away_ends_the_watches_and_not_the_feed() -> None:
    async with asyncio.timeout(10), watching(world("d1")) as house:
        watch = house.watch()
        await anext(watch)
        house.made.pictures.failure = UnavailableError("away")
        await house.made.offer("d1")
        with pytest.raises(UnavailableError, match="away"):
            await house.next(watch)
        house.made.pictures.failure = None
        assert (await house.next(house.watch())).offered == 1


async def test_a_watch_ends_in_the_end_so_that_whoever_watches_shows_who_they_are_again() -> None:
    async with asyncio.timeout(30), watching(world("d1")) as house:
        watch = house.watch()
        heard = 0
        told = asyncio.ensure_future(anext(watch))
        while not told.done() or told.exception() is None:
            await house.pace.tick()
            if told.done() and told.exception() is None:
                heard, told = heard + 1, asyncio.ensure_future(anext(watch))
        with pytest.raises(UnavailableError, match="quarter of an hour"):
            await told
        assert heard == LONGEST // SPEAK_EVERY
