"""Who carries the outbox to the channels, when, and how often."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.workers import Backoff
from services.policy.model.notices import Interest, Notice, NoticeEvent
from services.policy.notices.channels import UndeliveredError
from services.policy.notices.couriers import Courier, Manners, Router, half_jitter
from services.policy.store.outbox import KEPT, SqlOutbox, tell
from tests.builders.notices import notice
from tests.builders.policy_database import policy_database
from tests.fakes.clock import NOW, FakeClock

CHAT = "webhook:chat"
HOUR = timedelta(hours=1)


@dataclass
class FakeChannel:
    """Takes notices, or fails as a test says."""

    name: str = CHAT
    failures: list[UndeliveredError] = field(default_factory=list)
    got: list[tuple[str, datetime]] = field(default_factory=list)
    hangs: asyncio.Event | None = None
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, told: Notice, now: datetime) -> None:
        self.called.set()
        if self.hangs is not None:
            await self.hangs.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.got.append((told.id, now))


@dataclass
class House:
    """An outbox with a router, and couriers as a test wants them."""

    database: Database
    outbox: SqlOutbox
    clock: FakeClock
    tags: dict[str, frozenset[str]]
    leases: "count[int]"

    def router(
        self,
        interests: Sequence[Interest],
        *,
        remind_after: timedelta | None = None,
        send_again: datetime | None = None,
    ) -> Router:
        return Router(
            self.outbox,
            interests,
            tags_of=lambda: self.tags.get,
            changes=self.database.changes,
            clock=self.clock,
            remind_after=remind_after,
            send_again=send_again,
        )

    def courier(self, channel: FakeChannel, most_tries: int = 24, *, tags: frozenset[str] = frozenset()) -> Courier:
        # Waits are the whole bound, so that a test knows them.
        backoff = Backoff(base=5.0, cap=3600.0, choose=lambda _low, high: high)
        return Courier(
            channel,
            self.outbox,
            interest=Interest(channel=channel.name, scope_tags=tags),
            tags_of=lambda: self.tags.get,
            clock=self.clock,
            new_id=lambda: f"lease{next(self.leases)}",
            manners=Manners(backoff=backoff, most_tries=most_tries),
        )

    async def tell(self, *notices: Notice) -> None:
        async with self.database.transaction() as tx:
            for each in notices:
                await tell(tx, each)

    async def due(self, channel: str = CHAT) -> timedelta | None:
        due = await self.outbox.next_due(channel, self.clock.now())
        return None if due is None else due - self.clock.now()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with policy_database(f"sqlite:///{tmp_path / 'policy.db'}") as database:
        yield House(database, SqlOutbox(database), FakeClock(), {"d1": frozenset({"emea"})}, count())


async def test_a_notice_is_sent_to_the_channels_whose_scope_covers_the_device_and_to_no_others(house: House) -> None:
    names = {"all": frozenset[str](), "emea": frozenset({"emea"}), "apac": frozenset({"apac"})}
    channels = [FakeChannel(name) for name in names]
    await house.tell(notice(1))
    assert await house.router([Interest(channel=name, scope_tags=tags) for name, tags in names.items()]).route() == 1
    for channel in channels:
        await house.courier(channel).send()
    assert {channel.name for channel in channels if channel.got} == {"all", "emea"}


async def test_nothing_is_routed_while_the_tags_of_devices_are_not_known(house: House) -> None:
    def unknown() -> Callable[[str], frozenset[str] | None]:
        raise UnavailableError("not yet")

    await house.tell(notice(1))
    router = Router(house.outbox, [], tags_of=unknown, changes=house.database.changes, clock=house.clock)
    with pytest.raises(UnavailableError):
        await router.route()
    assert await house.due("") == timedelta()


async def test_waits_grow_from_try_to_try_and_the_notice_arrives_in_the_end(house: House) -> None:
    channel = FakeChannel(failures=[UndeliveredError("it answered 500") for _ in range(3)])
    courier = house.courier(channel)
    await house.tell(notice(1))
    await house.router([Interest(channel=CHAT)]).route()
    waits = []
    while await courier.send():
        wait = await house.due()
        waits.append(wait)
        house.clock.advance(wait or timedelta())
    assert waits == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20), None]
    assert channel.got == [(notice(1).id, NOW + timedelta(seconds=35))]


async def test_a_channel_that_hears_of_the_device_no_longer_is_not_sent_what_waited(house: House) -> None:
    emea = frozenset({"emea"})
    channel = FakeChannel(failures=[UndeliveredError("it answered 500")])
    courier = house.courier(channel, tags=emea)
    await house.tell(notice(1))
    await house.router([Interest(channel=CHAT, scope_tags=emea)]).route()
    await courier.send()
    house.tags["d1"] = frozenset({"apac"})
    house.clock.advance(HOUR)
    assert await courier.send() == 1
    assert (channel.got, await house.due()) == ([], None)


async def test_nothing_is_taken_to_be_sent_while_the_tags_of_devices_are_not_known(house: House) -> None:
    def unknown() -> Callable[[str], frozenset[str] | None]:
        raise UnavailableError("not yet")

    await house.tell(notice(1))
    await house.router([Interest(channel=CHAT)]).route()
    channel, interest = FakeChannel(), Interest(channel=CHAT)
    courier = Courier(
        channel, house.outbox, interest=interest, tags_of=unknown, clock=house.clock, new_id=lambda: "lease"
    )
    with pytest.raises(UnavailableError):
        await courier.send()
    assert (channel.got, await house.due()) == ([], timedelta())


async def test_after_the_last_try_the_message_is_given_up(house: House) -> None:
    channel = FakeChannel(failures=[UndeliveredError("it answered 500") for _ in range(9)])
    courier = house.courier(channel, most_tries=3)
    await house.tell(notice(1))
    await house.router([Interest(channel=CHAT)]).route()
    while await courier.send():
        house.clock.advance(HOUR)
    assert (len(channel.failures), await house.due()) == (6, None)


async def test_the_notices_file_has_what_was_given_up_be_sent_again(house: House) -> None:
    channel = FakeChannel(failures=[UndeliveredError("it answered 500")])
    courier = house.courier(channel, most_tries=1)
    await house.tell(notice(1))
    await house.router([Interest(channel=CHAT)]).route()
    await courier.send()
    house.clock.advance(HOUR)
    await house.router([Interest(channel=CHAT)], send_again=NOW).revive()
    assert await courier.send() == 0
    await house.router([Interest(channel=CHAT)], send_again=NOW + HOUR).revive()
    await courier.send()
    assert channel.got == [(notice(1).id, NOW + HOUR)]


async def test_what_would_never_arrive_is_given_up_at_once(house: House) -> None:
    channel = FakeChannel(failures=[UndeliveredError("nobody of this name", final=True)])
    await house.tell(notice(1))
    await house.router([Interest(channel=CHAT)]).route()
    await house.courier(channel).send()
    assert (await house.due(), channel.got) == (None, [])


async def test_a_message_whose_senders_die_is_given_up_too(house: House) -> None:
    await house.tell(notice(1))
    await house.router([Interest(channel=CHAT)]).route()
    for _ in range(3):
        await house.outbox.take(CHAT, "dies", now=house.clock.now(), until=house.clock.now() + HOUR, most=1)
        house.clock.advance(HOUR)
    channel = FakeChannel()
    await house.courier(channel, most_tries=3).send()
    assert (channel.got, await house.due()) == ([], None)


async def test_who_dies_between_sending_and_forgetting_leaves_it_to_be_sent_again_under_the_same_identifier(
    house: House,
) -> None:
    channel = FakeChannel(hangs=asyncio.Event())
    await house.tell(notice(1))
    await house.router([Interest(channel=CHAT)]).route()
    killed = asyncio.create_task(house.courier(channel).send())
    await channel.called.wait()
    killed.cancel()
    channel.hangs = None
    successor = house.courier(channel)
    assert await successor.send() == 0
    house.clock.advance(timedelta(minutes=2))
    assert await successor.send() == 1
    assert [told for told, _ in channel.got] == [notice(1).id]


async def test_a_channel_that_hangs_holds_up_no_other_and_no_new_notice(house: House) -> None:
    hanging, other = FakeChannel("webhook:hangs", hangs=asyncio.Event()), FakeChannel()
    router = house.router([Interest(channel=channel.name) for channel in (hanging, other)])
    await house.tell(notice(1))
    await router.route()
    stuck = asyncio.create_task(house.courier(hanging).send())
    await hanging.called.wait()
    await house.tell(notice(2))
    assert await router.route() == 1
    assert await house.courier(other).send() == 2
    stuck.cancel()


async def test_a_request_that_waits_is_reminded_of_once(house: House) -> None:
    channel, router = FakeChannel(), house.router([Interest(channel=CHAT)], remind_after=HOUR)
    courier = house.courier(channel)
    await house.tell(notice(1))
    for _ in range(4):
        await router.route()
        await courier.send()
        house.clock.advance(HOUR / 2)
    assert channel.got == [
        (notice(1).id, NOW),
        (notice(1, NoticeEvent.REMINDER).id, NOW + HOUR),
    ]


async def test_a_request_that_was_decided_is_not_reminded_of(house: House) -> None:
    channel, router = FakeChannel(), house.router([Interest(channel=CHAT)], remind_after=HOUR)
    await house.tell(notice(1))
    await router.route()
    await house.tell(notice(1, NoticeEvent.APPROVED))
    house.clock.advance(2 * HOUR)
    while await router.route():
        pass
    while await house.courier(channel).send():
        pass
    assert sorted(told for told, _ in channel.got) == [notice(1, NoticeEvent.APPROVED).id, notice(1).id]


async def test_a_reminder_that_could_not_be_sent_in_time_is_not_sent(house: House) -> None:
    channel, router = FakeChannel(), house.router([Interest(channel=CHAT)])
    await house.tell(notice(1, NoticeEvent.REMINDER, review_deadline=NOW + HOUR))
    await router.route()
    house.clock.advance(HOUR)
    await house.courier(channel).send()
    assert (channel.got, await house.due()) == ([], None)


async def test_router_and_courier_run_by_themselves(house: House) -> None:
    channel = FakeChannel()
    router, courier = house.router([Interest(channel=CHAT)]), house.courier(channel)
    router.on_routed.append(courier.wake)
    running = asyncio.gather(router.run(), courier.run())
    async with house.database.transaction() as tx:
        await tell(tx, notice(1))
        await tx.next_revision()
    async with asyncio.timeout(10):
        await channel.called.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_wait_is_at_least_half_of_its_bound() -> None:
    waits = [Backoff(base=5.0, cap=3600.0, choose=half_jitter).delay(failures) for failures in range(30)]
    bounds = [min(3600.0, 5.0 * 2 ** min(failures, 16)) for failures in range(30)]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


async def test_what_is_too_old_goes_though_nothing_is_routed(house: House) -> None:
    router = house.router([Interest(channel=CHAT)])
    await house.tell(notice(1))
    await router.route()
    house.clock.advance(KEPT + HOUR)
    assert await house.due() is not None
    assert await router.route() == 0
    assert await house.due() is None
