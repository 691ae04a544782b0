from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from services._chassis.errors import InvalidError
from services.device.model.devices import Device, EnrolmentState
from services.device.model.lifecycle import Desired, EpmState, Lifecycle, SettingsReport
from services.device.ports import Work
from services.device.usecases.lifecycle import MOST_REPORTS, SWEEP_BATCH, report_settings, sweep
from tests.builders.device_database import keep
from tests.builders.devices import a_device
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

WEEK = timedelta(days=7)


def told(
    desired: Desired = Desired.ON, *, device_id: str = "d1", acknowledged: bool = False, revision: int = 5
) -> SettingsReport:
    return SettingsReport(device_id=device_id, desired=desired, acknowledged=acknowledged, revision=revision)


async def report(store: MemoryStore, *reports: SettingsReport) -> None:
    await report_settings(store, reports, now=NOW, deprovision_after=WEEK)


async def store_with(*devices: Device) -> MemoryStore:
    store = MemoryStore()
    async with store.transaction() as work:
        await work.next_revision()
    await keep(store, *devices)
    return store


def leaving(device_id: str, *, since: timedelta) -> Device:
    time = NOW - since + WEEK
    return a_device(device_id, lifecycle=Lifecycle(EpmState.DEPROVISION_PENDING, Desired.NONE, time, 5))


async def test_a_policy_that_applies_provisions_and_its_acknowledgement_activates() -> None:
    store = await store_with(a_device())
    await report(store, told())
    assert store.kept.devices["d1"].lifecycle == Lifecycle(EpmState.PROVISIONING, Desired.ON, None, 5)
    await report(store, told(acknowledged=True))
    assert store.kept.devices["d1"].lifecycle == Lifecycle(EpmState.ACTIVE, Desired.ON, None, 5)


async def test_each_state_that_a_report_leads_through_is_audited() -> None:
    store = await store_with(a_device())
    await report(store, told(Desired.OFF, acknowledged=True))
    assert [((e.before or {})["epm_state"], (e.after or {})["epm_state"]) for e in store.kept.audit] == [
        ("NOT_PROVISIONED", "PROVISIONING"),
        ("PROVISIONING", "DISABLED"),
    ]


async def test_the_directory_hears_of_the_time_to_go_and_not_of_states() -> None:
    store = await store_with(a_device())
    await report(store, told(acknowledged=True))
    assert store.kept.devices["d1"].revision == 1
    await report(store, told(Desired.NONE, revision=6))
    device = store.kept.devices["d1"]
    assert device.lifecycle == Lifecycle(EpmState.DEPROVISION_PENDING, Desired.NONE, NOW + WEEK, 6)
    assert device.revision == store.kept.revision


async def test_a_newer_revision_without_other_news_is_kept_quietly() -> None:
    store = await store_with(a_device(lifecycle=Lifecycle(EpmState.ACTIVE, Desired.ON, None, 5)))
    await report(store, told(acknowledged=True, revision=9))
    assert store.kept.devices["d1"].lifecycle.policy_revision == 9
    assert store.kept.revision == 1
    assert store.actions == []


async def test_a_batch_that_is_repeated_or_older_changes_nothing() -> None:
    store = await store_with(a_device())
    await report(store, told(acknowledged=True))
    before = store.kept
    await report(store, told(acknowledged=True), told(Desired.NONE, revision=4))
    assert store.kept == before


async def test_later_reports_of_one_batch_build_on_earlier_ones() -> None:
    store = await store_with(a_device())
    await report(store, told(acknowledged=True), told(Desired.NONE, revision=6))
    assert store.kept.devices["d1"].lifecycle.state is EpmState.DEPROVISION_PENDING


async def test_devices_that_are_not_known_are_passed_over() -> None:
    store = await store_with(a_device())
    await report(store, told(device_id="nobody"), told())
    assert store.kept.devices["d1"].lifecycle.state is EpmState.PROVISIONING


async def test_a_report_that_rests_on_an_older_life_of_the_device_is_passed_over() -> None:
    store = await store_with(replace(a_device(), enrolled=NOW))
    old = replace(told(acknowledged=True, revision=9), enrolled=NOW - WEEK)
    await report(store, old)
    assert store.kept.devices["d1"].lifecycle == Lifecycle()
    await report(store, replace(old, enrolled=NOW))
    assert store.kept.devices["d1"].lifecycle.state is EpmState.ACTIVE


async def test_a_batch_that_is_too_large_is_refused_whole() -> None:
    store = await store_with(a_device())
    with pytest.raises(InvalidError):
        await report(store, *[told()] * (MOST_REPORTS + 1))
    assert store.kept.devices["d1"].lifecycle.state is EpmState.NOT_PROVISIONED


async def test_the_sweep_moves_what_is_due_and_nothing_else() -> None:
    early = timedelta(microseconds=1)
    store = await store_with(leaving("due", since=WEEK), leaving("early", since=WEEK - early), a_device("steady"))
    assert await sweep(store, now=NOW) == 1
    states = {device_id: device.lifecycle.state for device_id, device in store.kept.devices.items()}
    assert states == {
        "due": EpmState.DEPROVISIONING,
        "early": EpmState.DEPROVISION_PENDING,
        "steady": EpmState.NOT_PROVISIONED,
    }
    assert [(entry.action, entry.target) for entry in store.kept.audit] == [("epm_state_changed", "due")]
    assert await sweep(store, now=NOW) == 0


async def test_the_sweep_goes_on_in_batches_until_nothing_is_due() -> None:
    store = await store_with(*(leaving(f"d{number:03}", since=WEEK) for number in range(SWEEP_BATCH + 1)))
    assert [await sweep(store, now=NOW) for _ in range(3)] == [SWEEP_BATCH, 1, 0]
    assert {device.lifecycle.state for device in store.kept.devices.values()} == {EpmState.DEPROVISIONING}


class Meanwhile:
    """Let something happen after the sweep has looked and before it moves."""

    def __init__(self, store: MemoryStore, happen: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._happen = happen

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        await self._happen()
        async with self._store.transaction() as work:
            yield work

    def read(self) -> AbstractAsyncContextManager[Work]:
        return self._store.read()


async def test_a_policy_that_returns_while_the_sweep_looks_wins() -> None:
    store = await store_with(leaving("d1", since=WEEK))
    await sweep(Meanwhile(store, lambda: report(store, told(revision=6))), now=NOW)
    assert store.kept.devices["d1"].lifecycle.state is EpmState.PROVISIONING


async def test_a_policy_that_was_lost_anew_while_the_sweep_looks_has_its_own_week() -> None:
    store = await store_with(leaving("d1", since=WEEK))
    reports = told(revision=6), told(Desired.NONE, revision=7)
    await sweep(Meanwhile(store, lambda: report(store, *reports)), now=NOW)
    assert store.kept.devices["d1"].lifecycle.deprovision_time == NOW + WEEK
    assert store.kept.devices["d1"].lifecycle.state is EpmState.DEPROVISION_PENDING


async def test_what_was_heard_of_anew_while_the_sweep_looks_is_left_to_the_next_one() -> None:
    store = await store_with(leaving("d1", since=WEEK))
    await sweep(Meanwhile(store, lambda: report(store, told(Desired.NONE, revision=6))), now=NOW)
    assert store.actions == []
    await sweep(store, now=NOW)
    assert store.kept.devices["d1"].lifecycle.state is EpmState.DEPROVISIONING


async def test_a_device_that_is_retired_while_the_sweep_looks_is_left_alone() -> None:
    due = leaving("d1", since=WEEK)
    store = await store_with(due)
    await sweep(Meanwhile(store, lambda: keep(store, replace(due, enrolment=EnrolmentState.RETIRED))), now=NOW)
    assert store.kept.devices["d1"].lifecycle == due.lifecycle


async def test_nothing_is_heard_of_a_retired_device_and_no_sweep_looks_at_it() -> None:
    gone = replace(leaving("d1", since=WEEK), enrolment=EnrolmentState.RETIRED)
    store = await store_with(gone)
    await report(store, told(revision=6))
    assert await sweep(store, now=NOW) == 0
    assert store.kept.devices["d1"] == gone
    assert store.kept.history == ()


async def test_what_two_sweeps_saw_at_once_is_moved_once() -> None:
    store = await store_with(leaving("d1", since=WEEK))

    async def other_replica() -> None:
        await sweep(store, now=NOW)

    await sweep(Meanwhile(store, other_replica), now=NOW)
    assert store.actions == ["epm_state_changed"]
