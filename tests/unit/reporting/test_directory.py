import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from elevation.model import GroupType, ReportingScope
from epm.device.v1 import devices_pb2, groups_pb2, lifecycle_pb2
from services._chassis.errors import DeniedError, UnavailableError
from services.reporting.clients import DirectoryWatch
from services.reporting.model.devices import Device
from services.reporting.model.groups import DirectoryMemberships
from services.reporting.model.scope import Reported
from tests.fakes.reporting import FakeDeviceRecords


@pytest.fixture
async def watch() -> AsyncIterator[DirectoryWatch]:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        yield DirectoryWatch(channel, FakeDeviceRecords())


def entry(device_id: str, *tags: str, enrolled: bool = True) -> lifecycle_pb2.DirectoryDevice:
    states = devices_pb2.ENROLMENT_STATE_ENROLLED, devices_pb2.ENROLMENT_STATE_RETIRED
    return lifecycle_pb2.DirectoryDevice(
        device_id=device_id, name=device_id.upper(), enrolment_state=states[not enrolled], scope_tags=tags
    )


def told(
    *devices: lifecycle_pb2.DirectoryDevice, reset: bool = False, more: bool = False, revision: int = 1
) -> lifecycle_pb2.WatchDirectoryResponse:
    return lifecycle_pb2.WatchDirectoryResponse(devices=devices, reset=reset, more=more, revision=revision)


async def test_a_transfer_counts_only_once_it_is_whole(watch: DirectoryWatch) -> None:
    await watch.take(told(entry("d1"), reset=True, more=True))
    assert not watch.directory.devices
    await watch.take(told(entry("d2", "emea")))
    assert watch.directory.devices.keys() == {"d1", "d2"}
    assert watch.directory.devices["d2"].scope_tags == {"emea"}


async def test_a_device_that_is_gone_after_a_full_transfer_is_refused_and_stays_remembered(
    watch: DirectoryWatch,
) -> None:
    heard: list[Device] = []
    watch.on_change.append(heard.append)
    await watch.take(told(entry("d1", "emea"), entry("d2"), reset=True))
    await watch.take(told(entry("d2"), reset=True))
    assert watch.directory.devices.keys() == {"d2"}
    assert heard[-1] == Device("d1", "D1", enrolled=False, deleted=True)
    assert watch._records.devices["d1"].scope_tags == {"emea"}  # type: ignore[attr-defined]


async def test_a_change_touches_only_the_device_that_changed(watch: DirectoryWatch) -> None:
    await watch.take(told(entry("d1"), entry("d2"), reset=True))
    heard: list[Device] = []
    watch.on_change.append(heard.append)
    await watch.take(told(entry("d1", enrolled=False), revision=2))
    await watch.take(told(revision=2))
    assert [device.device_id for device in heard] == ["d1"]
    assert watch.directory.devices["d2"].enrolled
    with pytest.raises(DeniedError):
        await watch.admitted("d1", "a1")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (devices_pb2.ENROLMENT_STATE_RETIRED, "DEVICE_NOT_ENROLLED"),
        (devices_pb2.ENROLMENT_STATE_BANNED, "DEVICE_BANNED"),
    ],
)
async def test_a_device_hears_how_it_lost_its_credentials(
    watch: DirectoryWatch, state: "devices_pb2.EnrolmentState.ValueType", reason: str
) -> None:
    await watch.take(told(lifecycle_pb2.DirectoryDevice(device_id="d1", name="D1", enrolment_state=state), reset=True))
    with pytest.raises(DeniedError) as refused:
        await watch.admitted("d1", "a1")
    assert refused.value.reason == reason


async def test_a_device_that_has_only_just_enrolled_is_waited_for(watch: DirectoryWatch) -> None:
    asked = asyncio.create_task(watch.admitted("d1", "a1"))
    await asyncio.sleep(0)
    await watch.take(told(entry("d1"), reset=True))
    assert (await asked).name == "D1"


async def test_a_transfer_that_broke_off_leaves_nothing_behind(watch: DirectoryWatch) -> None:
    await watch.take(told(entry("d1"), reset=True, more=True))
    watch.begin()
    await watch.take(told(entry("d2"), reset=True))
    assert watch.directory.devices.keys() == {"d2"}


def with_serials(*serials: str, unused: str = "", tag: str = "emea") -> lifecycle_pb2.DirectoryDevice:
    shown = entry("d1", tag)
    shown.certificate_serials.extend(serials)
    shown.unused_certificate_serial = unused
    return shown


async def test_a_device_is_let_in_with_a_certificate_that_counts_and_with_no_other(watch: DirectoryWatch) -> None:
    await watch.take(told(with_serials("a1", "b2", unused="b2"), reset=True))
    assert (await watch.admitted("d1", "a1")).unused_certificate_serial == "b2"
    assert (await watch.admitted("d1", "b2")).counts("b2")
    watch._patience = 0.01
    with pytest.raises(DeniedError) as refused:
        await watch.admitted("d1", "c3")
    assert refused.value.reason == "CERTIFICATE_REPLACED"


async def test_a_certificate_that_was_only_just_signed_is_waited_for(watch: DirectoryWatch) -> None:
    await watch.take(told(with_serials("a1"), reset=True))
    asked = asyncio.create_task(watch.admitted("d1", "b2"))
    await asyncio.sleep(0)
    await watch.take(told(with_serials("a1", "b2"), revision=2))
    assert (await asked).name == "D1"


async def test_a_certificate_that_is_not_known_while_the_device_service_is_away_may_come_back(
    watch: DirectoryWatch,
) -> None:
    watch._patience = 0.01
    await watch.take(told(with_serials("a1"), reset=True))
    with pytest.raises(UnavailableError):
        await watch.run()
    with pytest.raises(UnavailableError) as refused:
        await watch.admitted("d1", "b2")
    assert refused.value.reason == "DIRECTORY_BEHIND"
    assert (await watch.admitted("d1", "a1")).name == "D1"


async def test_a_deleted_device_is_refused_at_once_and_who_may_see_its_events_stays_remembered(
    watch: DirectoryWatch,
) -> None:
    heard: list[Device] = []
    await watch.take(told(with_serials("a1"), reset=True))
    watch.on_change.append(heard.append)
    await watch.take(told(lifecycle_pb2.DirectoryDevice(device_id="d1", deleted=True), revision=2))
    assert heard == [Device("d1", "D1", enrolled=False, deleted=True)]
    with pytest.raises(DeniedError) as refused:
        async with asyncio.timeout(1):
            await watch.admitted("d1", "a1")
    assert refused.value.reason == "DEVICE_UNKNOWN"
    assert watch._records.devices["d1"].scope_tags == {"emea"}  # type: ignore[attr-defined]


async def test_a_renewal_writes_no_scope_tags(watch: DirectoryWatch) -> None:
    await watch.take(told(with_serials("a1"), reset=True))
    watch._records.devices.clear()  # type: ignore[attr-defined]
    await watch.take(told(with_serials("b2"), revision=2))
    assert not watch._records.devices  # type: ignore[attr-defined]
    await watch.take(told(with_serials("b2", tag="apac"), revision=3))
    assert watch._records.devices["d1"].scope_tags == {"apac"}  # type: ignore[attr-defined]


def lab(*members: str, deleted: bool = False) -> lifecycle_pb2.DirectoryGroup:
    kind = groups_pb2.GROUP_TYPE_DEVICE
    return lifecycle_pb2.DirectoryGroup(name="lab", type=kind, members=members, scope_tags=["emea"], deleted=deleted)


async def test_groups_follow_the_directory(watch: DirectoryWatch) -> None:
    found = lifecycle_pb2.DirectoryGroup(name="found", type=groups_pb2.GROUP_TYPE_DEVICE, filter='tag = "finance"')
    outer = lifecycle_pb2.DirectoryGroup(name="outer", type=groups_pb2.GROUP_TYPE_DEVICE, groups=["lab", "found"])
    people = lifecycle_pb2.DirectoryGroup(name="people", type=groups_pb2.GROUP_TYPE_USER, members=["alice"])
    tagged = lifecycle_pb2.DirectoryDevice(
        device_id="d2", name="D2", enrolment_state=devices_pb2.ENROLMENT_STATE_ENROLLED, tags=["finance"]
    )
    members = DirectoryMemberships(watch.directory)
    first = told(entry("d1"), reset=True, more=True)
    first.groups.extend([lab("D1"), found])
    await watch.take(first)
    assert not watch.directory.groups
    second = told(tagged)
    second.groups.extend([outer, people])
    await watch.take(second)
    assert members.devices(("outer",)) == {"d1", "d2"}
    assert members.users(("people",)) == {"alice"}
    assert members.unknown(GroupType.DEVICE, ("lab",), frozenset({"apac"})) == ["lab"]
    assert members.unknown(GroupType.DEVICE, ("lab",), frozenset({"emea"})) == []
    change = told(revision=2)
    change.groups.append(lab("D2"))
    await watch.take(change)
    assert members.devices(("lab",)) == {"d2"}
    change.groups[0].CopyFrom(lab(deleted=True))
    await watch.take(change)
    assert members.unknown(GroupType.DEVICE, ("lab",), None) == ["lab"]


async def test_groups_that_are_gone_after_a_full_transfer_are_forgotten(watch: DirectoryWatch) -> None:
    first = told(entry("d1"), reset=True)
    first.groups.append(lab("D1"))
    await watch.take(first)
    await watch.take(told(entry("d1"), reset=True))
    assert not watch.directory.groups


async def test_the_reporting_scope_is_told_and_until_when_wider_ones_stood(watch: DirectoryWatch) -> None:
    device = entry("d1")
    device.reporting_scope = lifecycle_pb2.REPORTED_SCOPE_MANAGED
    until = device.reported_until.add(scope=lifecycle_pb2.REPORTED_SCOPE_ALL)
    until.until.FromMicroseconds(7)
    await watch.take(told(device, entry("d2"), reset=True))
    assert watch.directory.devices["d1"].reported == Reported(ReportingScope.MANAGED, ((ReportingScope.ALL, 7),))
    assert watch.directory.devices["d2"].reported == Reported()
