"""Users wait for what becomes of their requests, and take them back."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from agent_stub.files import write_private
from agent_stub.identity import RefusedError
from agent_stub.links import SessionError
from agent_stub.requests import counter as counters
from agent_stub.requests.book import BOOK, RequestBook
from epm.policy.v1 import agent_pb2, requests_pb2
from tests.builders.desk import Desk
from tests.builders.grants import asking, grant
from tests.fakes.agent import NOW
from tests.fakes.agent_requests import (
    APPROVED,
    DENIED,
    PENDING,
    elevation_request,
)
from tests.unit.agent.asking import PATIENCE, awaited, hears, news, refusal, restarted, told, willing


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path)
    found.holds(asking())
    return found


async def test_whoever_waits_for_a_request_hears_of_it_when_it_is_decided(desk: Desk) -> None:
    await desk.ask(prompter=willing())
    waiting = asyncio.create_task(awaited(desk, "request-1"))
    await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    hears(desk, elevation_request("another", DENIED))
    await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    assert not waiting.done()
    hears(desk, elevation_request(state=DENIED, reason="no"))
    (found,) = await asyncio.wait_for(waiting, PATIENCE)
    assert (found["message"], found["usable"]) == ("denied: no", False)
    assert told(news(desk)) == ["denied"]


async def test_an_approval_is_waited_for_until_its_grant_can_be_used(desk: Desk) -> None:
    await desk.ask(prompter=willing())
    waiting = asyncio.create_task(awaited(desk, "request-1"))
    await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    hears(desk, elevation_request(state=APPROVED))
    await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    assert desk.delays.pauses[-1] == counters.GRANT_SECONDS
    desk.holds(asking(grant()))
    (found,) = await asyncio.wait_for(waiting, PATIENCE)
    assert (found["state"], found["usable"]) == ("APPROVED", True)


async def test_an_approval_whose_grant_does_not_come_is_shown_all_the_same(desk: Desk) -> None:
    hears(desk, elevation_request(state=APPROVED))
    waiting = asyncio.create_task(awaited(desk, "request-1"))
    await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    desk.clock.goes_on(timedelta(seconds=counters.GRANT_SECONDS))
    desk.delays.go_on()
    (found,) = await asyncio.wait_for(waiting, PATIENCE)
    assert (found["state"], found["usable"]) == ("APPROVED", False)


async def test_whoever_watches_hears_of_each_state_once(desk: Desk) -> None:
    hears(desk, elevation_request("1", DENIED))
    assert [request["id"] for request in await awaited(desk)] == ["1"]
    waiting = asyncio.create_task(awaited(desk))
    await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    hears(desk, elevation_request("2", DENIED, user="bob"))
    await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    hears(desk, elevation_request("3", DENIED))
    assert [request["id"] for request in await asyncio.wait_for(waiting, PATIENCE)] == ["3"]


async def test_a_wait_ends_after_long_so_that_no_caller_stays_for_ever(desk: Desk) -> None:
    waiting = asyncio.create_task(awaited(desk))
    await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    desk.clock.goes_on(timedelta(seconds=counters.LONGEST_WAIT_SECONDS))
    desk.delays.go_on()
    assert await asyncio.wait_for(waiting, PATIENCE) == []


async def test_one_user_cannot_wait_in_any_number(desk: Desk) -> None:
    waits = [asyncio.create_task(awaited(desk)) for _ in range(counters.WAITING_OF_A_USER)]
    for _ in waits:
        await asyncio.wait_for(desk.delays.waiting.acquire(), PATIENCE)
    with pytest.raises(RefusedError, match="too many programs wait"):
        await awaited(desk)
    hears(desk, elevation_request(user="bob", state=DENIED))
    assert len(await awaited(desk, user="bob")) == 1
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    hears(desk, elevation_request("2", DENIED))
    assert len(await awaited(desk)) == 1


@pytest.mark.parametrize("user", ["bob", ""])
async def test_nobody_waits_for_or_cancels_what_is_not_theirs(desk: Desk, user: str) -> None:
    await desk.ask(prompter=willing())
    for act in (desk.office.counter.awaited, desk.office.counter.cancel):
        with pytest.raises(RefusedError, match="you have no request 'request-1' that this device knows"):
            await act(user, "request-1")
    assert desk.server.cancelled == []


async def test_users_take_their_requests_back(desk: Desk) -> None:
    await desk.ask(prompter=willing())
    (found,) = await desk.office.counter.cancel("alice", "request-1")
    assert (found["state"], found["message"]) == ("CANCELLED", "cancelled by you")
    assert [(message.id, message.user) for message in desk.server.cancelled] == [("request-1", "alice")]
    assert [request["state"] for request in restarted(desk).office.counter.listed("alice")] == ["CANCELLED"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (refusal(grpc.StatusCode.UNAVAILABLE, "gone"), "the server does not answer"),
        (SessionError("gone"), "the server does not answer"),
        (refusal(grpc.StatusCode.FAILED_PRECONDITION, "it is decided"), "request-1 was not cancelled: it is decided"),
    ],
)
async def test_a_request_that_cannot_be_taken_back_stands(desk: Desk, fault: Exception, words: str) -> None:
    await desk.ask(prompter=willing())
    desk.server.fault = fault
    with pytest.raises(RefusedError, match=words):
        await desk.office.counter.cancel("alice", "request-1")
    assert [request["state"] for request in desk.office.counter.listed("alice")] == ["PENDING"]


def kept_of(folder: Path, *requests: requests_pb2.ElevationRequest, **bounds: int) -> set[str]:
    """Return which of the requests a book with these bounds keeps that hears of one after the other."""
    book = RequestBook(folder, write_private, **bounds)
    for request in requests:
        book.keep_outcome(agent_pb2.RequestOutcome(sequence=1, request=request), NOW)
    return {request["id"] for request in json.loads((folder / BOOK).read_bytes())["requests"]}


def denied(number: int) -> requests_pb2.ElevationRequest:
    return elevation_request(str(number), DENIED, submitted=NOW + timedelta(minutes=number))


def test_the_book_holds_no_more_than_it_may_and_forgets_what_is_over_first(tmp_path: Path) -> None:
    heard = (elevation_request("pending", PENDING), *map(denied, range(3)))
    assert kept_of(tmp_path, *heard, most=2) == {"pending", "2"}


def test_one_user_pushes_nothing_of_others_out_of_the_book(tmp_path: Path) -> None:
    heard = (elevation_request("of-bob", DENIED, user="bob"), *map(denied, range(4)))
    assert kept_of(tmp_path, *heard, most=3, of_a_user=2) == {"of-bob", "2", "3"}
