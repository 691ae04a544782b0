"""The service as `build` puts it together, twice on one database: what is authored at one is pushed by the other."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from elevation.document import PolicyDocument
from epm.elevation.v1 import event_pb2, rules_pb2, settings_pb2
from epm.policy.v1 import agent_pb2, agent_pb2_grpc, policies_pb2, policies_pb2_grpc, requests_pb2, requests_pb2_grpc
from services._chassis import pki
from services._chassis.config import CertificateFiles
from services._chassis.run import Build, running
from services.policy.__main__ import build as build_policy
from services.policy.usecases.delivery import CAPABILITY
from services.policy.usecases.requests.post import CAPABILITY as OUTCOMES
from services.rbac.__main__ import build as build_rbac
from tests.builders.approvals import submission
from tests.builders.doors import OpenDoors, bearer, device_identity, service_identity, settings_for
from tests.builders.policy_streams import KEY, Stream
from tests.fakes.device_directory import FakeDeviceService, entry

SETUP = event_pb2.FileFacts(path="C:\\Tools\\setup.exe", sha256="ab" * 32)


@dataclass
class Installation:
    """Two processes: `here` runs rbac, the device service and policy, `there` policy alone."""

    here: OpenDoors
    there: OpenDoors
    devices: FakeDeviceService
    owner: tuple[tuple[str, str], ...]


@pytest.fixture
async def installation(tmp_path: Path, database_url: str) -> AsyncIterator[Installation]:
    files = CertificateFiles(tmp_path / "certs" / "policy.crt", tmp_path / "certs" / "policy.key")
    pki.write_issued(service_identity("policy"), tmp_path / "certs", "policy")
    key = tmp_path / "policy-signing.key"
    key.write_bytes(pki.private_pem(KEY))
    values = {"service_certificate": files, "signing_key_file": key, "database_url": database_url}
    devices = FakeDeviceService(entry("d1", "alice"))
    builds: dict[str, Build] = {"rbac": build_rbac, "device": devices.build, "policy": build_policy}
    async with running(settings_for(tmp_path, **values), builds) as here:
        await here.wait_until_serving()
        mesh = here.settings.mesh_address
        apart = {"data_dir": tmp_path / "there", "rbac_address": mesh, "device_address": mesh}
        async with running(settings_for(tmp_path, **values, **apart), {"policy": build_policy}) as there:
            await there.wait_until_serving()
            owner = bearer((tmp_path / "owner-token").read_text().strip())
            yield Installation(OpenDoors(here, here.settings), OpenDoors(there, there.settings), devices, owner)


def workstations(
    *, enabled: bool, response: "settings_pb2.DefaultResponse.ValueType" = settings_pb2.DEFAULT_RESPONSE_DENY
) -> policies_pb2.ApplyPoliciesRequest:
    return policies_pb2.ApplyPoliciesRequest(
        settings_policies=[
            policies_pb2.SettingsPolicy(
                metadata=policies_pb2.Metadata(name="workstations"),
                settings=settings_pb2.ElevationSettings(enabled=enabled, default_response=response),
                assignments=policies_pb2.Assignments(include=[policies_pb2.IncludedGroup(group="all-devices")]),
            )
        ]
    )


async def test_what_is_authored_at_one_process_is_pushed_by_the_other_and_its_state_is_told(
    installation: Installation,
) -> None:
    async with (
        installation.here.public() as administrators,
        installation.there.mesh(device_identity("d1")) as devices,
    ):
        authoring = policies_pb2_grpc.PolicyServiceStub(administrators)
        stream = Stream("d1", agent_pb2_grpc.PolicyStreamServiceStub(devices).StreamPolicy())
        await stream.hello()
        assert (await stream.apply()).revision == 1
        await installation.devices.until("NONE", acknowledged=True)
        await authoring.ApplyPolicies(workstations(enabled=True), metadata=installation.owner)
        offer, manifest, document = await stream.offer()
        assert (manifest.revision, document.any_user.settings is not None) == (2, True)
        await installation.devices.until("ON", acknowledged=False)
        await stream.acknowledge(offer, manifest.revision)
        await installation.devices.until("ON", acknowledged=True)
        states = await authoring.ListDevicePolicyStates(
            policies_pb2.ListDevicePolicyStatesRequest(), metadata=installation.owner
        )
    assert [(state.device_name, state.applied_revision, state.connected) for state in states.states] == [
        ("D1", 2, True)
    ]


async def test_the_device_service_is_told_which_groups_policies_are_assigned_to(installation: Installation) -> None:
    async with installation.there.public() as administrators:
        authoring = policies_pb2_grpc.PolicyServiceStub(administrators)
        await authoring.ApplyPolicies(workstations(enabled=True), metadata=installation.owner)
        await installation.devices.until_used("all-devices")
        deletion = policies_pb2.DeleteSettingsPolicyRequest(name="workstations")
        await authoring.DeleteSettingsPolicy(deletion, metadata=installation.owner)
        await installation.devices.until_used()
        assert installation.devices.used.revision == 2


async def test_a_stream_at_one_process_supersedes_the_one_at_the_other(installation: Installation) -> None:
    async with (
        installation.here.public() as administrators,
        installation.here.mesh(device_identity("d1")) as first,
        installation.there.mesh(device_identity("d1")) as second,
    ):
        older = Stream("d1", agent_pb2_grpc.PolicyStreamServiceStub(first).StreamPolicy())
        await older.hello()
        held = await older.apply()
        await installation.devices.until("NONE", acknowledged=True)
        newer = Stream("d1", agent_pb2_grpc.PolicyStreamServiceStub(second).StreamPolicy())
        await newer.hello(held)
        await newer.confirmed()
        authoring = policies_pb2_grpc.PolicyServiceStub(administrators)
        await authoring.ApplyPolicies(workstations(enabled=False), metadata=installation.owner)
        assert (await older.sent_away()).reason == agent_pb2.GO_AWAY_REASON_SUPERSEDED
        assert (await newer.apply()).revision == 2
        await installation.devices.until("OFF", acknowledged=True)


async def test_an_approval_at_one_process_reaches_the_device_at_the_other_within_two_seconds(
    installation: Installation,
) -> None:
    async with (
        installation.here.public() as administrators,
        installation.here.mesh(device_identity("d1")) as asking,
        installation.there.mesh(device_identity("d1")) as streaming,
    ):
        policies = policies_pb2_grpc.PolicyServiceStub(administrators)
        approving = workstations(enabled=True, response=settings_pb2.DEFAULT_RESPONSE_SUPPORT_APPROVED)
        await policies.ApplyPolicies(approving, metadata=installation.owner)
        stream = Stream("d1", agent_pb2_grpc.PolicyStreamServiceStub(streaming).StreamPolicy())
        await stream.hello(capabilities=(CAPABILITY, OUTCOMES))
        document = await _applied(stream)
        while document.any_user.settings is None:
            document = await _applied(stream)
        made = await requests_pb2_grpc.DeviceRequestServiceStub(asking).SubmitElevationRequest(
            submission(platform=rules_pb2.PLATFORM_WINDOWS, file=SETUP)
        )
        support = requests_pb2_grpc.ElevationRequestServiceStub(administrators)
        approval = requests_pb2.ApproveElevationRequestRequest(id=made.request.id)
        async with asyncio.timeout(2):
            await support.ApproveElevationRequest(approval, metadata=installation.owner)
            offer, manifest, document = await stream.offer()
            response = await stream.read()
        await stream.acknowledge(offer, manifest.revision)
        assert [grant.id for grant in document.grants] == [made.request.id]
        assert response.outcome.request.state == requests_pb2.ELEVATION_REQUEST_STATE_APPROVED


async def _applied(stream: Stream) -> PolicyDocument:
    """Take the next document."""
    offer, manifest, document = await stream.offer()
    await stream.acknowledge(offer, manifest.revision)
    return document
