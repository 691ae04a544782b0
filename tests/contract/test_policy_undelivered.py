"""Messages that approvers did not get: seen and sent again by those who may see the request, on SQLite and on PostgreSQL."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.errors import InvalidError
from services._chassis.permits import Permit, Scope
from services.policy.model.notices import Notice, Route, Undelivered
from services.policy.model.requests import OfDevice
from services.policy.store.outbox import SqlOutbox, tell
from services.policy.store.tables import AUDIT
from services.policy.store.undelivered import SqlUndelivered
from services.policy.usecases.requests.undelivered import UndeliveredDesk
from tests.builders.notices import notice
from tests.builders.policy_database import policy_database
from tests.fakes.clock import NOW

CHAT, OPS = "webhook:chat", "mail:ops@example.com"
SOON = NOW + timedelta(minutes=2)
EVERYBODY = Permit(scopes=(Scope(tags=frozenset()),))


def by_tags(permit: Permit) -> Callable[[OfDevice], bool]:
    """See by the tags that the device had."""

    def sees(request: OfDevice) -> bool:
        return permit.sees(request.scope_tags)

    return sees


class Post:
    """Three notices to two channels: the chat refuses, and the mail server was not asked yet."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.outbox = SqlOutbox(database)
        self.desk = UndeliveredDesk(SqlUndelivered(database, chunk=2), sees=by_tags)
        self.notices = [notice(number, scope_tags=frozenset({"emea"})) for number in (1, 2)]
        self.notices.append(notice(3, scope_tags=frozenset({"apac"})))

    async def refuse(self) -> None:
        """Have all messages to the chat be given up."""
        async with self.database.transaction() as tx:
            for each in self.notices:
                await tell(tx, each)
        await self.outbox.route(lambda _: Route((CHAT, OPS)), NOW, most=10)
        for parcel in await self.outbox.take(CHAT, "lease", now=NOW, until=SOON, most=10):
            await self.outbox.give_up(parcel, "it answered 500", NOW)

    async def seen(self, permit: Permit = EVERYBODY, *, size: int = 50) -> list[Undelivered]:
        """Read all dead ones, page by page."""
        found: list[Undelivered] = []
        token = ""
        while True:
            page = await self.desk.page(permit, given_up=True, page_size=size, page_token=token)
            assert len(page.items) <= size
            found += page.items
            token = page.next_token
            if not token:
                return found

    def id_of(self, number: int, channel: str = CHAT) -> str:
        """Name a message."""
        told: Notice = self.notices[number - 1]
        return f"{told.id}/{channel}"

    async def audited(self) -> list[dict[str, str]]:
        """Return what the audit log says of messages that were sent again."""
        asked = sa.select(AUDIT.c.details).where(AUDIT.c.action == "notice_sent_again")
        async with self.database.read() as tx:
            return [json.loads(text) for text in (await tx.execute(asked)).scalars()]


@pytest.fixture
async def post(database_url: str) -> AsyncIterator[Post]:
    async with policy_database(database_url) as database:
        made = Post(database)
        await made.refuse()
        yield made


async def test_what_was_given_up_is_listed_newest_request_first_and_what_is_tried_still_on_demand(
    post: Post,
) -> None:
    for size in (1, 2, 50):
        assert [each.id for each in await post.seen(size=size)] == [post.id_of(number) for number in (3, 2, 1)]
    [newest, *_] = await post.seen()
    assert (newest.tries, newest.error, newest.given_up) == (1, "it answered 500", NOW)
    every = await post.desk.page(EVERYBODY, given_up=False, page_size=0, page_token="")
    assert [each.channel for each in every.items] == [CHAT, OPS] * 3
    assert [each.given_up is None for each in every.items] == [False, True] * 3


async def test_of_many_messages_that_one_may_not_see_a_page_looks_through_so_many_and_the_next_goes_on(
    post: Post,
) -> None:
    post.desk = UndeliveredDesk(SqlUndelivered(post.database, chunk=1, most_looked=1), sees=by_tags)
    emea = Permit(scopes=(Scope(tags=frozenset({"emea"})),))
    first = await post.desk.page(emea, given_up=True, page_size=0, page_token="")
    assert first.items == ()
    assert first.next_token
    assert [each.id for each in await post.seen(emea)] == [post.id_of(2), post.id_of(1)]


async def test_who_sees_a_request_sees_its_messages_and_sends_them_alone(post: Post) -> None:
    apac = Permit(scopes=(Scope(tags=frozenset({"apac"})),))
    assert [each.id for each in await post.seen(apac)] == [post.id_of(3)]
    assert await post.desk.retry([post.id_of(1), post.id_of(3)], apac, NOW) == 1
    assert [each.id for each in await post.seen()] == [post.id_of(2), post.id_of(1)]


async def test_what_is_sent_again_is_as_if_it_had_never_been_tried_and_is_audited_once(post: Post) -> None:
    for retried in (1, 0):
        assert await post.desk.retry([post.id_of(2)], EVERYBODY, NOW) == retried
    [parcel] = await post.outbox.take(CHAT, "again", now=NOW, until=SOON, most=10)
    assert (parcel.notice, parcel.tries) == (post.notices[1], 1)
    assert [(each["channel"], each["error"]) for each in await post.audited()] == [(CHAT, "it answered 500")]


async def test_what_is_tried_still_or_was_never_there_is_passed_over(post: Post) -> None:
    named = [post.id_of(1, OPS), "nothing", "a\0b", f"{post.notices[0].id}/", post.id_of(1)]
    assert await post.desk.retry(named, EVERYBODY, NOW) == 1
    for wrong in ([], ["one"] * 101):
        with pytest.raises(InvalidError):
            await post.desk.retry(wrong, EVERYBODY, NOW)
