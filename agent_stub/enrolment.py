"""Make this machine a device of an installation.

The key is made and kept before the first request, so an enrolment that was interrupted goes on with the same key, and the
server answers with the same device. Nothing is believed but the authority that the operator gave, as a file or by its
fingerprint in the token: not even the answer's own certificates, before they fit. The token is said to nobody else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from agent_stub import identity_store
from agent_stub.files import StateError, private_folder
from agent_stub.first_contact import FirstContactError, find_authority, fingerprint_of, holds
from agent_stub.keys import certificate_problems, certificates, key_pem, signing_request, take_up_key
from agent_stub.model import Credentials, Identity
from epm.device.v1 import agent_pb2, agent_pb2_grpc

DEADLINE_SECONDS = 30.0
POLICY_KEY_LENGTH = 32
# What else the server refuses it says with the remedy.
_REMEDIES = {
    grpc.StatusCode.UNAVAILABLE: "check the address, that the server runs, and that {authority}",
    grpc.StatusCode.INVALID_ARGUMENT: "correct what it names and try again",
    grpc.StatusCode.DEADLINE_EXCEEDED: "try again; the same key will be used",
}


class EnrolmentError(Exception):
    """The device was not enrolled; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the operator gives."""

    server: str
    ca: bytes | None
    """None: the CA is the one whose fingerprint the token carries."""
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
    fingerprint, authorities = _authorities(enrolment)
    key = take_up_key(folder / identity_store.KEY)
    response = _ask(enrolment, authorities, _request(enrolment, key))
    if problems := list(_problems(response, key, fingerprint)):
        raise EnrolmentError(f"the server {enrolment.server} sent an answer that does not fit: {'; '.join(problems)}")
    identity = _identity(response, enrolment.device_name)
    credentials = Credentials(
        key=key_pem(key), certificate=response.certificate_pem.encode(), ca=response.ca_pem.encode()
    )
    try:
        identity_store.save(folder, identity, credentials)
    except OSError as error:
        raise StateError(
            f"state folder {folder}: cannot be written ({error.strerror}); make room and try again"
        ) from error
    return identity


def _authorities(enrolment: Enrolment) -> tuple[bytes | None, bytes]:
    """Give the fingerprint that the token carries, if it does, and the certificates that its server is verified by."""
    try:
        fingerprint = fingerprint_of(enrolment.token)
        if enrolment.ca is None and fingerprint is not None:
            return fingerprint, find_authority(enrolment.server, fingerprint, deadline_seconds=DEADLINE_SECONDS)
    except FirstContactError as error:
        raise EnrolmentError(str(error)) from error
    if enrolment.ca is None:
        raise EnrolmentError(
            "the enrolment token does not say which CA the installation has; copy the token whole, or give --ca"
        )
    try:
        certificates(enrolment.ca)
    except ValueError as error:
        raise EnrolmentError(
            "--ca holds no PEM certificate; give the certificate of the installation's CA, `ca/ca.crt` of its server"
        ) from error
    return fingerprint, enrolment.ca


def _request(enrolment: Enrolment, key: ec.EllipticCurvePrivateKey) -> agent_pb2.EnrollRequest:
    return agent_pb2.EnrollRequest(
        token=enrolment.token,
        csr_pem=signing_request(key, enrolment.device_name),
        device_name=enrolment.device_name,
        facts=enrolment.facts,
    )


def _ask(enrolment: Enrolment, authorities: bytes, request: agent_pb2.EnrollRequest) -> agent_pb2.EnrollResponse:
    credentials = grpc.ssl_channel_credentials(root_certificates=authorities)
    with grpc.secure_channel(enrolment.server, credentials) as channel:
        stub = agent_pb2_grpc.EnrolmentServiceStub(channel)
        try:
            return stub.Enroll(request, timeout=DEADLINE_SECONDS)
        except grpc.RpcError as error:
            raise EnrolmentError(_refusal(enrolment, error)) from None


def _refusal(enrolment: Enrolment, error: object) -> str:
    server = enrolment.server
    if not isinstance(error, grpc.Call):
        return f"the server {server} cannot be reached"
    named = "its certificate is of the CA that the token names, and for this address"
    authority = named if enrolment.ca is None else "--ca is the authority of its certificate"
    remedy = _REMEDIES.get(error.code(), "").format(authority=authority)
    return f"the server {server} did not enrol the device: {error.details()}{remedy and '; '}{remedy}"


def _problems(
    response: agent_pb2.EnrollResponse, key: ec.EllipticCurvePrivateKey, fingerprint: bytes | None
) -> Iterator[str]:
    """Say all that keeps the answer from being an identity for this key."""
    names = ("device_id", "trust_domain", "policy_address", "reporting_address", "device_address")
    yield from (f"{name} is missing" for name in names if not getattr(response, name))
    if not response.policy_keys:
        yield "policy_keys is empty"
    if any(len(one.public_key) != POLICY_KEY_LENGTH or not one.key_id for one in response.policy_keys):
        yield "policy_keys holds what is no Ed25519 key"
    name = f"spiffe://{response.trust_domain}/device/{response.device_id}"
    found = list(certificate_problems(response.certificate_pem, response.ca_pem, key, name))
    yield from found
    if not found and fingerprint is not None and not holds(response.ca_pem.encode(), fingerprint):
        yield "ca_pem does not hold the CA that the enrolment token names"


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
