"""Whom policies reach, as the policy service and administrators of two scopes meet it over TLS."""

from collections.abc import Awaitable
from pathlib import Path

import pytest

from epm.device.v1 import devices_pb2, groups_pb2, lifecycle_pb2
from tests.builders.device_service import DeviceService, device_service
from tests.builders.doors import bearer
from tests.builders.refusals import Refusal, refusal_of

Metadata = tuple[tuple[str, str], ...]
KEEPING = (
    "devices.read",
    "devices.update",
    "devices.enroll",
    "groups.read",
    "groups.create",
    "groups.update",
    "groups.delete",
)
DENIED = ("PERMISSION_DENIED", "GRANT_EXCEEDS_OWN_RIGHTS")


def used(name: str, *filters: str) -> lifecycle_pb2.UsedGroup:
    return lifecycle_pb2.UsedGroup(name=name, filters=filters)


def keeper(service: DeviceService, place: str) -> Metadata:
    """Return what the calls of somebody carry who keeps all devices and groups, and assigns policies in one place."""
    rights = (*KEEPING, "policy_authoring.assign")
    return bearer(service.access.grant(f"user:{place}", rights, scope_groups=[place]))


def apply(
    service: DeviceService, who: Metadata, name: str, *members: str, validate_only: bool = False
) -> Awaitable[groups_pb2.ApplyGroupsResponse]:
    group = groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_DEVICE, members=members)
    request = groups_pb2.ApplyGroupsRequest(groups=[group], validate_only=validate_only)
    return service.groups.ApplyGroups(request, metadata=who)


def delete(service: DeviceService, who: Metadata, name: str) -> Awaitable[groups_pb2.DeleteGroupResponse]:
    return service.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name=name), metadata=who)


async def tag(service: DeviceService, who: Metadata, *tags: str) -> devices_pb2.UpdateDeviceResponse:
    device = await service.device()
    device.tags[:] = tags
    return await service.devices.UpdateDevice(devices_pb2.UpdateDeviceRequest(device=device), metadata=who)


def issue(service: DeviceService, who: Metadata, group: str) -> Awaitable[devices_pb2.CreateEnrolmentTokenResponse]:
    token = devices_pb2.EnrolmentToken(quota=1, groups=[group])
    return service.devices.CreateEnrolmentToken(
        devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=token), metadata=who
    )


async def denied(call: Awaitable[object]) -> Refusal:
    refusal = await refusal_of(call)
    assert (refusal.code, refusal.reason) == DENIED
    return refusal


async def test_each_of_two_administrators_changes_whom_policies_reach_in_their_own_place(
    service: DeviceService,
) -> None:
    await service.enrol("ws-17")
    places = {place: keeper(service, place) for place in ("kiosks", "labs")}
    for place in (*places, "office"):  # nobody's scope has the office
        await apply(service, service.owner, place, "k-1")
    await service.report_used(*(used(place, f'tag = "{place}"') for place in (*places, "office")))
    for own, who in places.items():
        for other in {*places, "office"} - {own}:
            await denied(apply(service, who, other, "k-1", "ws-17"))
            await denied(delete(service, who, other))
            await denied(tag(service, who, other))
            await denied(issue(service, who, other))
        await apply(service, who, own, "k-1", "ws-17")
        await tag(service, who, own)
        await tag(service, who)
        await issue(service, who, own)
        assert (await refusal_of(delete(service, who, own))).reason == "GROUP_IN_USE"
        await apply(service, who, own, "k-1")
    await apply(service, service.owner, "office", "ws-17")


async def test_a_call_that_only_validates_says_the_same_as_the_real_one(service: DeviceService) -> None:
    await service.report_used(used("office"), used("kiosks"))
    who = keeper(service, "kiosks")
    refusals = [
        await denied(apply(service, who, "office", "ws-17", validate_only=validate_only))
        for validate_only in (True, False)
    ]
    assert refusals[0] == refusals[1]
    assert 'policies are assigned to "office"' in refusals[0].message
    expected, done = [
        await apply(service, who, "kiosks", "ws-17", validate_only=validate_only) for validate_only in (True, False)
    ]
    assert expected.groups == done.groups


async def test_a_device_administrator_goes_on_with_what_policies_do_not_use(service: DeviceService) -> None:
    who = service.may(*KEEPING)
    await service.report_used(used("kiosks", 'tag = "kiosk"'))
    await service.enrol("ws-17")
    await apply(service, who, "laptops", "ws-17")
    await tag(service, who, "laptop")
    await issue(service, who, "laptops")
    await delete(service, who, "laptops")


async def test_what_was_told_outlives_the_process(tmp_path: Path) -> None:
    async with device_service(tmp_path) as before:
        await before.report_used(used("kiosks"), revision=5)
    async with device_service(tmp_path) as after:
        await denied(apply(after, after.may(*KEEPING), "kiosks", "ws-17"))
        await after.report_used(revision=4)
        await denied(apply(after, after.may(*KEEPING), "kiosks", "ws-17"))
        await after.report_used(revision=6)
        await apply(after, after.may(*KEEPING), "kiosks", "ws-17")


@pytest.mark.parametrize("by", ["reporting", "rbac"])
async def test_the_policy_service_alone_tells_the_groups(service: DeviceService, by: str) -> None:
    refusal = await refusal_of(service.report_used(used("kiosks"), by=by))
    assert refusal.code == "PERMISSION_DENIED"
    await apply(service, service.may(*KEEPING), "kiosks", "ws-17")


async def test_a_report_that_means_nothing_is_refused_with_all_its_problems(service: DeviceService) -> None:
    refusal = await refusal_of(service.report_used(used(""), used("a"), used("a"), revision=2**63))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"groups[0].name", "groups[2].name", "revision"})


async def test_a_filter_that_was_not_told_may_ask_for_anything(service: DeviceService) -> None:
    await service.enrol("ws-17")
    await service.report_used(lifecycle_pb2.UsedGroup(name="all-devices", any_filter=True))
    await denied(tag(service, service.may(*KEEPING), "x"))
