"""The service as `build` puts it together, twice on one database: what is authored at one is pushed by the other."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from epm.elevation.v1 import settings_pb2
from epm.policy.v1 import agent_pb2, agent_pb2_grpc, policies_pb2, policies_pb2_grpc
from services._chassis import pki
from services._chassis.config import CertificateFiles
from services._chassis.run import Build, running
from services.policy.__main__ import build as build_policy
from services.rbac.__main__ import build as build_rbac
from tests.builders.doors import OpenDoors, bearer, device_identity, service_identity, settings_for
from tests.builders.policy_streams import KEY, Stream
from tests.fakes.device_directory import FakeDeviceService, entry


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
    devices = FakeDeviceService(entry("d1"))
    builds: dict[str, Build] = {"rbac": build_rbac, "device": devices.build, "policy": build_policy}
    async with running(settings_for(tmp_path, **values), builds) as here:
        await here.wait_until_serving()
        mesh = here.settings.mesh_address
        apart = {"data_dir": tmp_path / "there", "rbac_address": mesh, "device_address": mesh}
        async with running(settings_for(tmp_path, **values, **apart), {"policy": build_policy}) as there:
            await there.wait_until_serving()
            owner = bearer((tmp_path / "owner-token").read_text().strip())
            yield Installation(OpenDoors(here, here.settings), OpenDoors(there, there.settings), devices, owner)


def workstations(*, enabled: bool) -> policies_pb2.ApplyPoliciesRequest:
    return policies_pb2.ApplyPoliciesRequest(
        settings_policies=[
            policies_pb2.SettingsPolicy(
                metadata=policies_pb2.Metadata(name="workstations"),
                settings=settings_pb2.ElevationSettings(
                    enabled=enabled, default_response=settings_pb2.DEFAULT_RESPONSE_DENY
                ),
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
