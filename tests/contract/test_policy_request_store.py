"""Elevation requests as they are kept, on SQLite and on PostgreSQL."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from services._chassis.errors import StateError
from services._chassis.paging import PageRequest
from services.policy.model.requests import ElevationRequest, End, RequestState, Review
from services.policy.model.told_requests import GrantUse, Place
from services.policy.store.objects import SqlStore
from services.policy.store.tables import AUDIT
from services.policy.usecases.requests.ports import RequestsWanted
from tests.builders.requests import request
from tests.builders.requestshelf import HOUR, Shelf
from tests.fakes.access import calling_as
from tests.fakes.clock import NOW


async def test_a_request_is_kept_whole_through_its_life(shelf: Shelf) -> None:
    made = request()
    told = await shelf.requests.submit(made, [b"\x00leaf", b"issuer"], NOW)
    assert (told.request, told.delivered) == (made, True)
    assert await shelf.found(made) == made
    assert list(await shelf.requests.certificates(made.request_id)) == [b"\x00leaf", b"issuer"]
    approved = await shelf.approve(made, max_uses=2)
    assert await shelf.found(made) == approved
    assert approved.review == Review(reviewer="user:carol", reviewed=NOW, reason="checked")
    end = End(ended=NOW, reason="wrong file", ended_by="user:dave")
    await shelf.requests.change([made.request_id], lambda old, _now: old.revoked(end), lambda: NOW)
    assert (await shelf.found(made)).end == end


async def test_what_is_not_there_is_none(shelf: Shelf) -> None:
    assert await shelf.requests.find("nobody") is None
    assert await shelf.requests.find("a\0b") is None
    assert await shelf.requests.of_attempt("d1", "nobody") is None
    assert list(await shelf.requests.certificates("nobody")) == []
    assert list(await shelf.requests.change(["nobody"], lambda old, _now: old, lambda: NOW)) == []


async def test_one_attempt_and_one_question_that_waits_have_one_request(shelf: Shelf) -> None:
    [made] = await shelf.put(1)
    same_attempt = request(2, attempt_id=made.attempt_id)
    same_question = request(3, arguments=made.arguments)
    for other in (same_attempt, same_question):
        assert (await shelf.requests.submit(other, [], NOW)).request == made
    of_another = request(4, arguments=made.arguments, device_id="d2")
    assert (await shelf.requests.submit(of_another, [], NOW)).request == of_another
    later = request(5, arguments=made.arguments)
    assert (await shelf.requests.submit(later, [], made.review_deadline)).request == later
    assert await shelf.requests.of_attempt("d1", made.attempt_id) is not None


async def test_many_who_ask_the_same_at_once_get_one_request(shelf: Shelf) -> None:
    asked = [shelf.requests.submit(request(number, arguments=()), [], NOW) for number in range(1, 9)]
    assert len({told.request.request_id for told in await asyncio.gather(*asked)}) == 1


async def test_of_many_who_decide_at_once_one_does(shelf: Shelf) -> None:
    [made] = await shelf.put(1)
    decided = await asyncio.gather(
        *(shelf.approve(made) if number % 2 else shelf.deny(made) for number in range(8)), return_exceptions=True
    )
    [won] = [each for each in decided if isinstance(each, ElevationRequest)]
    assert await shelf.found(made) == won
    assert sum(isinstance(each, StateError) for each in decided) == 7
    assert await _audited(shelf) == ["elevation_request_submitted", f"elevation_request_{won.state.value.lower()}"]


async def test_a_step_that_fails_for_one_changes_none(shelf: Shelf) -> None:
    first, second = await shelf.put(1, 2)
    await shelf.deny(second)
    review = Review(reviewer="user:carol", reviewed=NOW)
    both = [first.request_id, second.request_id]
    with pytest.raises(StateError):
        await shelf.requests.change(both, lambda old, _now: old.denied(review), lambda: NOW)
    assert await shelf.found(first) == first


async def test_lists_are_narrowed_and_come_newest_first(shelf: Shelf) -> None:
    old, new, other = await shelf.put(1, 2, 3)
    await shelf.deny(old)
    ids = [each.request_id for each in (other, new, old)]
    assert await shelf.page() == ids
    assert await shelf.page(2) == ids[:2]
    assert await shelf.page(equal={"state": "PENDING"}) == ids[:2]
    assert await shelf.page(equal={"user": "bob"}) == []
    assert await shelf.page(since=NOW + HOUR) == ids[:2]
    assert await shelf.page(matches=lambda each: each.request_id == old.request_id) == [old.request_id]
    first = await shelf.requests.page(PageRequest(2), RequestsWanted(lambda _: True))
    rest = PageRequest(2, after=(ids[1],))
    assert first.next_token
    page = await shelf.requests.page(rest, RequestsWanted(lambda _: True))
    assert ([told.request.request_id for told in page.items], page.next_token) == (ids[2:], "")


async def test_a_list_reads_on_until_its_page_is_full(shelf: Shelf) -> None:
    for number in range(1, 206):
        await shelf.put(number, device_id=f"d{number}")
    wanted = {request(number).request_id for number in (1, 2, 204)}
    assert await shelf.page(3, lambda each: each.request_id in wanted) == sorted(wanted, reverse=True)


async def test_a_page_of_large_requests_holds_fewer(shelf: Shelf) -> None:
    for number in range(1, 121):
        await shelf.put(number, device_id=f"d{number}", arguments=("x" * 32_000, str(number)))
    page = await shelf.requests.page(PageRequest(1000), RequestsWanted(lambda _: True))
    assert 80 < len(page.items) < 100
    assert page.next_token


async def test_what_time_ends_is_found_and_written_once(shelf: Shelf) -> None:
    waits, granted = await shelf.put(1, 2)
    await shelf.approve(granted)
    assert list(await shelf.requests.due(NOW + HOUR - timedelta(microseconds=1), 10)) == []
    late = NOW + timedelta(days=8)
    assert list(await shelf.requests.due(late, 10)) == [granted.request_id, waits.request_id]
    assert list(await shelf.requests.due(late, 1)) == [granted.request_id]
    for _ in range(2):
        ids = [waits.request_id, granted.request_id]
        ended = await shelf.requests.change(ids, lambda old, _now: old.at(late), lambda: late)
        assert {told.request.state for told in ended} == {RequestState.EXPIRED}
    assert list(await shelf.requests.due(late, 10)) == []
    assert (await _audited(shelf)).count("elevation_request_expired") == 2


async def test_watchers_read_changes_in_their_order_and_none_twice(shelf: Shelf) -> None:
    first, second, third = await shelf.put(1, 2, 3)
    await shelf.deny(first)
    read = await shelf.requests.changed(Place(), 2)
    assert [told.request.request_id for told in read] == [second.request_id, third.request_id]
    rest = await shelf.requests.changed(read[-1].place, 2)
    assert [told.request.request_id for told in rest] == [first.request_id]
    assert list(await shelf.requests.changed(rest[-1].place, 2)) == []
    assert rest[-1].changed == await shelf.requests.newest()
    waiting = await shelf.requests.pending(Place(), 10)
    assert [told.request.request_id for told in waiting] == [second.request_id, third.request_id]


async def test_what_time_ends_the_service_ended_whoever_looks(shelf: Shelf) -> None:
    calling_as("user:carol")
    [late, denied] = await shelf.put(1, 2)
    await shelf.requests.change([late.request_id], ElevationRequest.at, lambda: late.review_deadline)
    await shelf.deny(denied)
    async with shelf.database.read() as tx:
        actors = list((await tx.execute(sa.select(AUDIT.c.actor).order_by(AUDIT.c.sequence))).scalars())
    assert actors == ["user:carol", "user:carol", "service:policy", "user:carol"]


async def test_time_is_that_at_which_nobody_is_waited_for_any_more(shelf: Shelf) -> None:
    """Whoever looked meanwhile was shown what time had ended: by the time at which the call came, that would change again."""
    waiting, granted, used = await shelf.put(1, 2, 3)
    await shelf.approve(granted)
    await shelf.approve(used, max_uses=1)
    time = NOW
    end = End(ended=NOW, reason="wrong file")
    use = GrantUse(grant_id=used.request_id, attempt_id="a1", used=NOW)
    async with shelf.database.held():
        steps = [
            asyncio.ensure_future(each)
            for each in (
                shelf.requests.change([waiting.request_id], ElevationRequest.cancelled, lambda: time),
                shelf.requests.change([granted.request_id], lambda old, _now: old.revoked(end), lambda: time),
                shelf.uses.take_in("d1", [use], lambda: time),
            )
        ]
        for each in (waiting, granted, used):
            await shelf.found(each)
        time = waiting.review_deadline
    cancelled, _, counted = await asyncio.gather(*steps, return_exceptions=True)
    assert isinstance(cancelled, StateError)
    assert counted is None
    found = await shelf.found(used)
    assert (found.state, found.access and found.access.uses) == (RequestState.EXPIRED, 1)


async def test_what_is_approved_is_read_with_what_is_authored(shelf: Shelf) -> None:
    store = SqlStore(shelf.database)
    first, second = await shelf.put(1, 2)
    before = await store.corpus()
    await shelf.approve(second)
    after = await store.corpus()
    assert (before.approved, [each.request_id for each in after.approved]) == ((), [second.request_id])
    assert after.revision > before.revision
    assert after.is_authored_as(before)
    assert after.rules_policies is before.rules_policies
    await shelf.deny(first)
    assert len((await store.corpus()).approved) == 1


async def _audited(shelf: Shelf) -> list[str]:
    async with shelf.database.read() as tx:
        return list((await tx.execute(sa.select(AUDIT.c.action).order_by(AUDIT.c.sequence))).scalars())
