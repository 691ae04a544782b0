import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from elevation.model import Group, GroupType, ReportingScope
from epm.device.v1 import groups_pb2, lifecycle_pb2
from services._chassis.errors import DeniedError, InvalidError, UnavailableError
from services._chassis.paging import PageRequest
from services._chassis.permits import EVERYTHING, Permit
from services.policy.clients.directory import DirectoryWatch, SettingsReports
from services.policy.model.delivery import Desired, SettingsState
from services.policy.model.states import DeliveryState, DevicePolicyState, StatesWanted
from services.policy.store.device_states import DeliveryStates
from services.policy.usecases.states import list_device_states
from tests.builders.doors import open_doors, service_identity, settings_for
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.device_directory import REVISION, FakeDeviceService, entry
from tests.fakes.policy_delivery import FakeDirectories, MemoryDeliveries, corpus, device, policy_book
from tests.fakes.rollouts import MemoryBundles


@pytest.fixture
async def watch() -> AsyncIterator[DirectoryWatch]:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        yield DirectoryWatch(channel)


def device_states(directories: FakeDirectories, deliveries: MemoryDeliveries) -> DeliveryStates:
    book = policy_book(directories)
    book.put(corpus())
    return DeliveryStates(book, deliveries, MemoryBundles(deliveries), FakeClock())


def lab(*members: str, deleted: bool = False) -> lifecycle_pb2.DirectoryGroup:
    return lifecycle_pb2.DirectoryGroup(name="lab", type=groups_pb2.GROUP_TYPE_DEVICE, members=members, deleted=deleted)


def told(
    *devices: lifecycle_pb2.DirectoryDevice,
    groups: Iterable[lifecycle_pb2.DirectoryGroup] = (),
    reset: bool = False,
    more: bool = False,
    revision: int = 1,
) -> lifecycle_pb2.WatchDirectoryResponse:
    return lifecycle_pb2.WatchDirectoryResponse(
        devices=devices, groups=groups, reset=reset, more=more, revision=revision
    )


async def test_a_device_and_a_group_are_known_by_all_that_policies_ask_for(watch: DirectoryWatch) -> None:
    gone = Timestamp()
    gone.FromDatetime(NOW)
    leaving = entry("d1", "alice", tags=["finance"])
    leaving.deprovision_time.CopyFrom(gone)
    people = lifecycle_pb2.DirectoryGroup(name="people", type=groups_pb2.GROUP_TYPE_USER, members=["alice"])
    found = lifecycle_pb2.DirectoryGroup(name="found", type=groups_pb2.GROUP_TYPE_DEVICE, filter='os = "windows"')
    watch.take(told(leaving, groups=[lab("D1"), people, found], reset=True, revision=7))
    directory = watch.directory()
    assert directory.revision == 7
    assert directory.devices["d1"].attributes == {
        "name": "D1",
        "os": "windows",
        "osVersion": "10.0",
        "architecture": "x86_64",
        "ownership": "corporate",
        "tag": ("finance",),
    }
    assert directory.devices["d1"].users == {"alice"}
    assert directory.devices["d1"].scope_tags == {"emea"}
    assert directory.devices["d1"].deprovision_time == datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert directory.groups == {
        "lab": Group("lab", GroupType.DEVICE, ("D1",)),
        "people": Group("people", GroupType.USER, ("alice",)),
        "found": Group("found", GroupType.DEVICE, (), 'os = "windows"'),
    }


async def test_nothing_is_known_before_the_first_transfer_is_whole(watch: DirectoryWatch) -> None:
    watch.take(told(entry("d1"), reset=True, more=True))
    with pytest.raises(UnavailableError):
        watch.directory()
    watch.take(told(entry("d2")))
    assert watch.directory().devices.keys() == {"d1", "d2"}


async def test_a_transfer_that_broke_off_leaves_nothing_behind_and_the_next_asks_for_what_is_newer(
    watch: DirectoryWatch,
) -> None:
    assert watch.begin().revision == 0
    watch.take(told(entry("d1"), reset=True, more=True))
    watch.begin()
    watch.take(told(entry("d2"), reset=True, revision=9))
    assert watch.directory().devices.keys() == {"d2"}
    assert watch.begin().revision == 9


async def test_a_full_transfer_forgets_what_it_does_not_bring(watch: DirectoryWatch) -> None:
    watch.take(told(entry("d1"), groups=[lab("D1")], reset=True))
    watch.take(told(entry("d2"), reset=True, revision=2))
    assert watch.directory().devices.keys() == {"d2"}
    assert watch.directory().groups == {}


async def test_only_what_changed_is_told_of(watch: DirectoryWatch) -> None:
    heard: list[list[str] | None] = []
    watch.on_change.append(lambda changed: heard.append(None if changed is None else sorted(changed)))
    watch.take(told(entry("d1"), entry("d2"), groups=[lab("D1")], reset=True))
    watch.take(told(entry("d1", "alice"), entry("d2"), revision=2))
    watch.take(told(entry("d2"), revision=3))
    watch.take(told(revision=3))
    watch.take(told(groups=[lab("D1")], revision=4))
    assert heard == [None, ["d1"]]
    watch.take(told(groups=[lab("D1", "D2")], revision=5))
    assert heard == [None, ["d1"], None]


async def test_groups_that_did_not_change_are_the_same_object(watch: DirectoryWatch) -> None:
    watch.take(told(entry("d1"), groups=[lab("D1")], reset=True))
    groups = watch.directory().groups
    watch.take(told(entry("d2"), revision=2))
    assert watch.directory().groups is groups


async def test_a_deleted_group_and_one_of_an_unknown_type_are_no_groups(watch: DirectoryWatch) -> None:
    strange = lifecycle_pb2.DirectoryGroup(name="strange", members=["D1"])
    watch.take(told(entry("d1"), groups=[lab("D1"), strange], reset=True))
    assert watch.directory().groups.keys() == {"lab"}
    watch.take(told(groups=[lab(deleted=True)], revision=2))
    assert watch.directory().groups == {}


async def test_a_device_that_has_only_just_enrolled_is_waited_for(watch: DirectoryWatch) -> None:
    asked = asyncio.create_task(watch.admitted("d1", "a1"))
    await asyncio.sleep(0)
    watch.take(told(entry("d1"), reset=True))
    assert (await asked).name == "D1"
    watch.take(told(entry("d1", enrolled=False), revision=2))
    with pytest.raises(DeniedError):
        await watch.admitted("d1", "a1")


async def test_what_does_not_come_is_not_waited_for_for_ever() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        watch = DirectoryWatch(channel, patience=0.01)
        for waiting in (watch.admitted("d1", "a1"), watch.at_least(1)):
            with pytest.raises(UnavailableError):
                await waiting
        watch.take(told(entry("d1"), reset=True))
        with pytest.raises(UnavailableError) as behind:
            await watch.at_least(2)
        assert behind.value.reason == "DIRECTORY_BEHIND"


async def test_a_revision_is_waited_for(watch: DirectoryWatch) -> None:
    watch.take(told(reset=True, revision=1))
    asked = asyncio.create_task(watch.at_least(3))
    await asyncio.sleep(0)
    watch.take(told(revision=2))
    await asyncio.sleep(0)
    assert not asked.done()
    watch.take(told(revision=3))
    assert (await asked).revision == 3
    assert (await watch.at_least(2)).revision == 3


async def test_the_device_service_is_followed_and_told_by_the_policy_service(tmp_path: Path) -> None:
    service = FakeDeviceService(entry("d1"), stays=False)
    settings = settings_for(tmp_path)
    connected: list[int] = []
    async with (
        open_doors(tmp_path, await service.build(settings)) as doors,
        doors.mesh(service_identity("policy")) as channel,
    ):
        watch = DirectoryWatch(channel)
        watch.on_connect.append(lambda: connected.append(1))
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await watch.run()
        states = [
            SettingsState(
                device_id=desired.value,
                desired=desired,
                acknowledged=desired is Desired.ON,
                revision=4,
                scope=ReportingScope.MANAGED if desired is Desired.ON else ReportingScope.NOTHING,
                lost=NOW if desired is Desired.NONE else None,
                life=NOW if desired is Desired.ON else None,
            )
            for desired in Desired
        ]
        await SettingsReports(channel).report(states)
    assert (service.asked, connected) == ([0, REVISION], [1, 1])
    assert [found.device_id for found in service.heard] == ["ON", "OFF", "NONE"]
    assert service.states() == [("ON", True), ("OFF", False), ("NONE", False)]
    assert {found.revision for found in service.heard} == {4}
    managed, nothing = lifecycle_pb2.REPORTED_SCOPE_MANAGED, lifecycle_pb2.REPORTED_SCOPE_NOTHING
    assert [found.reporting_scope for found in service.heard] == [managed, nothing, nothing]
    lost = [found.HasField("lost") and found.lost.ToDatetime(tzinfo=UTC) for found in service.heard]
    assert lost == [False, False, NOW]
    lives = [found.HasField("enrolled") and found.enrolled.ToDatetime(tzinfo=UTC) for found in service.heard]
    assert lives == [NOW, False, False]


async def test_a_device_service_that_is_away_is_unavailable(watch: DirectoryWatch) -> None:
    with pytest.raises(UnavailableError):
        await watch.run()


async def test_the_states_of_all_devices_are_listed_by_name_page_by_page() -> None:
    directories = FakeDirectories(*(device(f"d{number}") for number in range(5)), device("gone", enrolled=False))
    deliveries = MemoryDeliveries()
    await deliveries.change(
        [("d3", lambda old: old.opened("s", revision=0, sha256=b"", now=NOW).prepared(b"1" * 32, Desired.ON).sent(NOW))]
    )
    states, request = device_states(directories, deliveries), PageRequest(2)
    found: list[DevicePolicyState] = []
    while True:
        page = await states.page(request, StatesWanted(visible=None))
        found += page.items
        if not page.next_token:
            break
        request = PageRequest(2, (page.items[-1].device_name, page.items[-1].device_id))
    assert [state.device_name for state in found] == ["D0", "D1", "D2", "D3", "D4"]
    assert [(state.state, state.offered_revision, state.sha256, state.connected) for state in found[2:4]] == [
        (DeliveryState.PENDING, 0, b"", False),
        (DeliveryState.OFFERED, 1, b"1" * 32, True),
    ]


async def test_devices_that_the_caller_may_not_see_are_not_listed() -> None:
    watch_only = [device("d1", scope_tags={"emea"}), device("d2", scope_tags={"apac"}), device("d3")]
    states = device_states(FakeDirectories(*watch_only), MemoryDeliveries())
    for tag, seen in (("emea", "d1"), ("default", "d3")):
        page = await states.page(PageRequest(9), StatesWanted(visible=frozenset({tag})))
        assert [state.device_id for state in page.items] == [seen]


async def test_a_page_token_of_another_shape_is_refused() -> None:
    states = device_states(FakeDirectories(device()), MemoryDeliveries())
    forged = PageRequest(9, question="device_policy_states").next_token((1, "d1"))
    with pytest.raises(InvalidError, match="page_token"):
        await list_device_states(states, permit=Permit(scopes=(EVERYTHING,)), page_size=9, page_token=forged)
