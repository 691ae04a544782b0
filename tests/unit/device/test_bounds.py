"""What one device can make grow is bounded, over real doors; that it is alive is heard all the same."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from epm.device.v1 import agent_pb2, devices_pb2
from services._chassis.errors import DeniedError
from services.device.model.credentials import Certificate, Credentials
from services.device.model.lifecycle import EpmState, Lifecycle
from services.device.usecases.bounds import CHANGES, RENEWALS
from services.device.usecases.certificates import FLAG, admit
from services.device.usecases.check_in import check_in
from tests.builders.device_database import keep
from tests.builders.device_service import DeviceService, EnrolledDevice, device_service
from tests.builders.devices import LINUX, a_device, some_bounds
from tests.builders.doors import device_request
from tests.builders.refusals import refusal_of
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.device import MemoryStore

TOO_OFTEN = ("RESOURCE_EXHAUSTED", "TOO_MANY_RENEWALS")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[DeviceService]:
    async with device_service(tmp_path) as service:
        yield service


def version(number: int) -> agent_pb2.DeviceFacts:
    return agent_pb2.DeviceFacts(os="linux", os_version=str(number), architecture="x86_64", agent_version="0.1.0")


async def history(service: DeviceService, device: EnrolledDevice) -> int:
    """Count what is kept of what became of the device."""
    request = devices_pb2.ListDeviceHistoryRequest(device=device.device_id, page_size=1000)
    return len((await service.devices.ListDeviceHistory(request, metadata=service.owner)).entries)


async def test_a_device_renews_ten_times_in_an_hour_and_is_told_when_the_next_time_is(service: DeviceService) -> None:
    device, other = await service.enrol("one"), await service.enrol("two")
    for _ in range(RENEWALS):
        await service.renew(device)
    kept = await history(service, device)
    refusal = await refusal_of(service.renew(device))
    assert (refusal.code, refusal.reason) == TOO_OFTEN
    assert refusal.retry_after == timedelta(minutes=6)
    assert "try again in 360 s" in refusal.message
    assert await history(service, device) == kept
    await service.renew(other)
    await service.check_in(device.identity)
    service.clock.advance(timedelta(minutes=6))
    await service.renew(device)
    assert (await refusal_of(service.renew(device))).code == TOO_OFTEN[0]


async def test_who_shows_a_certificate_that_was_replaced_takes_nothing_from_the_device(service: DeviceService) -> None:
    old = await service.enrol()
    new = await service.renew(old)
    await service.check_in(new.identity)
    for _ in range(RENEWALS):
        assert (await refusal_of(service.renew(old))).reason == "CERTIFICATE_REPLACED"
    await service.renew(new)


async def test_certificates_that_live_for_minutes_may_be_renewed_as_often_as_they_have_to(tmp_path: Path) -> None:
    async with device_service(tmp_path, device_certificate_lifetime=timedelta(minutes=4)) as service:
        device = await service.enrol()
        for _ in range(2 * RENEWALS):
            await service.renew(device)
            service.clock.advance(timedelta(minutes=1))


async def test_facts_that_change_too_often_stay_as_they_were_and_the_sign_of_life_counts(
    service: DeviceService,
) -> None:
    device = await service.enrol()
    for number in range(CHANGES):
        await service.check_in(device.identity, facts=version(number))
        await service.check_in(device.identity, facts=version(number))
    service.clock.advance(timedelta(seconds=10))
    usual = await service.check_in(device.identity, facts=version(CHANGES - 1))
    for number in (100, 101, 102):
        answer = await service.check_in(device.identity, facts=version(number))
        assert (answer.next_check_in, answer.epm_state) == (usual.next_check_in, usual.epm_state)
    found = await service.device()
    assert found.os_version == str(CHANGES - 1)
    assert found.last_check_in.ToDatetime() == service.clock.now().replace(tzinfo=None)
    service.clock.advance(timedelta(minutes=2))
    await service.check_in(device.identity, facts=version(103))
    assert (await service.device()).os_version == "103"


async def test_that_facts_change_too_often_is_said_once_an_hour() -> None:
    store, clock = MemoryStore(), FakeClock()
    await keep(store, a_device())
    bounds = some_bounds(clock)
    for hour in range(1, 3):
        for number in range(100):
            facts = replace(LINUX, os_version=f"{hour}.{number}")
            await check_in(store, "d1", "", facts, bounds=bounds, now=clock.now())
        assert store.actions.count("device_facts_changed") == CHANGES * hour
        assert store.actions.count("device_facts_not_taken") == hour
        clock.advance(timedelta(hours=1))
    said = next(entry for entry in store.kept.audit if entry.action == "device_facts_not_taken")
    assert said.reason == "The facts changed more than 30 times in an hour; the old ones stay meanwhile."


async def test_a_component_that_is_gone_is_heard_with_facts_that_are_not_taken() -> None:
    store, clock = MemoryStore(), FakeClock()
    removing = Lifecycle(state=EpmState.DEPROVISIONING, deprovision_time=NOW)
    await keep(store, a_device(lifecycle=removing))
    bounds = some_bounds(clock)
    while bounds.may_change("d1"):
        pass
    other = replace(LINUX, os="windows")
    seen = await check_in(store, "d1", "", other, component_gone=True, bounds=bounds, now=clock.now())
    assert (seen.facts, seen.lifecycle.state) == (LINUX, EpmState.NOT_PROVISIONED)


async def test_an_enrolment_is_repeated_as_often_as_a_certificate_is_renewed(service: DeviceService) -> None:
    request = agent_pb2.EnrollRequest(
        token=await service.token(), csr_pem=device_request()[1].decode(), device_name="ws-17", facts=version(1)
    )
    device_id = (await service.enrolment.Enroll(request)).device_id
    for _ in range(RENEWALS):
        assert (await service.enrolment.Enroll(request)).device_id == device_id
    kept = (await service.device()).etag
    refusal = await refusal_of(service.enrolment.Enroll(request))
    assert (refusal.code, refusal.reason, refusal.retry_after) == (*TOO_OFTEN, timedelta(minutes=6))
    assert (await service.device()).etag == kept
    service.clock.advance(timedelta(minutes=6))
    await service.enrolment.Enroll(request)


async def test_who_is_refused_for_what_is_known_keeps_no_writer_waiting() -> None:
    store = MemoryStore()
    held = Credentials(Certificate("2", NOW, "key"), None, ("1",))
    await keep(store, replace(a_device(), credentials=held))
    with pytest.raises(DeniedError):
        await admit(store, "d1", "1", vigilance=FLAG, now=NOW)
    marked = store.kept
    assert [entry.action for entry in marked.audit] == ["clone_suspected"]
    async with store.transaction(), asyncio.timeout(5):
        for serial in ("1", "never seen"):
            with pytest.raises(DeniedError):
                await admit(store, "d1", serial, vigilance=FLAG, now=NOW)
    assert store.kept == marked


async def test_signs_of_life_that_follow_one_another_at_once_keep_no_writer_waiting() -> None:
    store, clock = MemoryStore(), FakeClock()
    bounds = some_bounds(clock)
    await keep(store, a_device(lifecycle=Lifecycle(state=EpmState.DEPROVISIONING, deprovision_time=NOW)))

    async def hear(*, os_version: str = LINUX.os_version, gone: bool = False) -> None:
        facts = replace(LINUX, os_version=os_version)
        await check_in(store, "d1", "", facts, component_gone=gone, bounds=bounds, now=clock.now())

    await hear()
    seen, kept = clock.now(), store.kept
    clock.advance(timedelta(milliseconds=900))
    async with store.transaction(), asyncio.timeout(5):
        await hear()
    assert store.kept == kept
    await hear(os_version="6.2")
    assert store.kept.devices["d1"].facts.os_version == "6.2"
    await hear(os_version="6.2", gone=True)
    assert store.kept.devices["d1"].lifecycle.state is EpmState.NOT_PROVISIONED
    assert store.kept.devices["d1"].last_check_in == seen + timedelta(milliseconds=900)
    clock.advance(timedelta(seconds=1))
    await hear(os_version="6.2", gone=True)
    assert store.kept.devices["d1"].last_check_in == clock.now()
    clock.advance(timedelta(days=-1))
    await hear(os_version="6.2", gone=True)
    assert store.kept.devices["d1"].last_check_in == clock.now()
    while bounds.may_change("d1"):
        pass
    await hear(os_version="6.3")
    assert store.actions[-1] == "device_facts_not_taken"
    kept = store.kept
    async with store.transaction(), asyncio.timeout(5):
        await hear(os_version="6.3")
    assert store.kept == kept
