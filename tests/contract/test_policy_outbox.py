"""The outbox: on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.migrate import differences
from services._chassis.paging import PageRequest
from services.policy.codec.notices import to_kept
from services.policy.model.notices import Notice, NoticeEvent, Parcel, Route
from services.policy.store.outbox import KEPT, SqlOutbox, tell
from services.policy.store.tables import AUDIT, METADATA, OUTBOX
from services.policy.store.undelivered import SqlUndelivered
from tests.builders.notices import notice
from tests.builders.policy_database import policy_database
from tests.fakes.clock import NOW

LEASE = timedelta(minutes=2)
MOMENT = timedelta(microseconds=1)
LATER = NOW + timedelta(hours=1)
LATE = timedelta(days=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with policy_database(database_url) as opened:
        yield opened


@pytest.fixture
def outbox(database: Database) -> SqlOutbox:
    return SqlOutbox(database)


async def told(database: Database, *notices: Notice) -> None:
    async with database.transaction() as tx:
        for each in notices:
            await tell(tx, each)


def to_chat(_notice: Notice) -> Route:
    return Route(("webhook:chat",))


def name_of(parcel: Parcel) -> str:
    return f"n{parcel.notice.request.request_id[-4:]}"


async def rows(database: Database) -> list[tuple[str, str]]:
    columns = OUTBOX.c
    async with database.read() as tx:
        found = await tx.execute(sa.select(columns.notice, columns.channel).order_by(columns.notice, columns.channel))
        return [(f"n{row.notice[32:36]}" + row.notice[36:].replace("-submitted", ""), row.channel) for row in found]


async def take(
    outbox: SqlOutbox, lease: str, now: datetime = NOW, *, channel: str = "webhook:chat", most: int = 10
) -> list[Parcel]:
    return list(await outbox.take(channel, lease, now=now, until=now + LEASE, most=most))


async def test_the_schema_is_what_the_code_declares(database: Database) -> None:
    assert [each for each in await differences(database, METADATA) if "policy_outbox" in str(each)] == []


async def test_a_notice_is_kept_if_and_only_if_its_transaction_is(database: Database) -> None:
    async def and_fail() -> None:
        async with database.transaction() as tx:
            await tell(tx, notice(1))
            raise KeyError

    with pytest.raises(KeyError):
        await and_fail()
    await told(database, notice(2))
    assert await rows(database) == [("n0002", "")]


async def test_a_notice_becomes_a_message_for_each_channel_that_hears_of_it(
    database: Database, outbox: SqlOutbox
) -> None:
    await told(database, notice(1))
    assert await outbox.route(lambda _: Route(("mail:a@x.example", "webhook:chat")), NOW, most=10) == 1
    assert await rows(database) == [("n0001", "mail:a@x.example"), ("n0001", "webhook:chat")]
    assert await outbox.route(to_chat, NOW, most=10) == 0


async def test_a_notice_that_nobody_hears_of_is_forgotten(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    await outbox.route(lambda _: Route(), NOW, most=10)
    assert await rows(database) == []


async def test_a_message_comes_out_as_it_went_in(database: Database, outbox: SqlOutbox) -> None:
    wild = notice(
        3,
        NoticeEvent.APPROVED,
        justification='ünï "quoted" \\ \u202e </script>',
        reviewer="user:bob",
        access_until=LATER,
    )
    await told(database, wild)
    await outbox.route(to_chat, NOW, most=10)
    assert await take(outbox, "one") == [Parcel(wild, "webhook:chat", "one", 1)]


async def test_what_one_has_taken_nobody_else_takes_until_the_lease_is_over(
    database: Database, outbox: SqlOutbox
) -> None:
    await told(database, notice(1), notice(2))
    await outbox.route(to_chat, NOW, most=10)
    first = await take(outbox, "one", most=1)
    others = await take(outbox, "two")
    assert ([name_of(each) for each in first], [name_of(each) for each in others]) == (["n0001"], ["n0002"])
    assert await take(outbox, "three", NOW + LEASE - MOMENT) == []
    again = await take(outbox, "three", NOW + LEASE)
    assert [(name_of(each), each.tries) for each in again] == [("n0001", 2), ("n0002", 2)]


async def test_replicas_that_take_at_once_never_take_the_same(database: Database, outbox: SqlOutbox) -> None:
    await told(database, *(notice(number) for number in range(40)))
    await outbox.route(to_chat, NOW, most=100)
    taken = await asyncio.gather(*(take(outbox, f"lease{number}", most=10) for number in range(8)))
    ids = [parcel.notice.id for parcels in taken for parcel in parcels]
    assert len(ids) == len(set(ids))
    left = await take(outbox, "rest", most=100)
    assert len(ids) + len(left) == 40


async def test_a_message_that_was_sent_is_forgotten(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    await outbox.route(to_chat, NOW, most=10)
    (parcel,) = await take(outbox, "one")
    await outbox.sent(parcel)
    assert await rows(database) == []


async def test_who_lost_a_lease_ends_nothing(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    await outbox.route(to_chat, NOW, most=10)
    (slow,) = await take(outbox, "slow")
    (quick,) = await take(outbox, "quick", NOW + LEASE)
    await outbox.sent(slow)
    await outbox.put_back(slow, "late", NOW)
    await outbox.give_up(slow, "late", NOW)
    assert await outbox.next_due("webhook:chat", NOW + LEASE) == NOW + 2 * LEASE
    await outbox.sent(quick)
    assert await rows(database) == []


async def test_a_message_that_was_put_back_is_due_when_it_was_said(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    await outbox.route(to_chat, NOW, most=10)
    (parcel,) = await take(outbox, "one")
    await outbox.put_back(parcel, "it answered 500", LATER)
    assert await outbox.next_due("webhook:chat", NOW) == LATER
    assert await take(outbox, "two", LATER - MOMENT) == []
    assert [each.tries for each in await take(outbox, "two", LATER)] == [2]


async def test_a_message_that_is_given_up_stays_and_is_audited_once(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    await outbox.route(to_chat, NOW, most=10)
    (parcel,) = await take(outbox, "one")
    for _ in range(2):
        await outbox.give_up(parcel, "it answered 500", NOW)
    assert await rows(database) == [("n0001", "webhook:chat")]
    assert await take(outbox, "two", LATER) == []
    assert await outbox.next_due("webhook:chat", NOW) is None
    async with database.read() as tx:
        records = (await tx.execute(sa.select(AUDIT.c.action, AUDIT.c.target))).all()
    assert [tuple(record) for record in records] == [("notice_given_up", notice().request.request_id)]


async def test_what_was_given_up_before_a_time_is_sent_again_once(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1), notice(2))
    await outbox.route(to_chat, NOW, most=10)
    first, second = await take(outbox, "one")
    await outbox.give_up(first, "it answered 500", NOW)
    await outbox.give_up(second, "it answered 500", LATER)
    assert await outbox.send_again(LATER, LATER) == 1
    (again,) = await take(outbox, "two", LATER)
    assert (name_of(again), again.tries) == ("n0001", 1)
    await outbox.give_up(again, "it answered 500", LATER)
    assert await outbox.send_again(LATER, LATER) == 0


async def test_what_cannot_be_told_is_forgotten_in_the_end(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    await outbox.route(to_chat, NOW, most=10)
    await outbox.route(to_chat, NOW + KEPT, most=10)
    assert await rows(database) == [("n0001", "webhook:chat")]
    await outbox.route(to_chat, NOW + KEPT + MOMENT, most=10)
    assert await rows(database) == []


async def test_a_reminder_waits_for_its_time(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    reminder = notice(2, NoticeEvent.REMINDER, recorded=LATER)
    await outbox.route(lambda _: Route((), reminder), NOW, most=10)
    assert await outbox.next_due("", NOW) == LATER
    assert await outbox.route(to_chat, LATER - MOMENT, most=10) == 0
    assert await outbox.route(to_chat, LATER, most=10) == 1
    assert [each.notice for each in await take(outbox, "one", LATER)] == [reminder]


@pytest.mark.parametrize("routed", [False, True])
async def test_a_reminder_goes_when_its_request_waits_no_longer(
    database: Database, outbox: SqlOutbox, *, routed: bool
) -> None:
    reminders = [notice(2, NoticeEvent.REMINDER), notice(3, NoticeEvent.REMINDER)]
    await told(database, *reminders)
    if routed:
        await outbox.route(to_chat, NOW, most=10)
    await told(database, notice(2, NoticeEvent.DENIED))
    await outbox.route(lambda each: Route() if each.event is NoticeEvent.DENIED else to_chat(each), NOW, most=10)
    assert await rows(database) == [("n0003-reminder", "webhook:chat")]


async def test_nothing_waits_for_a_clock_that_was_set_back(database: Database, outbox: SqlOutbox) -> None:
    reminder = notice(2, NoticeEvent.REMINDER, recorded=NOW + LATE)
    await told(database, notice(1, recorded=NOW + LATE), reminder)
    assert await outbox.next_due("", NOW) == NOW
    assert await outbox.route(to_chat, NOW, most=10) == 1
    assert await outbox.next_due("webhook:chat", NOW) == NOW
    assert [name_of(each) for each in await take(outbox, "ahead", NOW + LATE)] == ["n0001"]
    assert [name_of(each) for each in await take(outbox, "back", NOW)] == ["n0001"]
    assert await take(outbox, "other", NOW) == []
    assert await rows(database) == [("n0001", "webhook:chat"), ("n0002-reminder", "")]


async def test_another_channel_is_not_touched(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    await outbox.route(lambda _: Route(("webhook:chat", "webhook:siem")), NOW, most=10)
    (parcel,) = await take(outbox, "one")
    await outbox.sent(parcel)
    assert [each.channel for each in await take(outbox, "one", channel="webhook:siem")] == ["webhook:siem"]


async def spoil(database: Database, number: int, **content: object) -> None:
    async with database.transaction() as tx:
        of_it = OUTBOX.c.request_id == notice(number).request.request_id
        await tx.execute(sa.update(OUTBOX).where(of_it).values(content=content))


async def buried(database: Database) -> list[tuple[str, str]]:
    async with database.read() as tx:
        dead = sa.select(OUTBOX.c.channel, OUTBOX.c.error).where(OUTBOX.c.given_up.is_not(None))
        return [(row.channel, row.error) for row in await tx.execute(dead)]


@pytest.mark.parametrize("content", [{}, {"event": "escalated", "request": {}}, {"request": []}])
async def test_what_a_newer_version_wrote_is_given_up_with_the_reason_and_holds_up_nothing(
    database: Database, outbox: SqlOutbox, content: dict[str, object]
) -> None:
    await told(database, notice(1), notice(2))
    await spoil(database, 1, **content)
    assert await outbox.route(to_chat, NOW, most=1) == 1
    assert await outbox.route(to_chat, NOW, most=1) == 1
    assert await outbox.route(to_chat, NOW, most=1) == 0
    assert [name_of(each) for each in await take(outbox, "one")] == ["n0002"]
    await spoil(database, 2, **content)
    assert await take(outbox, "two", NOW + LEASE) == []
    reason = "this version cannot read the notice: "
    assert [(channel, error[: len(reason)]) for channel, error in await buried(database)] == [
        ("", reason),
        ("webhook:chat", reason),
    ]
    assert list((await SqlUndelivered(database).page(PageRequest(10), lambda _: True, given_up=True)).items) == []
    async with database.read() as tx:
        targets = list((await tx.execute(sa.select(AUDIT.c.target).order_by(AUDIT.c.target))).scalars())
    assert targets == [notice(1).request.request_id, notice(2).request.request_id]


async def test_a_version_that_can_read_it_sends_what_another_one_gave_up(database: Database, outbox: SqlOutbox) -> None:
    await told(database, notice(1))
    await spoil(database, 1)
    await outbox.route(to_chat, NOW, most=10)
    await spoil(database, 1, **to_kept(notice(1)))
    assert await outbox.send_again(LATER, LATER) == 1
    await outbox.route(to_chat, LATER, most=10)
    assert [each.notice for each in await take(outbox, "one", LATER)] == [notice(1)]
