"""Make this machine a device of an installation.

The key is made and kept before the first request, so an enrolment that was interrupted goes on with the same key, and the
server answers with the same device. Nothing is believed but the authority that the operator gave: not even the
answer's own certificates, before they fit.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent_stub import identity_store
from agent_stub.files import StateError, private_folder, write_private
from agent_stub.model import Credentials, Identity
from epm.device.v1 import agent_pb2, agent_pb2_grpc

DEADLINE_SECONDS = 30.0
POLICY_KEY_LENGTH = 32
_REMEDIES = {
    grpc.StatusCode.UNAVAILABLE: "check the address, that the server runs, and that --ca is the authority of its certificate",
    grpc.StatusCode.UNAUTHENTICATED: "ask for a new enrolment token",
    grpc.StatusCode.ALREADY_EXISTS: "choose another --name, or have the other device retired",
    grpc.StatusCode.DEADLINE_EXCEEDED: "try again; the same key will be used",
}


class EnrolmentError(Exception):
    """The device was not enrolled; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the operator gives."""

    server: str
    ca: bytes
    token: str = field(repr=False)
    device_name: str
    facts: agent_pb2.DeviceFacts


def enroll(folder: Path, enrolment: Enrolment) -> Identity:
    """Enrol the device and keep its identity; raise EnrolmentError or StateError, after which it can be tried again."""
    private_folder(folder)
    if identity_store.is_enrolled(folder):
        identity, _ = identity_store.load(folder)
        raise EnrolmentError(
            f"{folder} already holds the device {identity.device_name} ({identity.device_id}); "
            "choose another --state-dir, or move this one away to enrol anew"
        )
    _check_authorities(enrolment.ca)
    key = _key(folder / identity_store.KEY)
    response = _ask(enrolment, _request(enrolment, key))
    if problems := list(_problems(response, key)):
        raise EnrolmentError(f"the server {enrolment.server} sent an answer that does not fit: {'; '.join(problems)}")
    identity = _identity(response, enrolment.device_name)
    credentials = Credentials(
        key=_key_pem(key), certificate=response.certificate_pem.encode(), ca=response.ca_pem.encode()
    )
    try:
        identity_store.save(folder, identity, credentials)
    except OSError as error:
        raise StateError(
            f"state folder {folder}: cannot be written ({error.strerror}); make room and try again"
        ) from error
    return identity


def _check_authorities(ca: bytes) -> None:
    try:
        x509.load_pem_x509_certificates(ca)
    except ValueError as error:
        raise EnrolmentError(
            "--ca holds no PEM certificate; give the certificate of the installation's CA, `ca/ca.crt` of its server"
        ) from error


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Take up the key of an interrupted enrolment, or make one."""
    with contextlib.suppress(FileNotFoundError):
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StateError(f"{path}: is no readable key; remove it and enrol again") from error
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
        raise StateError(f"{path}: is not an elliptic-curve key; remove it and enrol again")
    fresh = ec.generate_private_key(ec.SECP256R1())
    try:
        write_private(path, _key_pem(fresh))
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error.strerror}); make room and try again") from error
    return fresh


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _request(enrolment: Enrolment, key: ec.EllipticCurvePrivateKey) -> agent_pb2.EnrollRequest:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, enrolment.device_name[:64] or "device")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return agent_pb2.EnrollRequest(
        token=enrolment.token,
        csr_pem=request.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        device_name=enrolment.device_name,
        facts=enrolment.facts,
    )


def _ask(enrolment: Enrolment, request: agent_pb2.EnrollRequest) -> agent_pb2.EnrollResponse:
    credentials = grpc.ssl_channel_credentials(root_certificates=enrolment.ca)
    with grpc.secure_channel(enrolment.server, credentials) as channel:
        stub = agent_pb2_grpc.EnrolmentServiceStub(channel)
        try:
            return stub.Enroll(request, timeout=DEADLINE_SECONDS)
        except grpc.RpcError as error:
            raise EnrolmentError(_refusal(enrolment.server, error)) from None


def _refusal(server: str, error: object) -> str:
    if not isinstance(error, grpc.Call):
        return f"the server {server} cannot be reached"
    remedy = _REMEDIES.get(error.code(), "correct what it names and try again")
    return f"the server {server} did not enrol the device: {error.details()}; {remedy}"


def _problems(response: agent_pb2.EnrollResponse, key: ec.EllipticCurvePrivateKey) -> Iterator[str]:
    """Say all that keeps the answer from being an identity for this key."""
    names = ("device_id", "trust_domain", "policy_address", "reporting_address", "device_address")
    yield from (f"{name} is missing" for name in names if not getattr(response, name))
    if not response.policy_keys:
        yield "policy_keys is empty"
    if any(len(one.public_key) != POLICY_KEY_LENGTH or not one.key_id for one in response.policy_keys):
        yield "policy_keys holds what is no Ed25519 key"
    yield from _certificate_problems(response, key)


def _certificate_problems(response: agent_pb2.EnrollResponse, key: ec.EllipticCurvePrivateKey) -> Iterator[str]:
    try:
        leaf, *rest = x509.load_pem_x509_certificates(response.certificate_pem.encode())
        authorities = x509.load_pem_x509_certificates(response.ca_pem.encode())
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        yield "certificate_pem or ca_pem cannot be read"
        return
    if leaf.public_key() != key.public_key():
        yield "the certificate is for another key"
    expected = f"spiffe://{response.trust_domain}/device/{response.device_id}"
    if alternative.get_values_for_type(x509.UniformResourceIdentifier) != [expected]:
        yield f"the certificate does not name {expected}"
    if not any(_issued(leaf, issuer) for issuer in (*rest, *authorities)):
        yield "the certificate is of another authority than ca_pem"


def _issued(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _identity(response: agent_pb2.EnrollResponse, device_name: str) -> Identity:
    return Identity(
        device_id=response.device_id,
        device_name=device_name,
        trust_domain=response.trust_domain,
        policy_address=response.policy_address,
        reporting_address=response.reporting_address,
        device_address=response.device_address,
        policy_keys={one.key_id: one.public_key for one in response.policy_keys},
    )
