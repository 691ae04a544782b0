"""Devices that go, over real doors: retired, banned, deleted, and those that come back."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization

from epm.device.v1 import agent_pb2, devices_pb2, groups_pb2
from tests.builders.device_service import FACTS, DeviceService, EnrolledDevice
from tests.builders.doors import authority, device_request
from tests.builders.refusals import refusal_of
from tests.unit.device.test_certificates import REPLACED, history, judged, request_of
from tests.unit.device.test_watch_directory import apply_groups, device_group, watching

BANNED = ("PERMISSION_DENIED", "DEVICE_BANNED")


async def ban(service: DeviceService, device_id: str) -> devices_pb2.Device:
    request = devices_pb2.BanDeviceRequest(device_id=device_id, reason="stolen")
    return (await service.devices.BanDevice(request, metadata=service.owner)).device


async def lift(service: DeviceService, device_id: str) -> devices_pb2.Device:
    request = devices_pb2.LiftDeviceBanRequest(device_id=device_id, reason="found")
    return (await service.devices.LiftDeviceBan(request, metadata=service.owner)).device


async def delete(service: DeviceService, device_id: str) -> None:
    request = devices_pb2.DeleteDeviceRequest(device_id=device_id, reason="scrapped")
    await service.devices.DeleteDevice(request, metadata=service.owner)


async def come(
    service: DeviceService, token: str, name: str = "ws-17", request: tuple[bytes, bytes] | None = None
) -> agent_pb2.EnrollResponse:
    _, csr = request or device_request()
    asked = agent_pb2.EnrollRequest(token=token, csr_pem=csr.decode(), device_name=name, facts=FACTS)
    return await service.enrolment.Enroll(asked)


async def members(service: DeviceService, group: str) -> list[str]:
    found = await service.groups.GetGroup(groups_pb2.GetGroupRequest(name=group), metadata=service.owner)
    return list(found.group.members)


async def test_a_retired_device_keeps_its_record_and_takes_it_up_again(service: DeviceService) -> None:
    old = await service.enrol()
    await service.retire(old.device_id)
    retired = await service.device(old.device_id)
    assert not retired.HasField("certificate_expires")
    assert judged(await refusal_of(service.check_in(old.identity))) == ("PERMISSION_DENIED", "DEVICE_NOT_ENROLLED")
    assert judged(await refusal_of(service.renew(old))) == ("PERMISSION_DENIED", "DEVICE_NOT_ENROLLED")
    new = await service.enrol()
    assert new.device_id == old.device_id
    assert judged(await refusal_of(service.check_in(old.identity))) == REPLACED
    await service.check_in(new.identity)
    assert (await history(service, new.device_id))[:5] == [
        ("ENROLMENT", "", "ENROLLED"),
        ("CERTIFICATE", "", old.serial),
        ("ENROLMENT", "ENROLLED", "RETIRED"),
        ("ENROLMENT", "RETIRED", "ENROLLED"),
        ("CERTIFICATE", "", new.serial),
    ]


async def test_a_banned_device_is_cut_off_and_neither_its_name_nor_its_keys_enrol_until_the_ban_is_lifted(
    service: DeviceService,
) -> None:
    first = await service.enrol()
    second = await service.renew(first)
    await service.check_in(second.identity)
    token = await service.token()
    for _ in range(2):
        assert (await ban(service, first.device_id)).enrolment_state == devices_pb2.ENROLMENT_STATE_BANNED
    assert judged(await refusal_of(service.check_in(second.identity))) == BANNED
    assert judged(await refusal_of(service.renew(second))) == BANNED
    assert judged(await refusal_of(come(service, token))) == BANNED
    for device in (first, second):
        again = come(service, token, "ws-18", request_of(device.identity.key))
        assert judged(await refusal_of(again)) == BANNED
    retire = devices_pb2.RetireDeviceRequest(device_id=first.device_id)
    assert (
        await refusal_of(service.devices.RetireDevice(retire, metadata=service.owner))
    ).code == "FAILED_PRECONDITION"
    for _ in range(2):
        assert (await lift(service, first.device_id)).enrolment_state == devices_pb2.ENROLMENT_STATE_RETIRED
    assert (await come(service, token)).device_id == first.device_id
    assert (await refusal_of(lift(service, first.device_id))).code == "FAILED_PRECONDITION"


async def test_a_retired_device_may_be_banned(service: DeviceService) -> None:
    device = await service.enrol()
    await service.retire(device.device_id)
    await ban(service, device.device_id)
    assert judged(await refusal_of(service.enrol())) == BANNED
    assert [entry for entry in await history(service, device.device_id) if entry[0] == "ENROLMENT"] == [
        ("ENROLMENT", "", "ENROLLED"),
        ("ENROLMENT", "ENROLLED", "RETIRED"),
        ("ENROLMENT", "RETIRED", "BANNED"),
    ]


@pytest.mark.parametrize("state", ["enrolled", "retired", "banned"])
async def test_of_a_deleted_device_nothing_is_left_but_a_tombstone(service: DeviceService, state: str) -> None:
    device = await service.enrol()
    revision = await apply_groups(service, device_group("kiosks", "ws-17", "ws-18"), device_group("others", "ws-18"))
    if state == "retired":
        await service.retire(device.device_id)
    if state == "banned":
        await ban(service, device.device_id)
    async with watching(service, revision) as watch:
        if state != "enrolled":
            await watch.change()
        await delete(service, device.device_id)
        change = await watch.change()
        while not any(each.deleted for each in change.devices):
            change = await watch.change()
    (gone,) = change.devices
    assert gone == type(gone)(device_id=device.device_id, deleted=True)
    assert await members(service, "kiosks") == ["ws-18"]
    assert await members(service, "others") == ["ws-18"]
    assert (await refusal_of(service.device(device.device_id))).code == "NOT_FOUND"
    assert (await refusal_of(history(service, device.device_id))).code == "NOT_FOUND"
    assert (await refusal_of(delete(service, device.device_id))).code == "NOT_FOUND"
    listed = await service.devices.ListDevices(devices_pb2.ListDevicesRequest(), metadata=service.owner)
    assert not listed.devices
    assert judged(await refusal_of(service.check_in(device.identity))) == ("PERMISSION_DENIED", "DEVICE_UNKNOWN")
    again = await come(service, await service.token(), "ws-17", request_of(device.identity.key))
    assert again.device_id != device.device_id
    assert [entry[0] for entry in await history(service, again.device_id)] == ["ENROLMENT", "CERTIFICATE"]


async def test_a_reader_of_everything_hears_of_deleted_devices_too(service: DeviceService) -> None:
    device = await service.enrol()
    await delete(service, device.device_id)
    async with watching(service) as watch:
        (message,) = await watch.transfer()
    assert [(each.device_id, each.deleted) for each in message.devices] == [(device.device_id, True)]


async def test_a_name_that_another_device_has_by_now_stays_in_its_groups(service: DeviceService) -> None:
    token = await service.token(scope_tags=["apac"])
    gone = await service.enrol("ws-17", token=token)
    await apply_groups(service, device_group("kiosks", "ws-17"))
    await service.retire(gone.device_id)
    assert (await service.enrol("ws-17")).device_id != gone.device_id
    await delete(service, gone.device_id)
    assert await members(service, "kiosks") == ["ws-17"]


@pytest.mark.parametrize("verb", ["Ban", "LiftBan", "Delete", "ClearSuspectedClone"])
async def test_what_is_wrong_with_a_reason_is_told_and_a_device_out_of_sight_is_not_there(
    service: DeviceService, verb: str
) -> None:
    device = await service.enrol()
    calls = {
        "Ban": (service.devices.BanDevice, devices_pb2.BanDeviceRequest),
        "LiftBan": (service.devices.LiftDeviceBan, devices_pb2.LiftDeviceBanRequest),
        "Delete": (service.devices.DeleteDevice, devices_pb2.DeleteDeviceRequest),
        "ClearSuspectedClone": (service.devices.ClearSuspectedClone, devices_pb2.ClearSuspectedCloneRequest),
    }
    call, request = calls[verb]
    long = request(device_id=device.device_id, reason="x" * 257)
    assert (await refusal_of(call(long, metadata=service.owner))).fields == {"reason"}  # type: ignore[operator]
    elsewhere = service.may("devices.retire", "devices.update", tags=("apac",))
    asked = request(device_id=device.device_id)
    assert (await refusal_of(call(asked, metadata=elsewhere))).code == "NOT_FOUND"  # type: ignore[operator]
    assert (await service.device()).enrolment_state == devices_pb2.ENROLMENT_STATE_ENROLLED


async def a_token_for(service: DeviceService, device_id: str, **values: object) -> str:
    return await service.token(device_id=device_id, **{"quota": 1, **values})


async def test_a_device_that_lost_its_key_enrols_again_and_keeps_everything(service: DeviceService) -> None:
    token = await service.token(users=["alice"], tags=["finance"], allow_reported_users=True)
    lost = await service.enrol("ws-17", token=token)
    before = await service.device()
    text = await a_token_for(service, lost.device_id)
    request = device_request()
    answer = await come(service, text, "ws-17", request)
    assert answer.device_id == lost.device_id
    assert judged(await refusal_of(service.check_in(lost.identity))) == REPLACED
    found = EnrolledDevice(answer, lost.identity).renewed(answer.certificate_pem, request[0])
    await service.check_in(found.identity)
    after = await service.device()
    assert (after.users, after.tags, after.scope_tags) == (before.users, before.tags, before.scope_tags)
    again = await come(service, text, "ws-17", request)  # its answer was lost
    assert again.device_id == lost.device_id
    assert (await refusal_of(come(service, text))).code == "UNAUTHENTICATED"


async def test_a_token_for_a_retired_device_lets_it_in_again_as_it_was(service: DeviceService) -> None:
    device = await service.enrol("ws-17", token=await service.token(tags=["finance"]))
    await service.retire(device.device_id)
    answer = await come(service, await a_token_for(service, device.device_id))
    assert answer.device_id == device.device_id
    assert list((await service.device()).tags) == ["finance"]


async def test_a_token_for_one_device_lets_no_other_in(service: DeviceService) -> None:
    device = await service.enrol()
    text = await a_token_for(service, device.device_id)
    refusal = await refusal_of(come(service, text, "ws-18"))
    assert refusal.problems == {"device_name": 'must be "ws-17", the name of the device that the token is for'}
    await ban(service, device.device_id)
    assert judged(await refusal_of(come(service, text))) == BANNED
    await delete(service, device.device_id)
    assert (await refusal_of(come(service, text))).code == "UNAUTHENTICATED"


async def test_a_retired_device_whose_name_is_taken_by_now_is_not_let_in_beside_it(service: DeviceService) -> None:
    gone = await service.enrol("ws-17", token=await service.token(scope_tags=["apac"]))
    text = await a_token_for(service, gone.device_id)
    await service.retire(gone.device_id)
    await service.enrol("ws-17")
    assert judged(await refusal_of(come(service, text))) == ("ALREADY_EXISTS", "DEVICE_NAME_TAKEN")


async def test_a_token_for_one_device_asks_for_nothing_else(service: DeviceService) -> None:
    device = await service.enrol()
    await apply_groups(service, device_group("kiosks"))
    asked = a_token_for(
        service,
        device.device_id,
        quota=2,
        users=["alice"],
        groups=["kiosks"],
        tags=["x"],
        device_names=["ws-*"],
        allow_reported_users=True,
    )
    at = "enrolment_token"
    names = ("quota", "users", "groups", "tags", "device_names", "allow_reported_users")
    assert (await refusal_of(asked)).fields == {f"{at}.{name}" for name in names}


async def test_a_token_for_a_device_that_is_out_of_sight_or_banned_is_refused(service: DeviceService) -> None:
    device = await service.enrol()
    wanted = devices_pb2.EnrolmentToken(quota=1, device_id=device.device_id)
    request = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=wanted)
    elsewhere = service.may("devices.enroll", tags=("apac",))
    hidden = await refusal_of(service.devices.CreateEnrolmentToken(request, metadata=elsewhere))
    missing = await refusal_of(a_token_for(service, "nobody"))
    assert hidden.problems == missing.problems
    assert hidden.fields == {"enrolment_token.device_id"}
    await ban(service, device.device_id)
    assert "is banned" in (await refusal_of(a_token_for(service, device.device_id))).message


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("ws-*", "ws-17", True),
        ("ws-?", "ws-1", True),
        ("ws-?", "ws-17", False),
        ("ws-*", "WS-17", False),
        ("ws.1", "ws-1", False),
        ("*", "anything", True),
        ("[w]s", "ws", None),
        ("", "ws", None),
    ],
)
async def test_a_token_may_be_for_devices_of_some_names(
    service: DeviceService, pattern: str, name: str, *, fits: bool | None
) -> None:
    if fits is None:
        refusal = await refusal_of(service.token(device_names=[pattern]))
        assert refusal.fields == {"enrolment_token.device_names[0]"}
        return
    text = await service.token(device_names=[pattern, "kiosk"])
    if fits:
        assert (await come(service, text, name)).device_id
    else:
        refusal = await refusal_of(come(service, text, name))
        assert refusal.problems == {
            "device_name": f"must match a pattern of the token: {', '.join(sorted(['kiosk', pattern]))}"
        }


async def test_a_token_tells_the_fingerprint_of_the_ca_of_the_installation(service: DeviceService) -> None:
    text = await service.token()
    secret, _, told = text.partition(".")
    der = authority().certificate.public_bytes(serialization.Encoding.DER)
    assert base64.urlsafe_b64decode(told + "=") == hashlib.sha256(der).digest()
    assert secret.startswith("epmenr_")
    assert len(secret) == len("epmenr_") + 43
    assert judged(await refusal_of(come(service, secret))) == ("UNAUTHENTICATED", "ENROLMENT_TOKEN_REFUSED")
