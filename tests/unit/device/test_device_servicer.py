"""What administrators see and say of devices and enrolment tokens."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from epm.device.v1 import agent_pb2, devices_pb2, groups_pb2
from epm.elevation.v1 import document_pb2
from tests.builders.device_service import DeviceService
from tests.builders.refusals import refusal_of

Metadata = tuple[tuple[str, str], ...]
Call = Callable[[DeviceService, Metadata], Awaitable[object]]
CALLS: dict[str, tuple[str, Call]] = {
    "CreateEnrolmentToken": (
        "devices.enroll",
        lambda service, who: service.devices.CreateEnrolmentToken(
            devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=devices_pb2.EnrolmentToken(quota=1)), metadata=who
        ),
    ),
    "ListEnrolmentTokens": (
        "devices.enroll",
        lambda service, who: service.devices.ListEnrolmentTokens(
            devices_pb2.ListEnrolmentTokensRequest(), metadata=who
        ),
    ),
    "RevokeEnrolmentToken": (
        "devices.enroll",
        lambda service, who: service.devices.RevokeEnrolmentToken(
            devices_pb2.RevokeEnrolmentTokenRequest(token_id="t"), metadata=who
        ),
    ),
    "GetDevice": (
        "devices.read",
        lambda service, who: service.devices.GetDevice(devices_pb2.GetDeviceRequest(device="d"), metadata=who),
    ),
    "ListDevices": (
        "devices.read",
        lambda service, who: service.devices.ListDevices(devices_pb2.ListDevicesRequest(), metadata=who),
    ),
    "ListUsers": (
        "devices.read",
        lambda service, who: service.devices.ListUsers(devices_pb2.ListUsersRequest(), metadata=who),
    ),
    "UpdateDevice": (
        "devices.update",
        lambda service, who: service.devices.UpdateDevice(devices_pb2.UpdateDeviceRequest(), metadata=who),
    ),
    "RetireDevice": (
        "devices.retire",
        lambda service, who: service.devices.RetireDevice(devices_pb2.RetireDeviceRequest(), metadata=who),
    ),
}
RIGHTS = {right for right, _ in CALLS.values()}


def listed(shown: devices_pb2.Device) -> devices_pb2.Device:
    """Return the device without what GetDevice alone tells."""
    device = devices_pb2.Device()
    device.CopyFrom(shown)
    del device.groups[:], device.attributes[:]
    return device


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_without_a_token_is_refused(service: DeviceService, name: str) -> None:
    refusal = await refusal_of(CALLS[name][1](service, ()))
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "TOKEN_MISSING")


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_needs_its_own_right(service: DeviceService, name: str) -> None:
    right, call = CALLS[name]
    refusal = await refusal_of(call(service, service.may(*(RIGHTS - {right}))))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")


async def test_a_device_shows_what_its_agent_reports_and_what_administrators_say(service: DeviceService) -> None:
    await service.enrol("ws-17", token=await service.token(users=["alice"], tags=["finance"]))
    device = await service.device()
    assert (device.name, device.os, device.os_version, device.architecture, device.agent_version) == (
        "ws-17",
        "linux",
        "6.1",
        "x86_64",
        "0.1.0",
    )
    assert device.enrolment_state == devices_pb2.ENROLMENT_STATE_ENROLLED
    assert device.epm_state == document_pb2.EPM_STATE_NOT_PROVISIONED
    assert (list(device.users), list(device.tags), list(device.scope_tags)) == (["alice"], ["finance"], ["default"])
    assert device.enrolled.ToDatetime(tzinfo=UTC) == service.clock.now()
    assert not device.HasField("last_check_in")
    assert not device.HasField("deprovision_time")


async def test_a_device_is_found_by_its_name_and_by_its_id(service: DeviceService) -> None:
    enrolled = await service.enrol("ws-17")
    assert await service.device("ws-17") == await service.device(enrolled.device_id)


async def test_a_device_is_updated_against_its_etag(service: DeviceService) -> None:
    await service.enrol()
    device = await service.device()
    device.tags[:] = ["lab", "finance"]
    device.ownership = devices_pb2.OWNERSHIP_CORPORATE
    request = devices_pb2.UpdateDeviceRequest(device=device)
    updated = (await service.devices.UpdateDevice(request, metadata=service.owner)).device
    assert (list(updated.tags), updated.ownership) == (["finance", "lab"], devices_pb2.OWNERSHIP_CORPORATE)
    assert updated == listed(await service.device())
    request.device.tags[:] = ["other"]
    refusal = await refusal_of(service.devices.UpdateDevice(request, metadata=service.owner))
    assert (refusal.code, refusal.reason) == ("ABORTED", "STALE_ETAG")
    assert list((await service.device()).tags) == ["finance", "lab"]


async def test_an_update_leaves_alone_what_only_the_service_says(service: DeviceService) -> None:
    await service.enrol()
    before = await service.device()
    stated = devices_pb2.Device(
        device_id=before.device_id, etag=before.etag, scope_tags=["default"], name="other", os="windows"
    )
    request = devices_pb2.UpdateDeviceRequest(device=stated)
    assert (await service.devices.UpdateDevice(request, metadata=service.owner)).device == listed(before)


async def test_all_problems_of_an_update_are_told_at_once(service: DeviceService) -> None:
    enrolled = await service.enrol()
    bad = devices_pb2.Device(device_id=enrolled.device_id, users=["alice", "alice"], tags=[""])
    bad.ownership = 99  # type: ignore[assignment]
    refusal = await refusal_of(
        service.devices.UpdateDevice(devices_pb2.UpdateDeviceRequest(device=bad), metadata=service.owner)
    )
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields == {
        "device.users",
        "device.tags[0]",
        "device.ownership",
        "device.scope_tags",
        "device.etag",
    }


async def test_an_ownership_that_nobody_knows_is_refused(service: DeviceService) -> None:
    await service.enrol()
    device = await service.device()
    device.ownership = 99  # type: ignore[assignment]
    refusal = await refusal_of(
        service.devices.UpdateDevice(devices_pb2.UpdateDeviceRequest(device=device), metadata=service.owner)
    )
    assert refusal.fields == {"device.ownership"}


async def test_retiring_again_changes_nothing(service: DeviceService) -> None:
    enrolled = await service.enrol()
    await service.retire(enrolled.device_id)
    retired = await service.device(enrolled.device_id)
    await service.retire(enrolled.device_id)
    assert retired.enrolment_state == devices_pb2.ENROLMENT_STATE_RETIRED
    assert await service.device(enrolled.device_id) == retired


async def test_who_retired_a_device_and_why_is_recorded(service: DeviceService, tmp_path: Path) -> None:
    enrolled = await service.enrol()
    request = devices_pb2.RetireDeviceRequest(device_id=enrolled.device_id, reason="stolen")
    await service.devices.RetireDevice(request, metadata=service.owner)
    with closing(sqlite3.connect(tmp_path / "device.db")) as database:
        rows = database.execute(
            "SELECT actor, target, reason FROM device_audit WHERE action = ?", ("device_retired",)
        ).fetchall()
    assert rows == [("user:owner", enrolled.device_id, "stolen")]


async def test_what_may_not_be_seen_looks_like_what_is_not_there(service: DeviceService) -> None:
    enrolled = await service.enrol("ws-17", token=await service.token(scope_tags=["apac"]))
    emea = service.may("devices.read", "devices.update", "devices.retire", tags=("emea",))
    for hidden, absent in ((enrolled.device_id, "nobody"), ("ws-17", "ws-18")):
        refusals = [
            await refusal_of(service.devices.GetDevice(devices_pb2.GetDeviceRequest(device=name), metadata=emea))
            for name in (hidden, absent)
        ]
        assert refusals[0] == refusals[1]
        assert refusals[0].code == "NOT_FOUND"
    for name in (enrolled.device_id, "nobody"):
        change = devices_pb2.UpdateDeviceRequest(device=devices_pb2.Device(device_id=name))
        retirement = devices_pb2.RetireDeviceRequest(device_id=name)
        assert (await refusal_of(service.devices.UpdateDevice(change, metadata=emea))).code == "NOT_FOUND"
        assert (await refusal_of(service.devices.RetireDevice(retirement, metadata=emea))).code == "NOT_FOUND"
    assert (await service.device()).enrolment_state == devices_pb2.ENROLMENT_STATE_ENROLLED


async def test_devices_are_listed_by_name_in_pages(service: DeviceService) -> None:
    token = await service.token()
    for name in ("ws-3", "ws-1", "ws-2"):
        await service.enrol(name, token=token)
    names, page_token, pages = list[str](), "", 0
    while page_token or not pages:
        request = devices_pb2.ListDevicesRequest(page_size=2, page_token=page_token)
        page = await service.devices.ListDevices(request, metadata=service.owner)
        names += [device.name for device in page.devices]
        page_token, pages = page.next_page_token, pages + 1
    assert (names, pages) == (["ws-1", "ws-2", "ws-3"], 2)


async def test_a_list_shows_only_what_the_caller_may_see(service: DeviceService) -> None:
    await service.enrol("ws-1", token=await service.token(scope_tags=["apac"]))
    await service.enrol("ws-2", token=await service.token(scope_tags=["emea", "apac"]))
    emea = service.may("devices.read", tags=("emea",))
    page = await service.devices.ListDevices(devices_pb2.ListDevicesRequest(), metadata=emea)
    assert [device.name for device in page.devices] == ["ws-2"]


async def test_a_page_token_of_another_list_is_refused(service: DeviceService) -> None:
    for _ in range(2):
        await service.token()
    first = await service.devices.ListEnrolmentTokens(
        devices_pb2.ListEnrolmentTokensRequest(page_size=1), metadata=service.owner
    )
    request = devices_pb2.ListDevicesRequest(page_token=first.next_page_token)
    refusal = await refusal_of(service.devices.ListDevices(request, metadata=service.owner))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"page_token"})


async def test_a_token_is_shown_once_and_counts_its_devices(service: DeviceService) -> None:
    group = groups_pb2.Group(name="laptops", type=groups_pb2.GROUP_TYPE_DEVICE)
    await service.groups.ApplyGroups(groups_pb2.ApplyGroupsRequest(groups=[group]), metadata=service.owner)
    wanted = devices_pb2.EnrolmentToken(
        description="lab",
        quota=2,
        users=["alice"],
        allow_reported_users=True,
        groups=["laptops"],
        tags=["lab"],
        scope_tags=["emea"],
    )
    wanted.expires.FromDatetime(service.clock.now() + timedelta(hours=1))
    made = await service.devices.CreateEnrolmentToken(
        devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=wanted), metadata=service.owner
    )
    assert made.secret.startswith("epmenr_")
    await service.enrol(token=made.secret)
    listed = await service.devices.ListEnrolmentTokens(devices_pb2.ListEnrolmentTokensRequest(), metadata=service.owner)
    wanted.token_id, wanted.used = made.enrolment_token.token_id, 1
    wanted.created.FromDatetime(service.clock.now())
    assert list(listed.enrolment_tokens) == [wanted]
    assert made.secret not in str(listed)


async def test_a_token_without_expiry_lasts_seven_days(service: DeviceService) -> None:
    await service.token()
    listed = await service.devices.ListEnrolmentTokens(devices_pb2.ListEnrolmentTokensRequest(), metadata=service.owner)
    expires = listed.enrolment_tokens[0].expires.ToDatetime(tzinfo=UTC)
    assert expires == service.clock.now() + timedelta(days=7)


async def test_all_problems_of_a_token_are_told_at_once(service: DeviceService) -> None:
    wanted = devices_pb2.EnrolmentToken(quota=0, description="x" * 257, users=["alice", "alice"])
    wanted.expires.FromDatetime(service.clock.now())
    request = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=wanted)
    refusal = await refusal_of(service.devices.CreateEnrolmentToken(request, metadata=service.owner))
    fields = ("quota", "description", "users", "expires")
    assert refusal.fields == {f"enrolment_token.{field}" for field in fields}


async def test_an_expiry_that_no_calendar_has_is_refused_together_with_all_else(service: DeviceService) -> None:
    wanted = devices_pb2.EnrolmentToken(quota=0)
    wanted.expires.seconds = 2**62
    request = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=wanted)
    refusal = await refusal_of(service.devices.CreateEnrolmentToken(request, metadata=service.owner))
    assert (refusal.code, refusal.fields) == (
        "INVALID_ARGUMENT",
        {"enrolment_token.expires", "enrolment_token.quota"},
    )


async def test_a_token_whose_devices_join_a_group_needs_the_right_to_change_it(service: DeviceService) -> None:
    wanted = devices_pb2.EnrolmentToken(quota=1, groups=["laptops"])
    request = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=wanted)
    refusal = await refusal_of(service.devices.CreateEnrolmentToken(request, metadata=service.may("devices.enroll")))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")


async def test_revoking_a_token_leaves_its_devices(service: DeviceService) -> None:
    device = await service.enrol()
    listed = await service.devices.ListEnrolmentTokens(devices_pb2.ListEnrolmentTokensRequest(), metadata=service.owner)
    request = devices_pb2.RevokeEnrolmentTokenRequest(token_id=listed.enrolment_tokens[0].token_id)
    first = await service.devices.RevokeEnrolmentToken(request, metadata=service.owner)
    assert first.enrolment_token.revoked.ToDatetime(tzinfo=UTC) == service.clock.now()
    service.clock.advance(timedelta(minutes=1))
    assert await service.devices.RevokeEnrolmentToken(request, metadata=service.owner) == first
    await service.check_in(device.identity)
    assert (await service.device()).HasField("last_check_in")


async def test_facts_follow_the_agent(service: DeviceService) -> None:
    device = await service.enrol()
    await service.check_in(device.identity, facts=agent_pb2.DeviceFacts(os="linux", agent_version="0.2.0"))
    seen = await service.device()
    assert (seen.agent_version, seen.os_version) == ("0.2.0", "")
