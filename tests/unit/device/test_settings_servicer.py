"""The EPM state of a device follows what the policy service reports."""

from datetime import UTC, timedelta
from pathlib import Path

import pytest

from epm.device.v1 import devices_pb2, lifecycle_pb2
from epm.elevation.v1 import document_pb2
from tests.builders.device_service import DeviceService, device_service
from tests.builders.refusals import refusal_of

ON, OFF, NONE = (
    lifecycle_pb2.DESIRED_STATE_ON,
    lifecycle_pb2.DESIRED_STATE_OFF,
    lifecycle_pb2.DESIRED_STATE_NONE,
)


def state(
    device_id: str,
    desired: "lifecycle_pb2.DesiredState.ValueType" = ON,
    *,
    acknowledged: bool = False,
    revision: int = 1,
) -> lifecycle_pb2.SettingsState:
    return lifecycle_pb2.SettingsState(
        device_id=device_id, desired=desired, acknowledged=acknowledged, revision=revision
    )


async def newest_revision(service: DeviceService) -> int:
    async with service.as_service() as directory:
        async for message in directory.WatchDirectory(lifecycle_pb2.WatchDirectoryRequest()):
            return message.revision
    raise AssertionError("the directory ended")


async def epm_state(service: DeviceService) -> str:
    number = (await service.device()).epm_state
    return document_pb2.EpmState.Name(number).removeprefix("EPM_STATE_")


async def test_an_acknowledged_policy_makes_the_device_active(service: DeviceService) -> None:
    device = await service.enrol()
    await service.report(state(device.device_id))
    assert await epm_state(service) == "PROVISIONING"
    await service.report(state(device.device_id, acknowledged=True))
    assert await epm_state(service) == "ACTIVE"
    assert (await service.check_in(device.identity)).epm_state == document_pb2.EPM_STATE_ACTIVE


async def test_a_policy_that_turns_epm_off_leaves_the_component_and_disables_it(service: DeviceService) -> None:
    device = await service.enrol()
    await service.report(state(device.device_id, OFF, acknowledged=True))
    assert await epm_state(service) == "DISABLED"


async def test_a_report_on_older_data_is_ignored(service: DeviceService) -> None:
    device = await service.enrol()
    await service.report(state(device.device_id, acknowledged=True, revision=5))
    await service.report(state(device.device_id, NONE, revision=4))
    assert await epm_state(service) == "ACTIVE"


async def test_reports_of_one_batch_count_in_their_order(service: DeviceService) -> None:
    device = await service.enrol()
    await service.report(
        state(device.device_id, acknowledged=True, revision=1),
        state("nobody", acknowledged=True),
        state(device.device_id, OFF, acknowledged=True, revision=2),
    )
    assert await epm_state(service) == "DISABLED"


async def test_a_lost_policy_leaves_the_component_seven_days(service: DeviceService) -> None:
    device = await service.enrol()
    await service.report(state(device.device_id, acknowledged=True, revision=1))
    lost = service.clock.now()
    await service.report(state(device.device_id, NONE, revision=2))
    service.clock.advance(timedelta(days=1))
    await service.report(state(device.device_id, NONE, revision=3))  # again: the time does not begin anew
    seen = await service.device()
    assert await epm_state(service) == "DEPROVISION_PENDING"
    assert seen.deprovision_time.ToDatetime(tzinfo=UTC) == lost + timedelta(days=7)


async def test_the_removal_is_due_after_seven_days_also_for_a_service_that_was_down(tmp_path: Path) -> None:
    async with device_service(tmp_path) as service:
        device = await service.enrol()
        await service.report(state(device.device_id, acknowledged=True, revision=1))
        await service.report(state(device.device_id, NONE, revision=2))
        revision = await newest_revision(service)
    service.clock.advance(timedelta(days=7))
    async with device_service(tmp_path, clock=service.clock) as service, service.as_service() as directory:
        watch = directory.WatchDirectory(lifecycle_pb2.WatchDirectoryRequest(revision=revision))
        async for message in watch:
            if message.revision > revision:  # the sweep has recorded something
                break
        seen = await service.device()
    assert seen.epm_state == document_pb2.EPM_STATE_DEPROVISIONING
    assert not seen.HasField("deprovision_time")


async def test_a_policy_that_returns_in_time_cancels_the_removal(service: DeviceService) -> None:
    device = await service.enrol()
    await service.report(state(device.device_id, acknowledged=True, revision=1))
    await service.report(state(device.device_id, NONE, revision=2))
    await service.report(state(device.device_id, ON, revision=3))
    assert await epm_state(service) == "PROVISIONING"
    assert not (await service.device()).HasField("deprovision_time")


async def test_what_epm_does_on_a_retired_device_is_not_known(service: DeviceService) -> None:
    device = await service.enrol()
    await service.report(state(device.device_id, acknowledged=True, revision=1))
    await service.report(state(device.device_id, NONE, revision=2))
    assert await epm_state(service) == "DEPROVISION_PENDING"
    await service.retire(device.device_id)
    retired = await service.device(device.device_id)
    assert retired.epm_state == document_pb2.EPM_STATE_UNSPECIFIED
    assert not retired.HasField("deprovision_time")


async def test_a_batch_with_a_state_that_says_nothing_is_refused_whole(service: DeviceService) -> None:
    device = await service.enrol()
    blank = lifecycle_pb2.DESIRED_STATE_UNSPECIFIED
    strange = state("b")
    strange.desired = 99  # type: ignore[assignment]
    refusal = await refusal_of(service.report(state(device.device_id), state("a", blank), strange))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"states[1].desired", "states[2].desired"})
    assert await epm_state(service) == "NOT_PROVISIONED"


async def test_more_states_than_one_call_may_bring_are_refused(service: DeviceService) -> None:
    refusal = await refusal_of(service.report(*(state(f"d{number}") for number in range(1001))))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"states"})


async def test_a_revision_that_no_database_holds_is_refused(service: DeviceService) -> None:
    device = await service.enrol()
    refusal = await refusal_of(service.report(state(device.device_id, revision=2**63)))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"states[0].revision"})


@pytest.mark.parametrize("name", ["reporting", "rbac"])
async def test_only_the_policy_service_reports(service: DeviceService, name: str) -> None:
    device = await service.enrol()
    assert (await refusal_of(service.report(state(device.device_id), by=name))).code == "PERMISSION_DENIED"
    assert (await service.device()).enrolment_state == devices_pb2.ENROLMENT_STATE_ENROLLED
    assert await epm_state(service) == "NOT_PROVISIONED"
