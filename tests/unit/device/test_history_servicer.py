"""What becomes of a device is told: removals that its agent confirms, the reason of its state, and its history."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.device.v1 import agent_pb2, devices_pb2, lifecycle_pb2
from epm.elevation.v1 import document_pb2
from tests.builders.device_service import DeviceService, EnrolledDevice, device_service
from tests.builders.refusals import refusal_of

ON, NONE = lifecycle_pb2.DESIRED_STATE_ON, lifecycle_pb2.DESIRED_STATE_NONE
ABSENT, PRESENT = agent_pb2.COMPONENT_STATE_ABSENT, agent_pb2.COMPONENT_STATE_PRESENT
WEEK = timedelta(days=7)


async def provisioned(service: DeviceService) -> EnrolledDevice:
    device = await service.enrol()
    active = lifecycle_pb2.SettingsState(device_id=device.device_id, desired=ON, acknowledged=True, revision=1)
    await service.report(active)
    return device


async def lose(service: DeviceService, device: EnrolledDevice, *, lost: datetime | None = None) -> None:
    gone = lifecycle_pb2.SettingsState(device_id=device.device_id, desired=NONE, revision=2)
    if lost:
        gone.lost.FromDatetime(lost)
    await service.report(gone)


async def told(service: DeviceService, device: str, **page: object) -> devices_pb2.ListDeviceHistoryResponse:
    request = devices_pb2.ListDeviceHistoryRequest(device=device, **page)  # type: ignore[arg-type]
    return await service.devices.ListDeviceHistory(request, metadata=service.owner)


async def states(service: DeviceService, device: str) -> list[str]:
    entries = (await told(service, device)).entries
    return [entry.after for entry in entries if entry.kind == devices_pb2.DEVICE_HISTORY_KIND_EPM_STATE]


async def test_a_component_that_is_gone_on_time_confirms_its_removal_before_any_sweep(service: DeviceService) -> None:
    device = await provisioned(service)
    await lose(service, device)
    service.clock.advance(WEEK)
    answer = await service.check_in(device.identity, component=ABSENT)
    assert answer.epm_state == document_pb2.EPM_STATE_NOT_PROVISIONED
    assert await states(service, "ws-17") == [
        "NOT_PROVISIONED",
        "DEPROVISIONING",
        "DEPROVISION_PENDING",
        "ACTIVE",
        "PROVISIONING",
    ]


@pytest.mark.parametrize("component", [PRESENT, agent_pb2.COMPONENT_STATE_UNSPECIFIED])
async def test_a_component_that_is_there_confirms_nothing_and_its_agent_is_asked_again_soon(
    service: DeviceService, component: "agent_pb2.ComponentState.ValueType"
) -> None:
    device = await provisioned(service)
    await lose(service, device)
    service.clock.advance(WEEK + timedelta(seconds=3))
    answer = await service.check_in(device.identity, component=component)
    assert answer.epm_state == document_pb2.EPM_STATE_DEPROVISIONING
    assert answer.next_check_in.ToTimedelta() == timedelta(seconds=3)


async def test_a_component_that_is_not_there_yet_or_that_went_too_early_confirms_nothing(
    service: DeviceService,
) -> None:
    device = await provisioned(service)
    answer = await service.check_in(device.identity, component=ABSENT)
    assert answer.epm_state == document_pb2.EPM_STATE_ACTIVE
    assert answer.next_check_in.ToTimedelta() == timedelta(minutes=5)
    await lose(service, device)
    service.clock.advance(WEEK - timedelta(seconds=90))
    answer = await service.check_in(device.identity, component=ABSENT)
    assert answer.epm_state == document_pb2.EPM_STATE_DEPROVISION_PENDING
    assert answer.next_check_in.ToTimedelta() == timedelta(seconds=90)


async def test_the_interval_of_check_ins_is_a_setting(tmp_path: Path) -> None:
    async with device_service(tmp_path, check_in_interval=timedelta(seconds=7)) as service:
        device = await service.enrol()
        answer = await service.check_in(device.identity)
    assert answer.next_check_in.ToTimedelta() == timedelta(seconds=7)


async def test_how_long_a_component_stays_is_a_setting_and_counts_from_the_loss(tmp_path: Path) -> None:
    async with device_service(tmp_path, deprovision_after=timedelta(hours=2)) as service:
        device = await provisioned(service)
        lost = service.clock.now() - timedelta(hours=1)
        await lose(service, device, lost=lost)
        seen = await service.device()
        assert seen.deprovision_time.ToDatetime(tzinfo=UTC) == lost + timedelta(hours=2)


async def test_a_loss_at_a_time_that_is_none_is_refused(service: DeviceService) -> None:
    device = await provisioned(service)
    for lost in (Timestamp(seconds=2**60), Timestamp(seconds=222_000_000_000)):
        state = lifecycle_pb2.SettingsState(device_id=device.device_id, desired=NONE, revision=2, lost=lost)
        refusal = await refusal_of(service.report(state))
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"states[0].lost"})


async def test_the_state_says_why_until_the_device_is_retired(service: DeviceService) -> None:
    device = await provisioned(service)
    assert (await service.device()).epm_state_reason == (
        "A settings policy that enables EPM applies, and the device acknowledged it."
    )
    await service.check_in(device.identity, facts=agent_pb2.DeviceFacts(os="haiku"))
    assert '"haiku"' in (await service.device()).epm_state_reason
    await service.retire(device.device_id)
    assert (await service.device(device.device_id)).epm_state_reason == ""


async def test_the_history_says_when_who_and_why(service: DeviceService) -> None:
    device = await provisioned(service)
    entry = (await told(service, "ws-17")).entries[0]
    assert entry == devices_pb2.DeviceHistoryEntry(
        time=entry.time,
        kind=devices_pb2.DEVICE_HISTORY_KIND_EPM_STATE,
        before="PROVISIONING",
        after="ACTIVE",
        reason="The device acknowledged settings that enable EPM.",
        actor="service:policy",
    )
    assert entry.time.ToDatetime(tzinfo=UTC) == service.clock.now()
    await service.check_in(device.identity, facts=agent_pb2.DeviceFacts(os="haiku"))
    assert (await told(service, "ws-17")).entries[0].actor == f"device:{device.device_id}"


async def test_the_history_of_a_retired_device_is_told_by_its_identifier(service: DeviceService) -> None:
    device = await provisioned(service)
    await service.retire(device.device_id)
    newest = (await told(service, device.device_id)).entries[0]
    assert (newest.kind, newest.before, newest.after) == (
        devices_pb2.DEVICE_HISTORY_KIND_ENROLMENT,
        "ENROLLED",
        "RETIRED",
    )


async def test_a_history_comes_in_pages_that_belong_to_one_device(service: DeviceService) -> None:
    await provisioned(service)
    whole = (await told(service, "ws-17")).entries
    first = await told(service, "ws-17", page_size=1)
    rest = await told(service, "ws-17", page_token=first.next_page_token)
    assert [*first.entries, *rest.entries] == list(whole)
    await service.enrol("ws-18")
    refusal = await refusal_of(told(service, "ws-18", page_token=first.next_page_token))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"page_token"})
    assert (await refusal_of(told(service, "ws-17", page_size=-1))).fields == {"page_size"}


async def test_a_history_out_of_sight_is_not_there(service: DeviceService) -> None:
    await service.enrol()
    foreign = service.may("devices.read", tags=("emea",))
    request = devices_pb2.ListDeviceHistoryRequest(device="ws-17")
    hidden = await refusal_of(service.devices.ListDeviceHistory(request, metadata=foreign))
    absent = await refusal_of(told(service, "nobody"))
    assert hidden == absent
    assert hidden.code == "NOT_FOUND"


async def test_a_deleted_device_has_no_history(service: DeviceService) -> None:
    device = await provisioned(service)
    gone = devices_pb2.DeleteDeviceRequest(device_id=device.device_id)
    await service.devices.DeleteDevice(gone, metadata=service.owner)
    assert (await refusal_of(told(service, device.device_id))).code == "NOT_FOUND"
    again = await service.enrol()
    assert await states(service, again.device_id) == []


async def test_a_device_that_enrols_again_keeps_its_history(service: DeviceService) -> None:
    device = await provisioned(service)
    await service.retire(device.device_id)
    again = await service.enrol()
    assert again.device_id == device.device_id
    assert await states(service, "ws-17") == ["NOT_PROVISIONED", "ACTIVE", "PROVISIONING"]
