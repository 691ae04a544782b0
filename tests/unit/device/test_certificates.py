"""Certificates of devices over real doors: renewal without a gap, replaced ones, clones."""

from datetime import UTC, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from epm.device.v1 import agent_pb2, devices_pb2, lifecycle_pb2
from services._chassis import pki
from tests.builders.device_service import DeviceService, EnrolledDevice, device_service
from tests.builders.doors import authority, device_request
from tests.builders.refusals import Refusal, refusal_of

USED = lifecycle_pb2.SIGHTING_KIND_CERTIFICATE_USED
CLONE = lifecycle_pb2.SIGHTING_KIND_SUSPECTED_CLONE
REPLACED = ("PERMISSION_DENIED", "CERTIFICATE_REPLACED")


def judged(refusal: Refusal) -> tuple[str, str]:
    return refusal.code, refusal.reason


def request_of(key: bytes) -> tuple[bytes, bytes]:
    """Return the key with a request that it signs anew."""
    loaded = serialization.load_pem_private_key(key, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    signed = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(loaded, hashes.SHA256())
    return key, signed.public_bytes(serialization.Encoding.PEM)


def a_greedy_request() -> tuple[bytes, bytes]:
    """Return a request that asks to be somebody else, a CA, a server and valid for other names."""
    key = ec.generate_private_key(ec.SECP256R1())
    somebody = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "device-0"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")]
    )
    names = [x509.DNSName("epm.example.com"), x509.UniformResourceIdentifier("spiffe://openepm/service/policy")]
    built = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(somebody)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return pki.private_pem(key), built.public_bytes(serialization.Encoding.PEM)


def check_every_field(pem: bytes, service: DeviceService, device_id: str, key: bytes) -> None:
    leaf = x509.load_pem_x509_certificate(pem)
    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert leaf.version is x509.Version.v3
    assert leaf.serial_number.bit_length() > 64
    assert leaf.issuer == authority().certificate.subject
    assert leaf.subject == x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    assert leaf.public_key() == private.public_key()
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)
    leaf.verify_directly_issued_by(authority().certificate)
    now = service.clock.now().replace(microsecond=0)
    assert leaf.not_valid_before_utc == now - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == now + timedelta(days=90)
    values = {extension.value.__class__: extension for extension in leaf.extensions}
    assert {kind: values[kind].critical for kind in values} == {
        x509.BasicConstraints: True,
        x509.KeyUsage: True,
        x509.ExtendedKeyUsage: False,
        x509.SubjectAlternativeName: False,
        x509.SubjectKeyIdentifier: False,
        x509.AuthorityKeyIdentifier: False,
    }
    extensions = leaf.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=False, path_length=None
    )
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    others = (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    assert usage.digital_signature
    assert not any(getattr(usage, name) for name in others)
    assert [*extensions.get_extension_for_class(x509.ExtendedKeyUsage).value] == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert [*extensions.get_extension_for_class(x509.SubjectAlternativeName).value] == [
        x509.UniformResourceIdentifier(f"spiffe://openepm/device/{device_id}")
    ]


async def history(service: DeviceService, device_id: str) -> list[tuple[str, str, str]]:
    """Return what became of a device, earliest first: kind, before, after."""
    request = devices_pb2.ListDeviceHistoryRequest(device=device_id)
    entries = (await service.devices.ListDeviceHistory(request, metadata=service.owner)).entries
    names = devices_pb2.DeviceHistoryKind.Name
    return [
        (names(entry.kind).removeprefix("DEVICE_HISTORY_KIND_"), entry.before, entry.after)
        for entry in reversed(entries)
    ]


async def suspected(service: DeviceService, name: str = "ws-17") -> bool:
    return (await service.device(name)).HasField("suspected_clone")


async def a_renewed_device(service: DeviceService) -> tuple[EnrolledDevice, EnrolledDevice]:
    """Return a device with its old certificate and with its new one, which it has used."""
    old = await service.enrol()
    new = await service.renew(old)
    await service.check_in(new.identity)
    return old, new


async def test_the_server_decides_every_field_of_a_certificate_at_enrolment(service: DeviceService) -> None:
    key, csr = a_greedy_request()
    request = agent_pb2.EnrollRequest(
        token=await service.token(), csr_pem=csr.decode(), device_name="ws-17", facts=agent_pb2.DeviceFacts(os="linux")
    )
    answer = await service.enrolment.Enroll(request)
    check_every_field(answer.certificate_pem.encode(), service, answer.device_id, key)


async def test_the_server_decides_every_field_of_a_certificate_at_renewal(service: DeviceService) -> None:
    device = await service.enrol()
    service.clock.advance(timedelta(days=45))
    greedy = a_greedy_request()
    renewed = await service.renew(device, greedy)
    check_every_field(renewed.identity.certificate, service, device.device_id, greedy[0])


async def test_until_the_new_certificate_is_used_both_count_and_from_then_on_the_new_one_alone(
    service: DeviceService,
) -> None:
    old = await service.enrol()
    new = await service.renew(old)
    await service.check_in(old.identity)
    await service.check_in(new.identity)
    assert judged(await refusal_of(service.check_in(old.identity))) == REPLACED
    await service.check_in(new.identity)
    assert await history(service, old.device_id) == [
        ("ENROLMENT", "", "ENROLLED"),
        ("CERTIFICATE", "", old.serial),
        ("CERTIFICATE", old.serial, new.serial),
        ("CERTIFICATE", old.serial, new.serial),
        ("SUSPECTED_CLONE", "", "SUSPECTED"),
    ]


async def test_administrators_see_when_the_certificate_that_is_used_ends(service: DeviceService) -> None:
    old = await service.enrol()
    ends = (await service.device()).certificate_expires.ToDatetime(tzinfo=UTC)
    assert ends == x509.load_pem_x509_certificate(old.identity.certificate).not_valid_after_utc
    service.clock.advance(timedelta(minutes=4))
    new = await service.renew(old)
    assert (await service.device()).certificate_expires.ToDatetime(tzinfo=UTC) == ends
    await service.check_in(new.identity)
    assert (await service.device()).certificate_expires.ToDatetime(tzinfo=UTC) > ends


async def test_after_a_lost_answer_the_same_key_gets_a_certificate_again(service: DeviceService) -> None:
    old, request = await service.enrol(), device_request()
    lost, found = await service.renew(old, request), await service.renew(old, request)
    assert lost.serial != found.serial
    await service.check_in(found.identity)
    assert not await suspected(service)
    assert judged(await refusal_of(service.check_in(lost.identity))) == REPLACED


async def test_another_key_takes_the_place_of_one_that_was_not_used(service: DeviceService) -> None:
    old = await service.enrol()
    first, second = await service.renew(old), await service.renew(old)
    await service.check_in(old.identity)
    assert judged(await refusal_of(service.check_in(first.identity))) == REPLACED
    await service.check_in(second.identity)


async def test_a_renewal_with_the_old_certificate_after_the_first_use_of_the_new_is_refused(
    service: DeviceService,
) -> None:
    old, new = await a_renewed_device(service)
    assert judged(await refusal_of(service.renew(old))) == REPLACED
    await service.check_in((await service.renew(new)).identity)


async def test_a_renewal_is_a_first_use_too(service: DeviceService) -> None:
    old = await service.enrol()
    new = await service.renew(old)
    await service.renew(new)
    assert judged(await refusal_of(service.check_in(old.identity))) == REPLACED
    await service.check_in(new.identity)


async def test_the_key_that_is_renewed_is_no_new_one(service: DeviceService) -> None:
    device = await service.enrol()
    refusal = await refusal_of(service.renew(device, request_of(device.identity.key)))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"csr_pem"})
    assert "make a new key" in refusal.message


async def test_the_key_of_another_device_is_refused(service: DeviceService) -> None:
    mine, other = await service.enrol("ws-1"), await service.enrol("ws-2")
    refusal = await refusal_of(service.renew(mine, request_of(other.identity.key)))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"csr_pem"})
    renewed = await service.renew(other)
    await service.check_in(renewed.identity)
    assert (await refusal_of(service.renew(mine, request_of(other.identity.key)))).code == "INVALID_ARGUMENT"


async def test_what_is_no_request_is_not_renewed(service: DeviceService) -> None:
    refusal = await refusal_of(service.renew(await service.enrol(), (b"", b"no request")))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"csr_pem"})


async def test_the_key_of_a_renewal_that_was_used_up_lets_nobody_enrol_again(service: DeviceService) -> None:
    token = await service.token(quota=1)
    first = await service.enrol("ws-17", token=token)
    await service.check_in((await service.renew(first)).identity)
    _, csr = request_of(first.identity.key)
    again = agent_pb2.EnrollRequest(
        token=token, csr_pem=csr.decode(), device_name="ws-17", facts=agent_pb2.DeviceFacts(os="linux")
    )
    refusal = await refusal_of(service.enrolment.Enroll(again))
    assert judged(refusal) == ("UNAUTHENTICATED", "ENROLMENT_TOKEN_REFUSED")


async def test_a_first_use_elsewhere_counts_as_soon_as_it_is_told(service: DeviceService) -> None:
    old = await service.enrol()
    new = await service.renew(old)
    sighting = lifecycle_pb2.Sighting(device_id=old.device_id, kind=USED, certificate_serial=new.serial)
    await service.sight(sighting, by="reporting")
    await service.sight(sighting)
    assert judged(await refusal_of(service.check_in(old.identity))) == REPLACED


async def test_sightings_that_tell_nothing_new_and_unknown_devices_are_passed_over(service: DeviceService) -> None:
    device = await service.enrol()
    await service.sight(
        lifecycle_pb2.Sighting(device_id="nobody", kind=USED, certificate_serial="1"),
        lifecycle_pb2.Sighting(device_id=device.device_id, kind=USED, certificate_serial=device.serial),
        lifecycle_pb2.Sighting(device_id=device.device_id, kind=USED, certificate_serial="abc"),
    )
    await service.check_in(device.identity)


async def test_all_that_is_wrong_with_sightings_is_told_at_once(service: DeviceService) -> None:
    refusal = await refusal_of(service.sight(lifecycle_pb2.Sighting(device_id="d1")))
    assert refusal.problems == {"sightings[0].kind": "must be CERTIFICATE_USED or SUSPECTED_CLONE"}
    refusal = await refusal_of(
        service.sight(
            lifecycle_pb2.Sighting(kind=USED),
            lifecycle_pb2.Sighting(kind=CLONE, certificate_serial="1", detail="x" * 257),
        )
    )
    assert refusal.fields == {
        "sightings[0].certificate_serial",
        "sightings[1].certificate_serial",
        "sightings[1].detail",
    }
    many = [lifecycle_pb2.Sighting(kind=CLONE)] * 1001
    assert (await refusal_of(service.sight(*many))).fields == {"sightings"}


async def test_two_lines_of_life_are_heard_of_from_the_service_that_sees_them_alone(service: DeviceService) -> None:
    device = await service.enrol()
    told = (
        lifecycle_pb2.Sighting(device_id=device.device_id, kind=USED, certificate_serial=device.serial),
        lifecycle_pb2.Sighting(device_id=device.device_id, kind=CLONE),
    )
    refusal = await refusal_of(service.sight(*told, by="reporting"))
    assert judged(refusal) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")
    assert not (await service.device()).HasField("suspected_clone")


async def test_two_lines_of_life_mark_a_device_until_an_administrator_says_that_it_is_one(
    service: DeviceService,
) -> None:
    device = await service.enrol()
    seen = lifecycle_pb2.Sighting(device_id=device.device_id, kind=CLONE, detail="streams of two runs alternate")
    await service.sight(seen)
    marked = await service.device()
    assert marked.suspected_clone.ToDatetime(tzinfo=UTC) == service.clock.now()
    assert not marked.quarantined
    service.clock.advance(timedelta(minutes=1))
    await service.sight(seen)
    assert (await service.device()).suspected_clone == marked.suspected_clone
    clear = devices_pb2.ClearSuspectedCloneRequest(device_id=device.device_id, reason="the image was removed")
    for _ in range(2):
        cleared = await service.devices.ClearSuspectedClone(clear, metadata=service.owner)
        assert not cleared.device.HasField("suspected_clone")
    assert (await history(service, device.device_id))[-2:] == [
        ("SUSPECTED_CLONE", "", "SUSPECTED"),
        ("SUSPECTED_CLONE", "SUSPECTED", "CLEARED"),
    ]


async def test_a_device_that_looks_like_two_is_quarantined_where_the_operator_wants_that(tmp_path: Path) -> None:
    async with device_service(tmp_path, on_suspected_clone="quarantine") as service:
        old, new = await a_renewed_device(service)
        assert judged(await refusal_of(service.check_in(old.identity))) == REPLACED
        assert (await service.device()).quarantined
        await service.check_in(new.identity)
        clear = devices_pb2.ClearSuspectedCloneRequest(device_id=old.device_id)
        await service.devices.ClearSuspectedClone(clear, metadata=service.owner)
        assert not (await service.device()).quarantined


async def test_a_machine_that_was_given_up_marks_its_successor_and_never_takes_its_policy_away(tmp_path: Path) -> None:
    async with device_service(tmp_path, on_suspected_clone="quarantine") as service:
        replaced, ended = await a_renewed_device(service)
        await service.retire(ended.device_id)
        successor = await service.enrol()
        assert successor.device_id == ended.device_id
        for stolen in (replaced, ended):
            assert judged(await refusal_of(service.check_in(stolen.identity))) == REPLACED
        marked = await service.device()
        assert (marked.HasField("suspected_clone"), marked.quarantined) == (True, False)
        assert (await history(service, ended.device_id))[-1] == ("SUSPECTED_CLONE", "", "SUSPECTED")
        await service.check_in(successor.identity)
