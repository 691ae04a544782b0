"""The EPM states of devices in a real store do what the table of the decisions says, whatever two sweepers do meanwhile.

A sweeper looks and then moves; between the two, anything may happen, and it may die at any point.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from services._chassis.paging import PageRequest
from services.device.model.history import HistoryKind
from services.device.model.lifecycle import Desired, SettingsReport, begin
from services.device.ports import Store, Work
from services.device.store.sql import SqlStore
from services.device.store.tables import AUDIT
from services.device.usecases.check_in import check_in
from services.device.usecases.lifecycle import report_settings, sweep
from tests.builders.device_database import device_database, keep
from tests.builders.devices import LINUX, a_device, some_bounds
from tests.fakes.device import MemoryStore
from tests.reference.lifecycle import WEEK, LifecycleMachine, Seen, Told

Result = TypeVar("Result")
Moves = list[tuple[str, str]]
Audited = Callable[[str], Awaitable[Moves]]
SWEEPERS = ("first", "second")


class DiedError(Exception):
    """Stand for the end of a process."""


class Halting:
    """A store whose user stops before it writes, until it may go on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.halted = asyncio.Event()
        self.may_go_on = asyncio.Event()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        """Stop, and then write."""
        self.halted.set()
        await self.may_go_on.wait()
        async with self._store.transaction() as work:
            yield work

    def read(self) -> AbstractAsyncContextManager[Work]:
        """Look at once."""
        return self._store.read()


class Dying:
    """A store whose user dies when all is written and nothing is kept."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        """Write, and die."""
        async with self._store.transaction() as work:
            yield work
            raise DiedError

    def read(self) -> AbstractAsyncContextManager[Work]:
        """Look."""
        return self._store.read()


@dataclass
class House:
    """A store, what its audit log says of a device, and the loop that both live in."""

    store: Store
    audited: Audited
    runner: asyncio.Runner
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something in the loop."""
        return self.runner.run(work)


class StoredLifecycle:
    """A device in a store, moved by the verbs of the service."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._id = f"d{next(house.numbers)}"
        self._os = "linux"

    def enrol(self, os: str) -> None:
        """Keep a device that has just enrolled."""
        self._os = os
        device = a_device(self._id, facts=replace(LINUX, os=os), lifecycle=begin(os))
        self._house.run(keep(self._house.store, device))

    def hear(self, told: Told, now: datetime) -> None:
        """Take in a report."""
        report = SettingsReport(
            device_id=self._id,
            desired=Desired[told.wanted.upper()],
            acknowledged=told.acknowledged,
            revision=told.revision,
            lost=told.lost,
        )
        self._house.run(report_settings(self._house.store, [report], now=now, deprovision_after=WEEK))

    def check_in(self, os: str, now: datetime, *, gone: bool) -> None:
        """Hear from the agent."""
        facts = replace(LINUX, os=os)
        self._house.run(
            check_in(self._house.store, self._id, "", facts, component_gone=gone, bounds=some_bounds(), now=now)
        )

    def sweep(self, now: datetime) -> None:
        """Look for what is due, undisturbed."""
        self._house.run(sweep(self._house.store, now=now))

    def seen(self) -> Seen:
        """Say how it is: the record, and every move by the history, which the audit log confirms."""
        return self._house.run(self._seen())

    async def _seen(self) -> Seen:
        async with self._house.store.read() as work:
            device = await work.devices.get(self._id)
            page = await work.history.page(self._id, PageRequest(1000))
        assert device is not None
        moves = [(entry.before, entry.after) for entry in reversed(page.items)]
        assert all(entry.kind is HistoryKind.EPM_STATE and entry.reason for entry in page.items)
        assert moves == await self._house.audited(self._id)
        lifecycle = device.lifecycle
        return Seen(lifecycle.state.value, lifecycle.desired.value.lower(), lifecycle.deprovision_time, moves)


@dataclass
class Look:
    """A sweeper between its look and its move."""

    task: "asyncio.Task[int]"
    store: Halting
    then: datetime
    saw: tuple[int, datetime | None]


class StoreMachine(LifecycleMachine):
    """Let two sweepers look and move apart from one another, and die."""

    def __init__(self, house: House) -> None:
        super().__init__(StoredLifecycle(house))
        self._house = house
        self._looks: dict[str, Look] = {}

    @rule(name=st.sampled_from(SWEEPERS))
    def look(self, name: str) -> None:
        """Let a sweeper look, and stop before it moves anything; with nothing to move it is done."""
        if name not in self._looks:
            look = self._house.run(self._look())
            if not look.task.done():
                self._looks[name] = look

    @rule(name=st.sampled_from(SWEEPERS))
    def look_when_due(self, name: str) -> None:
        """Let a sweeper find the device due, and stop before it moves it."""
        if name not in self._looks and self.plain.state == "DEPROVISION_PENDING":
            self.come_to_the_time(before=False)
            self.look(name)

    @rule(name=st.sampled_from(SWEEPERS))
    def move(self, name: str) -> None:
        """Let the sweeper go on: what is not as it saw it is left alone."""
        look = self._looks.pop(name, None)
        if look is not None:
            self._house.run(self._go_on(look))
            if look.saw == (self.plain.revision, self.plain.goes):
                self.plain.tick(look.then)

    @rule(name=st.sampled_from(SWEEPERS))
    def die(self, name: str) -> None:
        """End a sweeper before it moves anything."""
        look = self._looks.pop(name, None)
        if look is not None:
            self._house.run(self._end(look))

    @rule()
    def die_before_the_commit(self) -> None:
        """End a sweeper that has written and not committed."""
        with suppress(DiedError):
            self._house.run(sweep(Dying(self._house.store), now=self.now))

    def teardown(self) -> None:
        """End the sweepers, and then as ever."""
        for name in tuple(self._looks):
            self.die(name)
        super().teardown()

    async def _look(self) -> Look:
        store = Halting(self._house.store)
        task = asyncio.ensure_future(sweep(store, now=self.now))
        halted = asyncio.ensure_future(store.halted.wait())
        await asyncio.wait({task, halted}, return_when=asyncio.FIRST_COMPLETED)
        halted.cancel()
        return Look(task, store, self.now, (self.plain.revision, self.plain.goes))

    async def _go_on(self, look: Look) -> None:
        look.store.may_go_on.set()
        await look.task

    async def _end(self, look: Look) -> None:
        look.task.cancel()
        await asyncio.wait({look.task})


@contextmanager
def memory() -> Iterator[House]:
    """Give a store in memory."""
    store = MemoryStore()

    async def audited(device_id: str) -> Moves:
        moved = [e for e in store.kept.audit if e.target == device_id and e.action == "epm_state_changed"]
        return [(str((e.before or {})["epm_state"]), str((e.after or {})["epm_state"])) for e in moved]

    with asyncio.Runner() as runner:
        yield House(store, audited, runner)


@contextmanager
def database(url: str) -> Iterator[House]:
    """Give a store in a database."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        opened = runner.run(stack.enter_async_context(device_database(url)))

        async def audited(device_id: str) -> Moves:
            question = sa.select(AUDIT.c.before, AUDIT.c.after).order_by(AUDIT.c.sequence)
            question = question.where(AUDIT.c.target == device_id, AUDIT.c.action == "epm_state_changed")
            async with opened.read() as tx:
                rows = (await tx.execute(question)).all()
            return [(json.loads(row.before)["epm_state"], json.loads(row.after)["epm_state"]) for row in rows]

        try:
            yield House(SqlStore(opened), audited, runner)
        finally:
            runner.run(stack.aclose())


def hold(house: House, *, examples: int) -> None:
    """Compare what becomes of a device in the store with the table."""
    law = settings(max_examples=examples, stateful_step_count=40)
    run_state_machine_as_test(lambda: StoreMachine(house), settings=law)  # type: ignore[arg-type]  # any maker will do


def test_the_verbs_do_what_the_table_says() -> None:
    with memory() as house:
        hold(house, examples=100)


def test_the_verbs_do_what_the_table_says_on_a_database(database_url: str) -> None:
    with database(database_url) as house:
        hold(house, examples=12)
