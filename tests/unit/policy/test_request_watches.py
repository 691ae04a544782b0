"""Those who watch requests: what they are told, and how long."""

import asyncio
import weakref
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from epm.policy.v1 import requests_pb2
from services._chassis.errors import DeniedError, InvalidError, LimitError, UnavailableError
from services._chassis.permits import Permit
from services.policy.model.requests import ElevationRequest, RequestState
from services.policy.model.told_requests import Place, Told
from services.policy.request_servicer import ElevationRequestServicer
from services.policy.usecases.requests.sight import Sight, TagChanges, Visible
from services.policy.usecases.requests.watching import AT_ONCE, HEARTBEAT, LONGEST, Bounds, Passage, RequestWatches
from tests.builders.requests import request
from tests.fakes.access import FakeAccess, calling_as, permit
from tests.fakes.clock import FakeClock
from tests.fakes.policy_delivery import FakeDirectories, device
from tests.fakes.requests import FakeChanges


class Hall:
    """Watches over requests in memory, and a clock that moves with every look."""

    def __init__(self, *, most: int = 10, most_of_one: int = 10, patience: float = 10.0) -> None:
        self.clock = FakeClock()
        self.changes = FakeChanges()
        self.permit: Permit | None = permit(everything=True)
        self.directories = FakeDirectories(replace(device("d1"), scope_tags=frozenset({"emea"})))
        self.tags = TagChanges(self.directories.directory)
        self.tags.hear(None)
        self.watches = RequestWatches(
            self.changes,
            self,
            self._sees,
            tags=self.tags,
            monotonic=self.clock.monotonic,
            bounds=Bounds(most=most, most_of_one=most_of_one, patience=patience),
        )

    async def wait(self, after: int, *, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as the feed has it
        """Let a second pass."""
        self.clock.advance(timedelta(seconds=timeout or 0))
        return await self.changes.wait(after)

    def put(self, *numbers: int, state: RequestState = RequestState.PENDING, tag: str = "emea") -> None:
        """Keep requests."""
        device_id = "d1" if tag == "emea" else f"of-{tag}"
        made = (
            replace(request(number), state=state, scope_tags=frozenset({tag}), device_id=device_id)
            for number in numbers
        )
        self.changes.put(*(Told(each) for each in made))

    def watch(self, cursor: str = "", principal: str = "user:carol") -> AsyncGenerator[Passage, None]:
        """Watch."""
        return self.watches.watch(cursor, self._check, principal=principal)

    def _check(self) -> Permit:
        if self.permit is None:
            raise DeniedError("no more")
        return self.permit

    def tag(self, *tags: str) -> None:
        """Have the device carry other tags from now on."""
        self.directories.put(replace(device("d1"), scope_tags=frozenset(tags)))
        self.tags.hear(["d1"])

    def _sees(self, permit: Permit) -> Visible:
        """See by the tags of the device, or of the request where its device is not known."""
        devices = self.directories.directory().devices

        def sees(each: ElevationRequest) -> bool:
            known = devices.get(each.device_id)
            return permit.sees(known.scope_tags if known else each.scope_tags)

        return sees


def ids(passage: Passage) -> list[str]:
    return [told.request.request_id for told in passage.requests]


def named(*numbers: int) -> list[str]:
    return [request(number).request_id for number in numbers]


@pytest.fixture
def hall() -> Hall:
    return Hall()


async def test_a_watch_begins_with_all_that_wait_in_messages_that_fit(hall: Hall) -> None:
    hall.put(*range(1, AT_ONCE + 3))
    hall.put(2, state=RequestState.DENIED)
    watch = hall.watch()
    first, second = await anext(watch), await anext(watch)
    assert ids(first) == named(1, *range(3, AT_ONCE + 2))
    assert ids(second) == named(AT_ONCE + 2)
    assert second.reached == Place(hall.changes.revision, "f" * 36)


async def test_who_breaks_off_in_the_midst_of_the_beginning_misses_nothing(hall: Hall) -> None:
    hall.put(*range(1, AT_ONCE + 3))
    first = await anext(hall.watch())
    hall.put(1, state=RequestState.DENIED)
    resumed = await anext(hall.watch(str(first.reached)))
    assert ids(resumed) == named(AT_ONCE + 1, AT_ONCE + 2, 1)


async def test_a_watch_without_anything_says_where_it_stands_and_again_at_a_heartbeat(hall: Hall) -> None:
    watch = hall.watch()
    assert ids(await anext(watch)) == []
    began = hall.clock.monotonic()
    assert ids(await anext(watch)) == []
    assert hall.clock.monotonic() - began == HEARTBEAT
    hall.put(1)
    assert ids(await anext(watch)) == named(1)


async def test_what_a_watcher_may_not_see_moves_the_cursor_and_nothing_else(hall: Hall) -> None:
    hall.permit = permit(tags=["apac"])
    hall.put(1, 2)
    watch = hall.watch()
    passage = await anext(watch)
    assert (ids(passage), passage.reached.revision) == ([], 2)
    hall.put(1, state=RequestState.DENIED)
    hall.put(3, tag="apac")
    assert ids(await anext(watch)) == named(3)


async def test_what_waits_on_a_device_that_gets_another_tag_is_told_to_those_who_see_it_now(hall: Hall) -> None:
    hall.permit = permit(tags=["apac"])
    hall.put(1, 2)
    hall.put(2, state=RequestState.DENIED)
    watch = hall.watch()
    begun = await anext(watch)
    hall.tag("emea", "apac")
    passage = await anext(watch)
    assert (ids(passage), passage.reached) == (named(1), begun.reached)
    hall.put(3, tag="apac")
    assert ids(await anext(watch)) == named(3)
    began = hall.clock.monotonic()
    assert ids(await anext(watch)) == []  # nothing comes twice
    assert hall.clock.monotonic() - began == HEARTBEAT


async def test_who_saw_it_before_is_not_told_of_it_again(hall: Hall) -> None:
    hall.permit = permit(tags=["emea"])
    hall.put(1)
    watch = hall.watch()
    assert ids(await anext(watch)) == named(1)
    hall.tag("emea", "apac")
    assert ids(await anext(watch)) == []


async def test_what_comes_into_sight_with_another_tag_and_changes_then_is_told_once(hall: Hall) -> None:
    hall.permit = permit(tags=["apac"])
    watch = hall.watch()
    await anext(watch)
    hall.tag("apac")
    hall.put(1)
    assert ids(await anext(watch)) == named(1)
    assert ids(await anext(watch)) == []


async def test_an_approver_whose_scope_comes_to_cover_what_waits_is_told_of_it(hall: Hall) -> None:
    hall.permit = permit(tags=["apac"])
    hall.put(*range(1, AT_ONCE + 3))
    watch = hall.watch()
    first, second = await anext(watch), await anext(watch)
    assert ids(first) + ids(second) == []
    hall.permit = permit(tags=["apac", "emea"])
    assert ids(await anext(watch)) + ids(await anext(watch)) == named(*range(1, AT_ONCE + 3))


async def test_whoever_loses_a_scope_while_they_are_told_what_it_covers_is_told_no_more_of_it(hall: Hall) -> None:
    hall.permit = permit(tags=["apac"])
    hall.put(*range(1, AT_ONCE + 3))
    watch = hall.watch()
    await anext(watch)
    await anext(watch)
    hall.permit = permit(tags=["apac", "emea"])
    assert len(ids(await anext(watch))) == AT_ONCE
    hall.permit = permit(tags=["apac"])
    assert ids(await anext(watch)) == []
    hall.permit = permit(tags=["apac", "emea"])
    assert len(ids(await anext(watch))) == AT_ONCE
    hall.permit = None
    with pytest.raises(DeniedError):
        await anext(watch)


def test_a_watcher_keeps_no_directory_that_is_over() -> None:
    directories, kept = FakeDirectories(device("d1")), list[weakref.ref[Visible]]()

    def sees(_: Permit) -> Visible:
        devices = directories.directory().devices

        def visible(each: ElevationRequest) -> bool:
            return each.device_id in devices

        kept.append(weakref.ref(visible))
        return visible

    sight = Sight(sees, TagChanges(directories.directory), permit(everything=True))
    directories.put(device("d1", "bob"))
    assert sight.look(permit(everything=True)) is None
    assert [each() is None for each in kept] == [True, False]


async def test_a_watcher_whose_right_is_gone_is_sent_away(hall: Hall) -> None:
    watch = hall.watch()
    await anext(watch)
    hall.permit = None
    with pytest.raises(DeniedError):
        await anext(watch)


async def test_a_watch_ends_after_a_quarter_of_an_hour(hall: Hall) -> None:
    watch = hall.watch()
    began = hall.clock.monotonic()
    with pytest.raises(UnavailableError, match="quarter"):
        async for _ in watch:
            pass
    assert hall.clock.monotonic() - began == LONGEST


async def test_no_more_watch_than_may_and_whoever_goes_makes_room() -> None:
    full = Hall(most=1)
    watch = full.watch()
    await anext(watch)
    with pytest.raises(LimitError):
        await anext(full.watch())
    await watch.aclose()
    await anext(full.watch())


async def test_nobody_takes_all_places_alone() -> None:
    hall = Hall(most_of_one=1)
    watch = hall.watch()
    await anext(watch)
    with pytest.raises(LimitError, match="you have 1 watches already"):
        await anext(hall.watch())
    await anext(hall.watch(principal="user:dave"))
    await watch.aclose()
    await anext(hall.watch())


async def test_everybody_is_sent_away_when_the_process_ends(hall: Hall) -> None:
    watch = hall.watch()
    await anext(watch)
    await hall.watches.close()
    hall.put(1)
    with pytest.raises(UnavailableError):
        await anext(watch)


@pytest.mark.parametrize("cursor", ["x", "1", "1.G", "-1.", "2.", "99999999999999999999.", "1.\n"])
async def test_a_cursor_that_no_watch_told_is_refused(hall: Hall, cursor: str) -> None:
    hall.put(1)
    with pytest.raises(InvalidError):
        await anext(hall.watch(cursor))


def test_a_cursor_reads_as_it_was_written() -> None:
    place = Place(7, request(1).request_id)
    assert Place.read(str(place)) == place


async def test_a_watcher_who_takes_nothing_loses_the_place() -> None:
    hall, access = Hall(most=1, patience=0.05), FakeAccess()
    access.grant("user:carol", ["elevation_requests.view"])
    nobody, context = cast("Any", None), cast("Any", Hung())
    servicer = ElevationRequestServicer(
        nobody, nobody, hall.watches, nobody, undelivered=nobody, access=access.control, now=hall.clock.now
    )
    calling_as("user:carol", replace(permit(everything=True), right="elevation_requests.view"))
    with pytest.raises(UnavailableError) as error:
        await servicer.WatchElevationRequests(requests_pb2.WatchElevationRequestsRequest(), context)
    assert error.value.reason == "WATCH_STALLED"
    assert context.written == 1
    await anext(hall.watch())


class Hung:
    """A call whose client reads nothing."""

    def __init__(self) -> None:
        self.written = 0

    async def write(self, _message: object) -> None:
        """Wait for ever."""
        self.written += 1
        await asyncio.Event().wait()
