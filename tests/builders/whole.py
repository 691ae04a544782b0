"""All four services in one process, as `epm serve` composes them, and administrators of any kind who call them over TLS."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf.message import Message

from epm.device.v1 import agent_pb2, agent_pb2_grpc, devices_pb2, devices_pb2_grpc
from epm.policy.v1 import requests_pb2, requests_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis import pki
from services._chassis.access import AccessControl
from services._chassis.config import ServiceSettings
from services._chassis.run import running
from services._chassis.server import Host
from services.allinone import builds, init_data_dir
from tests.builders.device_service import FACTS, EnrolledDevice
from tests.builders.doors import bearer, device_request
from tests.builders.migrated import put_databases

if TYPE_CHECKING:
    from epm.device.v1.agent_pb2_grpc import EnrolmentServiceAsyncStub
    from epm.device.v1.devices_pb2_grpc import DeviceServiceAsyncStub
    from epm.policy.v1.requests_pb2_grpc import ElevationRequestServiceAsyncStub

Metadata = Sequence[tuple[str, str]]
PATIENCE = 30.0
"""Seconds that the start of all services may take on a busy machine."""


@dataclass
class Whole:
    """Reach an installation from the public side."""

    host: Host
    public: grpc.aio.Channel
    owner: Metadata
    tokens: dict[str, Metadata] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def rbac(self) -> "rbac_pb2_grpc.RbacServiceAsyncStub":
        """Call the rbac service."""
        return rbac_pb2_grpc.RbacServiceStub(self.public)

    def ca(self) -> bytes:
        """Return the certificate of the installation's own CA."""
        return self.host.settings.ca.read_bytes()

    @asynccontextmanager
    async def mesh(self, identity: pki.Issued) -> AsyncIterator[grpc.aio.Channel]:
        """Open a channel to the mesh door as a device."""
        credentials = grpc.ssl_channel_credentials(self.ca(), identity.key, identity.certificate)
        async with grpc.aio.secure_channel(self.host.settings.mesh_address, credentials) as channel:
            yield channel

    async def hire(
        self,
        name: str,
        role: str | Iterable[str] = (),
        *,
        groups: Iterable[str] = (),
        tags: Iterable[str] = (),
        part: str = "",
    ) -> Metadata:
        """Give somebody a role, built in or made of rights, and return what their calls carry.

        A `part` makes one of several assignments of the same person. Nobody is waited for: see `settled`.
        """
        given = f"{name} {part}".strip()
        made = [] if isinstance(role, str) else [rbac_pb2.Role(name=f"role of {given}", rights=sorted(role))]
        assignment = rbac_pb2.RoleAssignment(
            name=given,
            role=role if isinstance(role, str) else f"role of {given}",
            members=[f"user:{name}"],
            scope_groups=groups,
            scope_tags=tags,
        )
        if role:
            request = rbac_pb2.ApplyAccessRequest(
                roles=made,
                scope_tags=[rbac_pb2.ScopeTag(name=tag) for tag in tags if tag != "default"],
                role_assignments=[assignment],
            )
            await self.rbac.ApplyAccess(request, metadata=self.owner)
        return await self.token(name)

    async def token(self, name: str) -> Metadata:
        """Return what the calls of somebody carry: one token for each name."""
        if name not in self.tokens:
            request = rbac_pb2.IssueTokenRequest(principal=f"user:{name}")
            issued = await self.rbac.IssueToken(request, metadata=self.owner)
            self.tokens[name] = bearer(issued.secret)
        return self.tokens[name]

    async def enrolment_token(
        self, who: Metadata, *, quota: int = 1, **values: object
    ) -> devices_pb2.CreateEnrolmentTokenResponse:
        """Make an enrolment token as somebody."""
        wanted = devices_pb2.EnrolmentToken(quota=quota, **values)  # type: ignore[arg-type]
        request = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=wanted)
        devices: DeviceServiceAsyncStub = devices_pb2_grpc.DeviceServiceStub(self.public)
        return await devices.CreateEnrolmentToken(request, metadata=tuple(who))

    async def enrol(
        self, name: str = "ws-17", token: devices_pb2.CreateEnrolmentTokenResponse | None = None
    ) -> EnrolledDevice:
        """Enrol a device with a key of its own."""
        secret = (token or await self.enrolment_token(self.owner)).secret
        key, csr = device_request()
        request = agent_pb2.EnrollRequest(token=secret, csr_pem=csr.decode(), device_name=name, facts=FACTS)
        stub: EnrolmentServiceAsyncStub = agent_pb2_grpc.EnrolmentServiceStub(self.public)
        found = await stub.Enroll(request)
        return EnrolledDevice(found, pki.Issued(found.certificate_pem.encode(), key))

    def next_number(self) -> int:
        """Return a number that nobody had."""
        return next(self._numbers)

    async def settled(self) -> None:
        """Return once every service checks by what the rbac service knows now."""
        checks = {part.name: part.access for part in self.host._parts}
        wanted = checks["rbac"].revision
        await asyncio.gather(*(_reached(access, wanted) for access in checks.values()))


@asynccontextmanager
async def whole(folder: Path, **values: object) -> AsyncIterator[Whole]:
    """Run a fresh installation until the block ends."""
    chosen: dict[str, object] = {"public_port": 0, "mesh_port": 0, "drain_grace": timedelta(), **values}
    settings = ServiceSettings(data_dir=folder, **chosen)  # type: ignore[arg-type]
    put_databases(folder)
    async with running(settings, builds(), partial(init_data_dir, settings)) as host:
        await host.wait_until_serving()
        credentials = grpc.ssl_channel_credentials(host.settings.ca.read_bytes())
        async with grpc.aio.secure_channel(host.settings.public_address, credentials) as public:
            owner = bearer((folder / "owner-token").read_text().strip())
            await _told(public, owner)
            yield Whole(host, public, owner)


async def answer(channel: grpc.aio.Channel, path: str, request: Message | bytes, metadata: Metadata) -> bytes:
    """Call a method by its path, whatever shape it has, and return its first answer as it travels; b"" if there is none."""
    sent = request if isinstance(request, bytes) else request.SerializeToString()
    method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
    call = method(sent, metadata=tuple(metadata), timeout=30)
    async for first in call:
        call.cancel()
        return first
    return b""


async def _told(public: grpc.aio.Channel, owner: Metadata) -> None:
    """Return once the policy service knows devices and groups: till then it refuses most of what is asked."""
    stub: ElevationRequestServiceAsyncStub = requests_pb2_grpc.ElevationRequestServiceStub(public)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await stub.ListElevationRequests(requests_pb2.ListElevationRequestsRequest(), metadata=tuple(owner))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            else:
                return


async def _reached(access: AccessControl, revision: int) -> None:
    known = asyncio.Event()
    access.on_change.append(known.set)
    try:
        while access.revision < revision:
            known.clear()
            await known.wait()
    finally:
        access.on_change.remove(known.set)
