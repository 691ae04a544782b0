import asyncio

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


async def test_a_broken_session_does_not_take_the_agent_down() -> None:
    assert await bounds_of(ZeroDivisionError("bug"), STOP) == [1]


async def test_a_link_that_fails_says_why() -> None:
    link, delays = Link("policy"), FakeDelays()
    task = asyncio.create_task(keep(link, Script("the server left").session, delays))
    await delays.waiting.acquire()
    assert (link.connected, link.problem) == (False, "the server left")
    task.cancel()
