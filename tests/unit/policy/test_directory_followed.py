"""Dynamic groups in groups as the policy service sees them, while devices check in and groups change."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from elevation.memberships import MembershipIndex
from epm.device.v1 import agent_pb2, groups_pb2
from services.policy.clients.directory import DirectoryWatch
from tests.builders.device_service import DeviceService, device_service
from tests.builders.doors import service_identity

LINUX, WINDOWS = agent_pb2.DeviceFacts(os="linux", os_version="6.1"), agent_pb2.DeviceFacts(os="windows")
SOON = 5.0
"""Seconds within which a change is heard; it takes a fraction of one."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[DeviceService]:
    async with device_service(tmp_path) as made:
        yield made


@pytest.fixture
async def watch(service: DeviceService) -> AsyncIterator[DirectoryWatch]:
    """Follow the directory of the device service for real."""
    async with service.doors.mesh(service_identity("policy")) as channel:
        watch = DirectoryWatch(channel)
        following = asyncio.create_task(watch.run())
        await watch.at_least(0)
        yield watch
        following.cancel()


async def apply(service: DeviceService, *groups: groups_pb2.Group) -> None:
    await service.groups.ApplyGroups(groups_pb2.ApplyGroupsRequest(groups=groups), metadata=service.owner)


def group(name: str, **values: object) -> groups_pb2.Group:
    return groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_DEVICE, **values)  # type: ignore[arg-type]


async def until(watch: DirectoryWatch, expected: set[str]) -> None:
    """Wait until the device is in these groups, woken by every change that is heard."""
    heard = asyncio.Event()

    def wake(_: object) -> None:
        heard.set()

    watch.on_change.append(wake)
    async with asyncio.timeout(SOON):
        while groups_of(watch) != expected:
            heard.clear()
            await heard.wait()
    watch.on_change.remove(wake)


def groups_of(watch: DirectoryWatch) -> set[str]:
    directory = watch.directory()
    index = MembershipIndex(directory.groups.values())
    found = [index.of_device(device.name, device.attributes) for device in directory.devices.values()]
    return set[str]().union(*found)


async def test_a_device_is_in_nested_dynamic_groups_within_seconds(
    service: DeviceService, watch: DirectoryWatch
) -> None:
    device = await service.enrol("ws-1", facts=LINUX)
    await apply(service, group("linux", filter="os = linux"), group("fleet", groups=["linux"]))
    await until(watch, {"linux", "fleet"})
    await service.check_in(device.identity, facts=WINDOWS)
    await until(watch, set())
    await apply(service, group("linux", filter='osVersion = "" OR os = windows'))
    await until(watch, {"linux", "fleet"})
    await apply(service, group("fleet", members=["ws-1"]))
    await service.check_in(device.identity, facts=LINUX)
    await until(watch, {"fleet"})
