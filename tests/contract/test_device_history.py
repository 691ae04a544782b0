"""What every store of the device service does with the histories of devices: in memory, on SQLite and on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services._chassis.paging import Page, PageRequest, page_request
from services.device.model.history import HistoryEntry, HistoryKind
from services.device.model.lifecycle import Desired, EpmState, Lifecycle
from services.device.ports import Store
from tests.builders.device_database import keep
from tests.builders.devices import a_device
from tests.fakes.clock import NOW

WEEK = timedelta(days=7)
FULL = HistoryEntry(
    device_id="d1",
    kind=HistoryKind.SUSPECTED_CLONE,
    before="ÄÖ",
    after="flagged",
    reason="two lines of life\nwere seen",
    at=NOW + timedelta(microseconds=1),
    actor="service:policy",
)


def moved(number: int, device_id: str = "d1", *, at: timedelta = timedelta()) -> HistoryEntry:
    return HistoryEntry(
        device_id=device_id,
        kind=HistoryKind.EPM_STATE,
        before="",
        after=str(number),
        reason="",
        at=NOW + at,
    )


async def add(store: Store, *entries: HistoryEntry) -> None:
    async with store.transaction() as work:
        await work.history.add(*entries)


async def history(store: Store, device_id: str = "d1", size: int = 50) -> list[str]:
    async with store.read() as work:
        return [entry.after for entry in (await work.history.page(device_id, PageRequest(size))).items]


@pytest.mark.parametrize("kind", HistoryKind)
async def test_an_entry_comes_back_as_it_went_in(device_store: Store, kind: HistoryKind) -> None:
    entry = replace(FULL, kind=kind)
    await add(device_store, entry)
    async with device_store.read() as work:
        assert await work.history.page("d1", PageRequest(10)) == Page((entry,))
        assert await work.history.page("d2", PageRequest(10)) == Page(())


async def test_the_newest_stands_first_whatever_its_clock_said(device_store: Store) -> None:
    await add(device_store, moved(1), moved(2, at=-WEEK))
    await add(device_store)
    await add(device_store, moved(3, at=-2 * WEEK), moved(7, "d2"), moved(4, at=WEEK))
    assert await history(device_store) == ["4", "3", "2", "1"]


async def test_a_history_comes_in_pages_each_entry_once(device_store: Store) -> None:
    for number in range(5):
        await add(device_store, moved(number), moved(number, "d2"))
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        async with device_store.read() as work:
            request = page_request(page_size=2, page_token=token, shape=(int,))
            page = await work.history.page("d1", request)
        pages.append([entry.after for entry in page.items])
        token = page.next_token
        await add(device_store, moved(9))  # what comes later is on no later page
    assert pages == [["4", "3"], ["2", "1"], ["0"]]


async def break_off(store: Store) -> None:
    async with store.transaction() as work:
        await work.history.add(moved(1))
        raise ZeroDivisionError


async def test_what_is_not_kept_leaves_no_history(device_store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        await break_off(device_store)
    assert await history(device_store) == []


async def test_a_forgotten_history_is_gone_and_no_other(device_store: Store) -> None:
    await add(device_store, moved(1), moved(2, "d2"))
    async with device_store.transaction() as work:
        await work.history.forget("d1")
    assert (await history(device_store), await history(device_store, "d2")) == ([], ["2"])


async def test_the_time_of_a_loss_is_kept(device_store: Store) -> None:
    lifecycle = Lifecycle(EpmState.DEPROVISION_PENDING, Desired.NONE, NOW + WEEK, 3, NOW + timedelta(microseconds=1))
    await keep(device_store, a_device(lifecycle=lifecycle))
    async with device_store.read() as work:
        device = await work.devices.get("d1")
    assert device is not None
    assert device.lifecycle == lifecycle


async def test_no_retired_device_is_due(device_store: Store) -> None:
    due = Lifecycle(EpmState.DEPROVISION_PENDING, Desired.NONE, NOW)
    await keep(device_store, a_device("d1", lifecycle=due, retired=True), a_device("d2", lifecycle=due))
    async with device_store.read() as work:
        assert [device.device_id for device in await work.devices.due(NOW, limit=9)] == ["d2"]
