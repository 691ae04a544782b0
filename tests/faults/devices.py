"""Devices of the test's own, which speak to a server process as agents do, call by call."""

from collections.abc import Sequence
from typing import Any

import grpc

from epm.device.v1 import agent_pb2, agent_pb2_grpc
from services._chassis import pki
from tests.builders.device_service import FACTS, EnrolledDevice
from tests.builders.doors import device_request
from tests.builders.installation import PATIENCE, Installation


def token(house: Installation, quota: int) -> str:
    """Create an enrolment token and give its text."""
    created = house.must("epm", "enrolment-token", "create", "--quota", str(quota), "--output", "json").json()
    return str(created["secret"])


def enrol(house: Installation, secret: str, name: str, request: tuple[bytes, bytes] | None = None) -> EnrolledDevice:
    """Enrol a device over a connection of its own; its key and CSR are fresh ones unless they are given."""
    key, csr = request or device_request()
    asked = agent_pb2.EnrollRequest(token=secret, csr_pem=csr.decode(), device_name=name, facts=FACTS)
    credentials = grpc.ssl_channel_credentials(house.ca.read_bytes())
    with grpc.secure_channel(house.server, credentials) as channel:
        stub: Any = agent_pb2_grpc.EnrolmentServiceStub(channel)
        answer = stub.Enroll(asked, timeout=PATIENCE)
    return EnrolledDevice(answer, pki.Issued(answer.certificate_pem.encode(), key))


def renew(house: Installation, device: EnrolledDevice, request: tuple[bytes, bytes]) -> EnrolledDevice:
    """Renew the certificate of a device for the key and CSR that are given."""
    key, csr = request
    answer = _call(house, device, "RenewCertificate", agent_pb2.RenewCertificateRequest(csr_pem=csr.decode()))
    return device.renewed(answer.certificate_pem, key)


def check_in(house: Installation, device: EnrolledDevice) -> None:
    """Check in by the certificate of a device."""
    _call(house, device, "CheckIn", agent_pb2.CheckInRequest(facts=FACTS))


def _call(house: Installation, device: EnrolledDevice, method: str, request: object) -> Any:
    credentials = grpc.ssl_channel_credentials(house.ca.read_bytes(), device.identity.key, device.identity.certificate)
    with grpc.secure_channel(house.mesh, credentials) as channel:
        return getattr(agent_pb2_grpc.DeviceAgentServiceStub(channel), method)(request, timeout=PATIENCE)


def history(house: Installation, name: str, kind: str) -> Sequence[Any]:
    """Give what happened to a device, of one kind, the first first."""
    told = house.must("epm", "devices", "history", name, "--limit", "0", "--output", "json").json()
    return [entry for entry in reversed(told) if entry["kind"] == kind]
