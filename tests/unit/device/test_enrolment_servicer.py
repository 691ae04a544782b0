"""Devices come in over the public door and speak over the mesh door."""

from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from epm.device.v1 import agent_pb2, devices_pb2, groups_pb2
from epm.elevation.v1 import document_pb2
from services._chassis import pki
from tests.builders.device_service import FACTS, DeviceService, device_service
from tests.builders.doors import authority, device_identity, device_request
from tests.builders.refusals import refusal_of

TOKEN_REFUSED = ("UNAUTHENTICATED", "ENROLMENT_TOKEN_REFUSED")


def request(token: str, name: str = "ws-17", *, csr: bytes | None = None) -> agent_pb2.EnrollRequest:
    signed = csr or device_request()[1]
    return agent_pb2.EnrollRequest(token=token, csr_pem=signed.decode(), device_name=name, facts=FACTS)


async def test_a_device_enrols_and_checks_in_with_its_certificate(service: DeviceService) -> None:
    device = await service.enrol("ws-17")
    service.clock.advance(timedelta(minutes=1))
    answer = await service.check_in(device.identity)
    assert answer.server_time.ToDatetime(tzinfo=UTC) == service.clock.now()
    assert answer.next_check_in.ToTimedelta() == timedelta(minutes=5)
    assert answer.epm_state == document_pb2.EPM_STATE_NOT_PROVISIONED
    known = await service.device("ws-17")
    assert known.device_id == device.device_id
    assert known.last_check_in == answer.server_time


@pytest.mark.parametrize("name", ["policy", "reporting", "device"])
async def test_a_new_device_is_told_where_the_services_are(tmp_path: Path, name: str) -> None:
    elsewhere: dict[str, Any] = {f"advertised_{name}": f"{name}.example.com:443"}
    async with device_service(tmp_path, **elsewhere) as service:
        answer = (await service.enrol()).answer
        mesh = service.doors.settings.mesh_address
    addresses = {
        "policy": answer.policy_address,
        "reporting": answer.reporting_address,
        "device": answer.device_address,
    }
    assert addresses == {"policy": mesh, "reporting": mesh, "device": mesh, name: f"{name}.example.com:443"}


async def test_a_new_device_is_told_whom_to_trust(service: DeviceService, tmp_path: Path) -> None:
    answer = (await service.enrol()).answer
    assert answer.trust_domain == "openepm"
    assert answer.ca_pem.encode() == authority().pem
    (signing,) = pki.load_policy_public_keys(tmp_path / "keys" / "signing.pub")
    assert [(key.key_id, key.public_key) for key in answer.policy_keys] == [
        (pki.policy_key_id(signing), signing.public_bytes_raw())
    ]


async def test_the_certificate_names_the_device_that_the_service_made(service: DeviceService) -> None:
    device = await service.enrol()
    leaf = x509.load_pem_x509_certificate(device.identity.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://openepm/device/{device.device_id}"]
    assert leaf.not_valid_after_utc - service.clock.now() < timedelta(days=90, seconds=1)


async def test_what_the_token_says_is_said_of_its_devices(service: DeviceService) -> None:
    group = groups_pb2.Group(name="laptops", type=groups_pb2.GROUP_TYPE_DEVICE)
    await service.groups.ApplyGroups(groups_pb2.ApplyGroupsRequest(groups=[group]), metadata=service.owner)
    token = await service.token(users=["alice"], tags=["finance"], scope_tags=["emea"], groups=["laptops"])
    await service.enrol("ws-17", token=token)
    device = await service.device()
    assert (list(device.users), list(device.tags), list(device.scope_tags)) == (["alice"], ["finance"], ["emea"])
    joined = await service.groups.GetGroup(groups_pb2.GetGroupRequest(name="laptops"), metadata=service.owner)
    assert list(joined.group.members) == ["ws-17"]


@pytest.mark.parametrize(("allowed", "bound"), [(True, ["bob"]), (False, [])])
async def test_reported_users_count_only_where_the_token_allows_them(
    service: DeviceService, *, allowed: bool, bound: list[str]
) -> None:
    facts = agent_pb2.DeviceFacts(os="linux", users=["bob"])
    await service.enrol(token=await service.token(allow_reported_users=allowed), facts=facts)
    assert list((await service.device()).reported_users) == bound


async def test_the_same_token_and_key_return_the_same_device(service: DeviceService) -> None:
    again = request(await service.token(quota=1))
    first = await service.enrolment.Enroll(again)
    assert (await service.enrolment.Enroll(again)).device_id == first.device_id


async def test_an_unknown_token_lets_nobody_in(service: DeviceService) -> None:
    refusal = await refusal_of(service.enrolment.Enroll(request("epmenr_guessed")))
    assert (refusal.code, refusal.reason) == TOKEN_REFUSED


async def test_an_expired_token_lets_nobody_in(service: DeviceService) -> None:
    token = await service.token()
    service.clock.advance(timedelta(days=7))
    refusal = await refusal_of(service.enrolment.Enroll(request(token)))
    assert (refusal.code, refusal.reason) == TOKEN_REFUSED


async def test_a_token_is_good_until_it_expires(service: DeviceService) -> None:
    token = await service.token()
    service.clock.advance(timedelta(days=7) - timedelta(microseconds=1))
    assert (await service.enrolment.Enroll(request(token))).device_id


async def test_a_revoked_token_lets_nobody_in(service: DeviceService) -> None:
    wanted = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=devices_pb2.EnrolmentToken(quota=1))
    made = await service.devices.CreateEnrolmentToken(wanted, metadata=service.owner)
    revocation = devices_pb2.RevokeEnrolmentTokenRequest(token_id=made.enrolment_token.token_id)
    await service.devices.RevokeEnrolmentToken(revocation, metadata=service.owner)
    refusal = await refusal_of(service.enrolment.Enroll(request(made.secret)))
    assert (refusal.code, refusal.reason) == TOKEN_REFUSED


async def test_a_token_that_is_used_up_lets_nobody_in(service: DeviceService) -> None:
    token = await service.token(quota=1)
    await service.enrol("ws-1", token=token)
    refusal = await refusal_of(service.enrolment.Enroll(request(token, "ws-2")))
    assert (refusal.code, refusal.reason) == TOKEN_REFUSED
    assert "ask for a new one" in refusal.message


async def test_a_request_with_an_rsa_key_is_refused(service: DeviceService) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    csr = built.public_bytes(serialization.Encoding.PEM)
    refusal = await refusal_of(service.enrolment.Enroll(request(await service.token(), csr=csr)))
    assert (refusal.code, refusal.problems) == (
        "INVALID_ARGUMENT",
        {"csr_pem": "must carry an ECDSA P-256 key"},
    )


async def test_all_problems_of_a_request_are_told_at_once(service: DeviceService) -> None:
    bad = agent_pb2.EnrollRequest(token=await service.token(), csr_pem="no", device_name="a b")
    refusal = await refusal_of(service.enrolment.Enroll(bad))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"csr_pem", "device_name", "facts.os"})


async def test_a_stranger_learns_nothing_of_what_is_wrong_with_the_rest(service: DeviceService) -> None:
    refusal = await refusal_of(service.enrolment.Enroll(agent_pb2.EnrollRequest(token="guessed", csr_pem="no")))
    assert (refusal.code, refusal.problems) == ("UNAUTHENTICATED", {})


async def test_a_name_that_is_taken_is_refused_until_its_device_is_retired(service: DeviceService) -> None:
    token = await service.token()
    first = await service.enrol("ws-17", token=token)
    refusal = await refusal_of(service.enrolment.Enroll(request(token)))
    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "DEVICE_NAME_TAKEN")
    await service.retire(first.device_id)
    assert (await service.enrolment.Enroll(request(token))).device_id == first.device_id


async def test_a_state_of_the_component_that_nobody_knows_is_refused_together_with_all_else(
    service: DeviceService,
) -> None:
    mine = await service.enrol("ws-1")
    unknown: Any = 77
    facts = agent_pb2.DeviceFacts(os="Linux")
    refusal = await refusal_of(service.check_in(mine.identity, facts=facts, component=unknown))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"component", "facts.os"})
    assert not (await service.device("ws-1")).HasField("last_check_in")


async def test_a_check_in_that_names_another_device_is_refused(service: DeviceService) -> None:
    token = await service.token()
    mine, other = await service.enrol("ws-1", token=token), await service.enrol("ws-2", token=token)
    refusal = await refusal_of(service.check_in(mine.identity, named=other.device_id))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "DEVICE_MISMATCH")
    assert not (await service.device("ws-2")).HasField("last_check_in")
    await service.check_in(mine.identity, named=mine.device_id)
    assert (await service.device("ws-1")).HasField("last_check_in")


async def test_a_retired_device_is_cut_off(service: DeviceService) -> None:
    device = await service.enrol()
    await service.check_in(device.identity)
    await service.retire(device.device_id)
    refusal = await refusal_of(service.check_in(device.identity))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "DEVICE_NOT_ENROLLED")


async def test_a_device_that_never_enrolled_is_refused(service: DeviceService) -> None:
    refusal = await refusal_of(service.check_in(device_identity("made-up")))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "DEVICE_UNKNOWN")


async def test_a_certificate_of_another_authority_is_not_let_in(service: DeviceService) -> None:
    device = await service.enrol()
    foreign, _ = pki.create_authority(now=service.clock.now())
    refusal = await refusal_of(service.check_in(device_identity(device.device_id, by=foreign)))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "")  # the handshake failed; nobody answered


async def test_facts_that_cannot_be_are_refused(service: DeviceService) -> None:
    device = await service.enrol()
    facts = agent_pb2.DeviceFacts(os="Windows 11", users=[f"user-{number}" for number in range(101)])
    refusal = await refusal_of(service.check_in(device.identity, facts=facts))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"facts.os", "facts.users"})
