"""The law of the outbox: whatever happens to it, in whatever order, it holds what a list of messages in memory holds."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services.policy.model.notices import Notice, NoticeEvent, Parcel, Route, reminder_of
from services.policy.store.outbox import SqlOutbox, tell
from services.policy.store.tables import OUTBOX
from tests.builders.notices import notice
from tests.builders.policy_database import policy_database
from tests.fakes.clock import NOW

CHANNELS = ("mail:a@example.com", "webhook:chat")
LEASE = timedelta(minutes=2)
REMIND = timedelta(minutes=3)


@dataclass
class Message:
    """What the model knows of a message."""

    told: Notice
    channel: str
    due: datetime
    tries: int = 0
    lease: str = ""
    given_up: bool = False


@dataclass
class Model:
    """The outbox as a list."""

    messages: list[Message] = field(default_factory=list)

    def tell(self, told: Notice) -> None:
        self.messages.append(Message(told, "", told.recorded))

    def route(self, now: datetime) -> None:
        ripe = [each for each in self.messages if not each.channel and each.due <= now]
        for each in sorted(ripe, key=lambda one: one.due):
            self.messages.remove(each)
            self.messages += [Message(each.told, channel, each.told.recorded) for channel in CHANNELS]
            if each.told.event is NoticeEvent.SUBMITTED:
                later = each.told.recorded + REMIND
                reminder = Notice(event=NoticeEvent.REMINDER, recorded=later, request=each.told.request)
                self.messages.append(Message(reminder, "", later))
        over = {each.told.request.request_id for each in ripe if each.told.event is NoticeEvent.DENIED}
        self.messages = [
            each
            for each in self.messages
            if each.given_up or each.told.event is not NoticeEvent.REMINDER or each.told.request.request_id not in over
        ]

    def take(self, channel: str, lease: str, now: datetime, most: int) -> set[str]:
        ripe = [each for each in self.messages if each.channel == channel and each.due <= now and not each.given_up]
        taken = sorted(ripe, key=lambda one: (one.due, one.told.id))[:most]
        for each in taken:
            each.due, each.lease, each.tries = now + LEASE, lease, each.tries + 1
        return {each.told.id for each in taken}

    def held(self, parcel: Parcel) -> Message | None:
        for each in self.messages:
            if (each.told.id, each.channel, each.lease) == (parcel.notice.id, parcel.channel, parcel.lease):
                return None if each.given_up else each
        return None

    def rows(self) -> list[tuple[str, str, datetime, int, str, bool]]:
        return sorted((one.told.id, one.channel, one.due, one.tries, one.lease, one.given_up) for one in self.messages)


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "deny", "route", "take", "sent", "put_back", "give_up", "wait"]),
        st.integers(0, 3),
        st.integers(0, 200),
    ),
    max_size=30,
)


@cache
def original() -> Path:
    """Make an empty database, once a run."""
    path = Path(tempfile.mkdtemp(prefix="openepm-outbox-")) / "policy.db"

    async def make() -> None:
        async with policy_database(f"sqlite:///{path}"):
            pass

    asyncio.run(make())
    return path


@dataclass
class Both:
    """The outbox and its model, side by side."""

    database: Database
    model: Model = field(default_factory=Model)
    now: datetime = NOW
    parcels: list[Parcel] = field(default_factory=list)
    leases: int = 0

    async def step(self, what: str, which: int, amount: int) -> None:
        """Do the same to both."""
        outbox = SqlOutbox(self.database)
        if what in ("submit", "deny"):
            await self._tell(notice(which, NoticeEvent.SUBMITTED if what == "submit" else NoticeEvent.DENIED))
        elif what == "route":
            await outbox.route(lambda told: Route(CHANNELS, reminder_of(told, REMIND)), self.now, most=100)
            self.model.route(self.now)
        elif what == "take":
            await self._take(outbox, CHANNELS[which % 2], most=1 + amount % 3)
        elif what == "wait":
            self.now += timedelta(seconds=amount)
        elif self.parcels:
            await self._end(outbox, what, self.parcels[amount % len(self.parcels)])

    async def _tell(self, template: Notice) -> None:
        known = {one.told.id for one in self.model.messages} | {each.notice.id for each in self.parcels}
        told = notice(int(template.request.request_id[-4:]), template.event, recorded=self.now, submitted=self.now)
        if told.id in known:
            return  # no request comes into a state twice
        async with self.database.transaction() as tx:
            await tell(tx, told)
        self.model.tell(told)

    async def _take(self, outbox: SqlOutbox, channel: str, *, most: int) -> None:
        self.leases += 1
        lease = f"lease{self.leases}"
        taken = await outbox.take(channel, lease, now=self.now, until=self.now + LEASE, most=most)
        assert {each.notice.id for each in taken} == self.model.take(channel, lease, self.now, most)
        self.parcels += taken

    async def _end(self, outbox: SqlOutbox, what: str, parcel: Parcel) -> None:
        held = self.model.held(parcel)
        if what == "sent":
            await outbox.sent(parcel)
            self.model.messages = [each for each in self.model.messages if each is not held]
        elif what == "put_back":
            await outbox.put_back(parcel, "failed", self.now + LEASE)
            if held is not None:
                held.lease, held.due = "", self.now + LEASE
        else:
            await outbox.give_up(parcel, "failed", self.now)
            if held is not None:
                held.lease, held.given_up = "", True

    async def rows(self) -> list[tuple[str, str, datetime, int, str, bool]]:
        async with self.database.read() as tx:
            found = (await tx.execute(sa.select(OUTBOX))).mappings()
            return sorted(
                (row["notice"], row["channel"], row["due"], row["tries"], row["lease"], row["given_up"] is not None)
                for row in found
            )


async def go(taken: Sequence[Step], path: Path) -> None:
    database = await Database.connect(f"sqlite:///{path}", service="policy")
    try:
        both = Both(database)
        for step in taken:
            await both.step(*step)
            assert await both.rows() == both.model.rows()
    finally:
        await database.close()


@settings(max_examples=40, deadline=None)
@given(steps)
def test_the_outbox_holds_what_a_list_in_memory_holds(taken: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.db"
        shutil.copy(original(), path)
        asyncio.run(go(taken, path))
