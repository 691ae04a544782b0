import asyncio

import grpc
import grpc.aio
import pytest

from agent_stub.links import End, Link, SessionError, keep
from tests.fakes.agent import FakeDelays


class Script:
    """A server that answers, fails or ends as told, session by session."""

    def __init__(self, *steps: Exception | End | str) -> None:
        self.steps = list(steps)

    async def session(self, link: Link) -> End:
        step = self.steps.pop(0)
        if step == "answers, then fails":
            link.answered()
            raise SessionError("gone")
        if isinstance(step, End):
            return step
        raise step if isinstance(step, Exception) else SessionError(step)


STOP = End("RETIRED", None)


async def bounds_of(*steps: Exception | End | str) -> list[float]:
    delays = FakeDelays()
    for _ in steps:
        delays.go_on()
    await keep(Link("link"), Script(*steps).session, delays)
    return delays.bounds


async def test_waits_double_from_one_second_to_five_minutes() -> None:
    bounds = await bounds_of(*(["down"] * 11), STOP)
    assert bounds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


async def test_a_server_that_answered_makes_the_next_wait_short_again() -> None:
    assert await bounds_of("down", "down", "answers, then fails", STOP) == [1, 2, 1]


async def test_a_server_that_says_when_to_come_back_is_heard() -> None:
    assert await bounds_of(End("DRAINING", 30), STOP) == [30]


async def test_no_server_makes_the_agent_come_back_without_a_pause() -> None:
    assert await bounds_of(End("DRAINING", 0), End("DRAINING", -5), STOP) == [1, 1]


async def test_a_server_that_names_an_earliest_time_is_not_asked_before_it() -> None:
    delays = FakeDelays()
    delays.go_on()
    await keep(Link("link"), Script(End("THROTTLED", 20, not_before=20), STOP).session, delays)
    assert (delays.bounds, delays.pauses) == ([20], [40])


def refused(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="no")


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED])
async def test_a_server_that_refuses_the_device_is_asked_ever_more_rarely(code: grpc.StatusCode) -> None:
    assert (await bounds_of(*[refused(code)] * 14, STOP))[7:] == [128, 256, 512, 1024, 2048, 3600, 3600]


async def test_after_a_refusal_another_failure_is_tried_again_within_five_minutes() -> None:
    refusals = [refused(grpc.StatusCode.PERMISSION_DENIED)] * 11
    assert (await bounds_of(*refusals, refused(grpc.StatusCode.UNAVAILABLE), STOP))[-2:] == [1024, 300]


async def test_who_has_something_to_say_waits_for_nothing() -> None:
    link, delays, script = Link("link"), FakeDelays(), Script(End("checked in", 300, still_connected=True), STOP)
    task = asyncio.create_task(keep(link, script.session, delays))
    await delays.waiting.acquire()
    link.hurry()
    await asyncio.wait_for(task, 20)
    assert script.steps == []


async def test_what_came_up_during_a_session_is_said_in_the_next_one_at_once() -> None:
    class Talk(Script):
        async def session(self, link: Link) -> End:
            link.hurry()
            return await super().session(link)

    delays = FakeDelays()
    await asyncio.wait_for(keep(Link("link"), Talk(End("a", 300), End("b", 300), STOP).session, delays), 20)
    assert delays.pauses == []


async def test_a_broken_session_does_not_take_the_agent_down() -> None:
    assert await bounds_of(ZeroDivisionError("bug"), STOP) == [1]


async def test_a_link_that_fails_says_why() -> None:
    link, delays = Link("policy"), FakeDelays()
    task = asyncio.create_task(keep(link, Script("the server left").session, delays))
    await delays.waiting.acquire()
    assert (link.connected, link.problem) == (False, "the server left")
    task.cancel()


async def test_a_stream_that_was_over_when_the_device_answered_is_no_bug_of_the_agent() -> None:
    async with grpc.aio.insecure_channel("localhost:1") as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream("/a/b")()
        call.cancel()
        with pytest.raises(asyncio.InvalidStateError) as over:
            await call.write(b"")
    link, delays = Link("policy"), FakeDelays()
    task = asyncio.create_task(keep(link, Script(over.value).session, delays))
    await delays.waiting.acquire()
    assert link.problem == "the server ended the stream while the device was answering"
    task.cancel()
