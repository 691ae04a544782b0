"""Few lists of requests are read at once for one caller, whatever they hold."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from epm.policy.v1 import requests_pb2
from services._chassis.errors import LimitError
from services._chassis.paging import Page
from services.policy.request_servicer import LISTS_OF_ONE_CALLER, ElevationRequestServicer
from tests.fakes.access import FakeAccess, calling_as
from tests.fakes.clock import FakeClock

NOBODY = cast("Any", None)


class Slow:
    """Answers lists once the gate is open."""

    def __init__(self) -> None:
        self.gate, self.waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def page(self, *_asked: object, **_more: object) -> Page[Any]:
        """Wait."""
        self.waiting.release()
        await self.gate.wait()
        return Page((), "")


Ask = Callable[[ElevationRequestServicer], Coroutine[Any, Any, object]]


def requests(servicer: ElevationRequestServicer) -> Coroutine[Any, Any, object]:
    return servicer.ListElevationRequests(requests_pb2.ListElevationRequestsRequest(), NOBODY)


def undelivered(servicer: ElevationRequestServicer) -> Coroutine[Any, Any, object]:
    return servicer.ListUndeliveredNotices(requests_pb2.ListUndeliveredNoticesRequest(), NOBODY)


@pytest.mark.parametrize("ask", [requests, undelivered])
async def test_who_reads_too_many_lists_at_once_is_told_to_wait_and_nobody_else_is(ask: Ask) -> None:
    slow = cast("Any", Slow())
    servicer = ElevationRequestServicer(
        slow, NOBODY, NOBODY, NOBODY, undelivered=slow, access=FakeAccess().control, now=FakeClock().now
    )

    async def answer(principal: str) -> object:
        calling_as(principal)
        return await ask(servicer)

    reading = [asyncio.create_task(answer("user:carol")) for _ in range(LISTS_OF_ONE_CALLER)]
    for _ in reading:
        await slow.waiting.acquire()
    with pytest.raises(LimitError, match="4 questions of yours about requests"):
        await answer("user:carol")
    reading.append(asyncio.create_task(answer("user:dave")))
    await slow.waiting.acquire()
    slow.gate.set()
    await asyncio.gather(*reading)
    await answer("user:carol")
