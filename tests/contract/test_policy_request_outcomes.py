"""What devices hear of their elevation requests and tell of uses, as it is kept, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import sqlalchemy as sa

from services.policy.model.requests import MOST_USES, Access, End, RequestState, Review
from services.policy.model.told_requests import GrantUse, Place
from services.policy.store.tables import GRANT_USE
from tests.builders.requestshelf import HOUR, Shelf
from tests.fakes.clock import NOW


async def test_that_an_older_outcome_is_kept_is_no_change_and_that_the_newest_is_one(shelf: Shelf) -> None:
    [made] = await shelf.put(1)
    await shelf.approve(made)
    end = End(ended=NOW, reason="wrong file", ended_by="user:dave")
    await shelf.requests.change([made.request_id], lambda old, _now: old.revoked(end), lambda: NOW)
    before = await shelf.requests.newest()
    await shelf.outcomes.keep("d1", 1)
    assert await shelf.requests.newest() == before
    await shelf.outcomes.keep("d1", 2)
    [told] = await shelf.requests.changed(Place(before, made.request_id), 10)
    assert (told.request.request_id, told.delivered) == (made.request_id, True)


async def test_a_device_hears_of_each_outcome_in_order_until_it_keeps_them(shelf: Shelf) -> None:
    first, second = await shelf.put(1, 2)
    [other] = await shelf.put(3, device_id="d2")
    for made in (first, second, other):
        await shelf.approve(made)
    end = End(ended=NOW, reason="wrong file", ended_by="user:dave")
    await shelf.requests.change([first.request_id], lambda old, _now: old.revoked(end), lambda: NOW)
    devices, revision = await shelf.outcomes.waiting(0)
    assert devices == {"d1", "d2"}
    assert (await shelf.outcomes.waiting(revision))[0] == frozenset()
    told = await shelf.outcomes.of_device("d1", 0)
    assert [(each.sequence, each.request.request_id, each.request.state) for each in told] == [
        (1, first.request_id, RequestState.APPROVED),
        (2, second.request_id, RequestState.APPROVED),
        (3, first.request_id, RequestState.REVOKED),
    ]
    assert [each.sequence for each in await shelf.outcomes.of_device("d1", 2)] == [3]
    await shelf.outcomes.keep("d1", 2)
    assert [each.sequence for each in await shelf.outcomes.of_device("d1", 0)] == [3]
    found = {told.request.request_id: told.delivered for told in await shelf.requests.changed(Place(), 10)}
    assert found == {first.request_id: False, second.request_id: True, other.request_id: False}
    assert [each.sequence for each in await shelf.outcomes.of_device("d2", 0)] == [1]


async def test_an_outcome_is_told_again_with_the_uses_of_then(shelf: Shelf) -> None:
    [made] = await shelf.put(1)
    await shelf.approve(made)
    use = GrantUse(grant_id=made.request_id, attempt_id="a1", used=NOW)
    await shelf.uses.take_in("d1", [use], lambda: NOW)
    end = End(ended=NOW, reason="wrong file", ended_by="user:dave")
    await shelf.requests.change([made.request_id], lambda old, _now: old.revoked(end), lambda: NOW)
    told = await shelf.outcomes.of_device("d1", 0)
    assert [each.request.access and each.request.access.uses for each in told] == [0, 1]
    await shelf.uses.take_in("d1", [replace(use, attempt_id="a2")], lambda: NOW)
    assert await shelf.outcomes.of_device("d1", 0) == told


async def test_that_an_outcome_is_kept_is_news_for_watchers_once(shelf: Shelf) -> None:
    [made] = await shelf.put(1)
    await shelf.deny(made)
    before = await shelf.requests.newest()
    await shelf.outcomes.keep("d1", 1)
    after = await shelf.requests.newest()
    assert [told.delivered for told in await shelf.requests.changed(Place(before, "f" * 36), 10)] == [True]
    await shelf.outcomes.keep("d1", 1)
    assert (before < after, await shelf.requests.newest()) == (True, after)


async def test_uses_are_counted_once_and_the_last_one_completes(shelf: Shelf) -> None:
    [made] = await shelf.put(1)
    await shelf.approve(made, max_uses=2)
    first = GrantUse(grant_id=made.request_id, attempt_id="a1", used=NOW)
    unknown = GrantUse(grant_id="nobody", attempt_id="a9", used=NOW)
    await asyncio.gather(*(shelf.uses.take_in("d1", [first, first, unknown], lambda: NOW) for _ in range(4)))
    found = await shelf.found(made)
    assert (found.state, found.access and found.access.uses) == (RequestState.APPROVED, 1)
    second = GrantUse(grant_id=made.request_id, attempt_id="a2", used=NOW)
    await shelf.uses.take_in("d2", [second], lambda: NOW)
    assert (await shelf.found(made)) == found
    await shelf.uses.take_in("d1", [first, second], lambda: NOW)
    found = await shelf.found(made)
    assert (found.state, found.access and found.access.uses) == (RequestState.COMPLETED, 2)
    late = GrantUse(grant_id=made.request_id, attempt_id="a3", used=NOW)
    await shelf.uses.take_in("d1", [late], lambda: NOW)
    found = await shelf.found(made)
    assert (found.state, found.access and found.access.uses) == (RequestState.COMPLETED, 3)
    async with shelf.database.read() as tx:
        count = await tx.execute(sa.select(sa.func.count()).select_from(GRANT_USE))
        assert count.scalar_one() == 3


async def test_the_newest_uses_of_a_grant_are_told_and_those_of_no_other(shelf: Shelf) -> None:
    made, other = [await shelf.approve(each) for each in await shelf.put(1, 2)]
    uses = [
        GrantUse(grant_id=of.request_id, attempt_id=f"a{number}", used=NOW + after * HOUR)
        for number, (of, after) in enumerate([(made, 1), (made, 3), (other, 4), (made, 2), (made, 2)])
    ]
    await shelf.uses.take_in("d1", uses, lambda: NOW)
    assert list(await shelf.requests.uses(made.request_id, 9)) == [uses[1], uses[4], uses[3], uses[0]]
    assert list(await shelf.requests.uses(made.request_id, 2)) == [uses[1], uses[4]]
    assert list(await shelf.requests.uses("nobody", 9)) == []


async def test_uses_of_what_was_never_granted_are_not_kept_nor_more_than_any_grant_may_have(shelf: Shelf) -> None:
    waiting, worn = await shelf.put(1, 2)
    review = Review(reviewer="user:carol", reviewed=NOW)
    access = Access(begins=NOW, until=NOW + HOUR, uses=MOST_USES - 1)
    await shelf.requests.change([worn.request_id], lambda old, _now: old.approved(review, access), lambda: NOW)
    for number, grant_id in enumerate(("nobody", waiting.request_id, worn.request_id, worn.request_id)):
        use = GrantUse(grant_id=grant_id, attempt_id=f"a{number}", used=NOW)
        await shelf.uses.take_in("d1", [use], lambda: NOW)
    found = await shelf.found(worn)
    assert found.access is not None
    assert found.access.uses == MOST_USES
    async with shelf.database.read() as tx:
        assert list((await tx.execute(sa.select(GRANT_USE.c.attempt_id))).scalars()) == ["a2"]
