"""The device service as it really is put together, behind real doors; who may do what is said by the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from epm.device.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    groups_pb2_grpc,
    lifecycle_pb2,
    lifecycle_pb2_grpc,
)
from services._chassis import pki
from services._chassis.certificates import described
from services._chassis.server import Host
from services.device.__main__ import build
from tests.builders.doors import OpenDoors, authority, bearer, device_request, service_identity, settings_for
from tests.builders.migrated import put_databases
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from epm.device.v1.agent_pb2_grpc import DeviceAgentServiceAsyncStub, EnrolmentServiceAsyncStub
    from epm.device.v1.devices_pb2_grpc import DeviceServiceAsyncStub
    from epm.device.v1.groups_pb2_grpc import GroupServiceAsyncStub
    from epm.device.v1.lifecycle_pb2_grpc import DirectoryServiceAsyncStub

FACTS = agent_pb2.DeviceFacts(os="linux", os_version="6.1", architecture="x86_64", agent_version="0.1.0")
FOR_EVER = timedelta(days=3650)


@dataclass
class EnrolledDevice:
    """Hold a device as it knows itself after its enrolment."""

    answer: agent_pb2.EnrollResponse
    identity: pki.Issued

    @property
    def device_id(self) -> str:
        """Return the identifier that the service gave."""
        return self.answer.device_id

    @property
    def serial(self) -> str:
        """Return the serial number of the certificate."""
        return described(self.identity.certificate).serial

    def renewed(self, certificate: str, key: bytes) -> "EnrolledDevice":
        """Return the device with another certificate."""
        return EnrolledDevice(self.answer, pki.Issued(certificate.encode(), key))


class DeviceService:
    """Reach the service from all sides."""

    def __init__(self, doors: OpenDoors, public: grpc.aio.Channel, access: FakeAccess, clock: FakeClock) -> None:
        self.doors = doors
        self.access = access
        self.clock = clock
        self.owner = bearer(access.owner())
        self.devices: DeviceServiceAsyncStub = devices_pb2_grpc.DeviceServiceStub(public)
        self.groups: GroupServiceAsyncStub = groups_pb2_grpc.GroupServiceStub(public)
        self.enrolment: EnrolmentServiceAsyncStub = agent_pb2_grpc.EnrolmentServiceStub(public)

    def may(self, *rights: str, tags: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
        """Return the metadata of an administrator who has the rights, over objects with these tags."""
        return bearer(self.access.grant(f"user:may-{'-'.join(rights)}", rights, scope_tags=tags))

    async def token(self, **values: object) -> str:
        """Return the text of a new enrolment token."""
        wanted = devices_pb2.EnrolmentToken(**{"quota": 100, **values})  # type: ignore[arg-type]
        request = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=wanted)
        return (await self.devices.CreateEnrolmentToken(request, metadata=self.owner)).secret

    async def enrol(
        self, name: str = "ws-17", *, token: str = "", facts: agent_pb2.DeviceFacts = FACTS
    ) -> EnrolledDevice:
        """Enrol a device with a key of its own."""
        key, csr = device_request()
        request = agent_pb2.EnrollRequest(
            token=token or await self.token(), csr_pem=csr.decode(), device_name=name, facts=facts
        )
        answer = await self.enrolment.Enroll(request)
        return EnrolledDevice(answer, pki.Issued(answer.certificate_pem.encode(), key))

    async def device(self, device: str = "ws-17") -> devices_pb2.Device:
        """Return the device as an Owner sees it."""
        request = devices_pb2.GetDeviceRequest(device=device)
        return (await self.devices.GetDevice(request, metadata=self.owner)).device

    async def retire(self, device_id: str) -> None:
        """Retire the device."""
        await self.devices.RetireDevice(devices_pb2.RetireDeviceRequest(device_id=device_id), metadata=self.owner)

    async def check_in(
        self,
        identity: pki.Issued,
        *,
        named: str = "",
        facts: agent_pb2.DeviceFacts = FACTS,
        component: "agent_pb2.ComponentState.ValueType" = agent_pb2.COMPONENT_STATE_UNSPECIFIED,
    ) -> agent_pb2.CheckInResponse:
        """Check in with a certificate."""
        async with self.doors.mesh(identity) as channel:
            stub: DeviceAgentServiceAsyncStub = agent_pb2_grpc.DeviceAgentServiceStub(channel)
            return await stub.CheckIn(agent_pb2.CheckInRequest(device_id=named, facts=facts, component=component))

    async def renew(self, device: EnrolledDevice, request: tuple[bytes, bytes] | None = None) -> EnrolledDevice:
        """Renew the certificate of a device, with a new key unless the test gives one with its request."""
        key, csr = request or device_request()
        async with self.doors.mesh(device.identity) as channel:
            stub: DeviceAgentServiceAsyncStub = agent_pb2_grpc.DeviceAgentServiceStub(channel)
            answer = await stub.RenewCertificate(agent_pb2.RenewCertificateRequest(csr_pem=csr.decode()))
        return device.renewed(answer.certificate_pem, key)

    async def sight(self, *sightings: lifecycle_pb2.Sighting, by: str = "policy") -> None:
        """Tell as a service what was seen of devices."""
        async with self.as_service(by) as directory:
            await directory.ReportSightings(lifecycle_pb2.ReportSightingsRequest(sightings=sightings))

    async def report(self, *states: lifecycle_pb2.SettingsState, by: str = "policy") -> None:
        """Report settings states as a service."""
        async with self.as_service(by) as directory:
            await directory.ReportSettingsStates(lifecycle_pb2.ReportSettingsStatesRequest(states=states))

    async def report_used(self, *groups: lifecycle_pb2.UsedGroup, revision: int = 1, by: str = "policy") -> None:
        """Report as a service which groups policies are assigned to."""
        async with self.as_service(by) as directory:
            await directory.ReportUsedGroups(lifecycle_pb2.ReportUsedGroupsRequest(groups=groups, revision=revision))

    @asynccontextmanager
    async def as_service(self, name: str = "policy") -> AsyncIterator["DirectoryServiceAsyncStub"]:
        """Reach the directory as a service."""
        async with self.doors.mesh(service_identity(name)) as channel:
            yield self.directory_stub(channel)

    @staticmethod
    def directory_stub(channel: grpc.aio.Channel) -> "DirectoryServiceAsyncStub":
        """Call the directory on a channel to the mesh door."""
        return lifecycle_pb2_grpc.DirectoryServiceStub(channel)


@asynccontextmanager
async def device_service(
    folder: Path, *, clock: FakeClock | None = None, **values: object
) -> AsyncIterator[DeviceService]:
    """Run the service until the block ends; its clock begins at the real time, which certificates are checked by.

    Two on one folder are two replicas, or the same service before and after a restart.
    """
    clock = clock or FakeClock(datetime.now(UTC))
    put_databases(folder)
    settings = settings_for(folder, **{**_files(folder), "access_bound": FOR_EVER, **values})
    host = Host(settings, clock=clock)
    parts = await build(host.bind(), clock)
    access = FakeAccess(clock)
    access.control = parts.access
    host.add(parts)
    await host.start()
    doors = OpenDoors(host, host.settings)
    try:
        async with doors.public() as public:
            yield DeviceService(doors, public, access, clock)
    finally:
        await host.stop()


def _files(folder: Path) -> dict[str, object]:
    keys = folder / "keys"
    if not keys.exists():
        keys.mkdir()
        (keys / "ca.key").write_bytes(pki.private_pem(authority().key))
        (keys / "signing.key").write_bytes(pki.create_signing_key())
        signing = pki.load_signing_key(keys / "signing.key")
        (keys / "signing.pub").write_bytes(pki.public_pem(signing.public_key()))
    return {"ca_key_file": keys / "ca.key", "policy_public_keys_file": keys / "signing.pub"}
