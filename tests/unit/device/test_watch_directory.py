"""The directory as the other services watch it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import grpc.aio
import pytest

from epm.device.v1 import agent_pb2, devices_pb2, groups_pb2, lifecycle_pb2
from epm.elevation.v1 import document_pb2
from services._chassis.changes import ChangeFeed
from services.device.streams import DirectoryStreams
from tests.builders.device_service import FACTS, DeviceService, device_service
from tests.builders.doors import device_identity
from tests.builders.refusals import read_refusal, refusal_of
from tests.fakes.device import MemoryStore

Message = lifecycle_pb2.WatchDirectoryResponse


class Watch:
    """A reader's end of the stream."""

    def __init__(self, call: "grpc.aio.UnaryStreamCall[lifecycle_pb2.WatchDirectoryRequest, Message]") -> None:
        self.call = call

    async def read(self) -> Message:
        message = await self.call.read()
        assert isinstance(message, Message), "the stream ended"
        return message

    async def transfer(self) -> list[Message]:
        """Read messages up to the one that makes the directory whole."""
        messages = [await self.read()]
        while messages[-1].more:
            messages.append(await self.read())
        return messages

    async def change(self) -> Message:
        """Read one transfer of one message that is no heartbeat."""
        while True:
            (message,) = await self.transfer()
            if message.devices or message.groups:
                return message


@asynccontextmanager
async def watching(service: DeviceService, revision: int = 0, *, by: str = "policy") -> AsyncIterator[Watch]:
    async with service.as_service(by) as directory:
        call = directory.WatchDirectory(lifecycle_pb2.WatchDirectoryRequest(revision=revision))
        yield Watch(call)
        call.cancel()


async def apply_groups(service: DeviceService, *groups: groups_pb2.Group) -> int:
    request = groups_pb2.ApplyGroupsRequest(groups=groups)
    return (await service.groups.ApplyGroups(request, metadata=service.owner)).directory_revision


async def no_revision() -> int:
    return 0


def device_group(name: str, *members: str) -> groups_pb2.Group:
    return groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_DEVICE, members=members)


async def test_a_new_reader_gets_everything(service: DeviceService) -> None:
    token = await service.token(users=["alice"], tags=["finance"], scope_tags=["emea"], allow_reported_users=True)
    facts = agent_pb2.DeviceFacts(os="linux", os_version="6.1", architecture="x86_64", users=["bob"])
    enrolled = await service.enrol("ws-17", token=token, facts=facts)
    device = await service.device("ws-17")
    device.ownership = devices_pb2.OWNERSHIP_CORPORATE
    await service.devices.UpdateDevice(devices_pb2.UpdateDeviceRequest(device=device), metadata=service.owner)
    finance = groups_pb2.Group(name="finance", type=groups_pb2.GROUP_TYPE_DEVICE, filter='tag = "finance"')
    people = groups_pb2.Group(name="people", type=groups_pb2.GROUP_TYPE_USER, members=["alice"])
    revision = await apply_groups(service, finance, people)
    async with watching(service) as watch:
        (message,) = await watch.transfer()
    assert message == Message(
        reset=True,
        revision=revision,
        devices=[
            lifecycle_pb2.DirectoryDevice(
                device_id=enrolled.device_id,
                name="ws-17",
                enrolment_state=devices_pb2.ENROLMENT_STATE_ENROLLED,
                os="linux",
                os_version="6.1",
                architecture="x86_64",
                ownership=devices_pb2.OWNERSHIP_CORPORATE,
                tags=["finance"],
                users=["alice", "bob"],
                scope_tags=["emea"],
                certificate_serials=[enrolled.serial],
                enrolled=device.enrolled,
            )
        ],
        groups=[
            lifecycle_pb2.DirectoryGroup(
                name="finance",
                type=groups_pb2.GROUP_TYPE_DEVICE,
                filter='tag = "finance"',
                scope_tags=["default"],
            ),
            lifecycle_pb2.DirectoryGroup(
                name="people", type=groups_pb2.GROUP_TYPE_USER, members=["alice"], scope_tags=["default"]
            ),
        ],
    )


async def test_every_change_follows_at_once_and_alone(service: DeviceService) -> None:
    token = await service.token()
    first = await service.enrol("ws-1", token=token)
    async with watching(service) as watch:
        await watch.transfer()
        await service.enrol("ws-2", token=token)
        added = await watch.change()
        assert ([device.name for device in added.devices], added.reset) == (["ws-2"], False)
        await service.retire(first.device_id)
        (retired,) = (await watch.change()).devices
        assert (retired.name, retired.enrolment_state) == ("ws-1", devices_pb2.ENROLMENT_STATE_RETIRED)
        revision = await apply_groups(service, device_group("laptops"))
        changed = await watch.change()
        assert ([group.name for group in changed.groups], changed.revision) == (["laptops"], revision)


async def test_a_change_by_another_replica_follows_too(service: DeviceService, tmp_path: Path) -> None:
    async with device_service(tmp_path) as other, watching(service) as watch:
        await watch.transfer()
        await other.enrol("ws-1")
        async with asyncio.timeout(4):  # less than a heartbeat: it is the change itself that was heard
            assert [device.name for device in (await watch.change()).devices] == ["ws-1"]


async def test_a_deleted_group_is_told_as_deleted(service: DeviceService) -> None:
    await apply_groups(service, device_group("laptops", "ws-1"))
    async with watching(service) as watch:
        await watch.transfer()
        await service.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name="laptops"), metadata=service.owner)
        (group,) = (await watch.change()).groups
    assert (group.name, group.deleted, list(group.members)) == ("laptops", True, [])


async def test_a_reader_that_comes_back_gets_only_what_is_newer(service: DeviceService) -> None:
    token = await service.token()
    await service.enrol("ws-1", token=token)
    async with watching(service) as watch:
        known = (await watch.transfer())[-1].revision
    await service.enrol("ws-2", token=token)
    async with watching(service, known) as watch:
        (message,) = await watch.transfer()
    assert ([device.name for device in message.devices], message.reset) == (["ws-2"], False)
    async with watching(service, message.revision) as watch:
        assert await watch.read() == Message(revision=message.revision)


async def test_a_reader_with_a_revision_that_never_was_starts_again(service: DeviceService) -> None:
    await service.enrol("ws-1")
    async with watching(service, 2**64 - 1) as watch:
        (message,) = await watch.transfer()
    assert ([device.name for device in message.devices], message.reset) == (["ws-1"], True)


async def test_a_large_directory_comes_in_pieces_that_count_only_together(service: DeviceService) -> None:
    groups = [
        device_group(f"g{number:02}", *(f"{number:02}-{'x' * 50}-{i}" for i in range(3000))) for number in range(9)
    ]
    await apply_groups(service, *groups[:5])
    revision = await apply_groups(service, *groups[5:])
    async with watching(service) as watch:
        messages = await watch.transfer()
    assert len(messages) > 1
    assert max(message.ByteSize() for message in messages) < 1024 * 1024
    assert [message.reset for message in messages] == [True] + [False] * (len(messages) - 1)
    assert [message.more for message in messages] == [True] * (len(messages) - 1) + [False]
    assert [message.revision for message in messages] == [0] * (len(messages) - 1) + [revision]
    names = [group.name for message in messages for group in message.groups]
    assert sorted(names) == [group.name for group in groups]


async def test_pieces_of_a_change_leave_the_reader_at_its_old_revision(service: DeviceService) -> None:
    known = await apply_groups(service, device_group("a"))
    await apply_groups(service, *(device_group(f"g{number}") for number in range(1000)))
    revision = await apply_groups(service, device_group("b"))
    async with watching(service, known) as watch:
        messages = await watch.transfer()
    assert [(message.revision, message.reset, message.more) for message in messages] == [
        (known, False, True),
        (revision, False, False),
    ]
    assert sum(len(message.groups) for message in messages) == 1001


async def test_a_reader_that_does_not_read_holds_nobody_up(service: DeviceService) -> None:
    groups = [device_group(f"g{number}", *(f"{'x' * 60}-{i}" for i in range(4000))) for number in range(10)]
    for group in groups:  # some 2.6 MB: more than the transport takes in for a reader that does not read
        await apply_groups(service, group)
    async with watching(service) as slow, watching(service, by="reporting") as quick:
        await slow.read()
        await quick.transfer()
        await service.enrol("ws-1")
        assert [device.name for device in (await quick.change()).devices] == ["ws-1"]
        rest = await slow.transfer()
        rest += [await slow.change()]
    assert [device.name for message in rest for device in message.devices] == ["ws-1"]


async def test_a_heartbeat_comes_while_nothing_changes() -> None:
    store = MemoryStore()
    changes = ChangeFeed(no_revision, None, "")
    messages = DirectoryStreams(store, changes, heartbeat=timedelta(milliseconds=1)).follow(0)
    assert await anext(messages) == Message(reset=True)
    store.kept = replace(store.kept, revision=7)
    while (told := await anext(messages)).revision != 7:
        pass
    assert (told, await anext(messages)) == (Message(revision=7), Message(revision=7))


async def test_the_directory_is_silent_about_what_others_do_not_see(service: DeviceService) -> None:
    device = await service.enrol("ws-1")
    on = lifecycle_pb2.DESIRED_STATE_ON
    async with watching(service) as watch:
        await watch.transfer()
        facts = agent_pb2.DeviceFacts()
        facts.CopyFrom(FACTS)
        facts.agent_version = "0.2.0"
        await service.check_in(device.identity, facts=facts)
        for revision in (1, 2):
            await service.report(
                lifecycle_pb2.SettingsState(
                    device_id=device.device_id, desired=on, acknowledged=True, revision=revision
                )
            )
        await apply_groups(service, device_group("a"))
        while not (message := await watch.read()).groups:
            assert not message.devices
    assert not message.devices
    seen = await service.device("ws-1")
    assert (seen.agent_version, seen.epm_state) == (
        "0.2.0",
        document_pb2.EPM_STATE_ACTIVE,
    )


async def test_the_time_of_removal_is_told(service: DeviceService) -> None:
    device = await service.enrol("ws-1")
    on, none = lifecycle_pb2.DESIRED_STATE_ON, lifecycle_pb2.DESIRED_STATE_NONE
    await service.report(lifecycle_pb2.SettingsState(device_id=device.device_id, desired=on, revision=1))
    async with watching(service) as watch:
        await watch.transfer()
        await service.report(lifecycle_pb2.SettingsState(device_id=device.device_id, desired=none, revision=2))
        (told,) = (await watch.change()).devices
    assert told.deprovision_time.ToDatetime(tzinfo=UTC) == service.clock.now() + timedelta(days=7)


async def test_a_process_that_ends_ends_its_streams(tmp_path: Path) -> None:
    async with device_service(tmp_path, drain_grace=timedelta(seconds=30)) as service, watching(service) as watch:
        await watch.transfer()
        stopping = asyncio.create_task(service.doors.host.stop())
        while await watch.call.read() is not grpc.aio.EOF:
            pass
        assert await watch.call.code() is grpc.StatusCode.OK
        await stopping


@pytest.mark.parametrize("name", ["rbac", "stranger"])
async def test_a_service_that_is_not_named_is_refused(service: DeviceService, name: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async with watching(service, by=name) as watch:
            await watch.read()
    assert read_refusal(refused.value).code == "PERMISSION_DENIED"


async def test_a_device_neither_watches_nor_reports(service: DeviceService) -> None:
    device = await service.enrol()
    for identity in (device.identity, device_identity("made-up")):
        async with service.doors.mesh(identity) as channel:
            stub = service.directory_stub(channel)
            report = lifecycle_pb2.ReportSettingsStatesRequest()
            assert (await refusal_of(stub.ReportSettingsStates(report))).code == "PERMISSION_DENIED"
            call = stub.WatchDirectory(lifecycle_pb2.WatchDirectoryRequest())
            assert (await refusal_of(call.read())).code == "PERMISSION_DENIED"


async def test_the_reporting_scope_is_told_and_until_when_wider_ones_stood(service: DeviceService) -> None:
    device = await service.enrol("ws-1")
    wide, narrow = lifecycle_pb2.REPORTED_SCOPE_ALL, lifecycle_pb2.REPORTED_SCOPE_MANAGED
    state = lifecycle_pb2.SettingsState(
        device_id=device.device_id, desired=lifecycle_pb2.DESIRED_STATE_ON, revision=2, reporting_scope=wide
    )
    async with watching(service) as watch:
        (unknown,) = (await watch.transfer())[-1].devices
        await service.report(state)
        (first,) = (await watch.change()).devices
        state.revision, state.reporting_scope = 3, narrow
        await service.report(state)
        (told,) = (await watch.change()).devices
        state.revision, state.reporting_scope = 1, lifecycle_pb2.REPORTED_SCOPE_NOTHING
        await service.report(state)  # rests on older data
        state.revision, state.reporting_scope = 9, lifecycle_pb2.REPORTED_SCOPE_UNSPECIFIED
        await service.report(state)  # comes from an older service
        await apply_groups(service, device_group("a"))
        while not (message := await watch.read()).groups:
            assert not message.devices
    assert unknown.reporting_scope == lifecycle_pb2.REPORTED_SCOPE_UNSPECIFIED
    assert (first.reporting_scope, told.reporting_scope) == (wide, narrow)
    (until,) = told.reported_until
    assert (until.scope, until.until.ToDatetime(tzinfo=UTC)) == (wide, service.clock.now())
