"""The device service as a process runs it: beside rbac, on a data folder with a CA, over its own doors."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from epm.device.v1 import agent_pb2, agent_pb2_grpc, devices_pb2, devices_pb2_grpc
from services._chassis import pki
from services._chassis.config import ServiceSettings
from services._chassis.errors import StateError
from services._chassis.files import make_private_folder, write_private
from services._chassis.run import running
from services.device import __main__ as device
from services.rbac import __main__ as rbac
from tests.builders.device_service import FACTS
from tests.builders.doors import bearer, device_request


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    """Return settings on a data folder that holds what a first start makes."""
    folder = tmp_path / "data"
    make_private_folder(folder)
    now = datetime.now(UTC)
    authority, files = pki.create_authority(now=now)
    write_private(folder / "ca" / "ca.key", files.key)
    write_private(folder / "ca" / "ca.crt", files.certificate)
    pki.write_issued(pki.issue_server(authority, (), now=now), folder / "certs", "server")
    for service in ("rbac", "device"):
        issued = pki.issue_service(authority, service, (), trust_domain="openepm", now=now)
        pki.write_issued(issued, folder / "certs", service)
    write_private(folder / "keys" / "policy-signing.key", pki.create_signing_key())
    signing = pki.load_signing_key(folder / "keys" / "policy-signing.key")
    write_private(folder / "keys" / "policy-signing.pub", pki.public_pem(signing.public_key()))
    return ServiceSettings(data_dir=folder, public_port=0, mesh_port=0, drain_grace=timedelta())


def credentials(settings: ServiceSettings, identity: pki.Issued | None = None) -> grpc.ChannelCredentials:
    pair = (identity.key, identity.certificate) if identity else (None, None)
    return grpc.ssl_channel_credentials(settings.ca.read_bytes(), *pair)


async def test_an_owner_lets_a_device_in_and_sees_it_check_in(settings: ServiceSettings) -> None:
    async with running(settings, {"rbac": rbac.build, "device": device.build}) as host:
        await host.wait_until_serving()
        owner = bearer((settings.data_dir / "owner-token").read_text().strip())
        async with grpc.aio.secure_channel(host.settings.public_address, credentials(settings)) as public:
            devices = devices_pb2_grpc.DeviceServiceStub(public)
            wanted = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=devices_pb2.EnrolmentToken(quota=1))
            token = await devices.CreateEnrolmentToken(wanted, metadata=owner)
            key, csr = device_request()
            answer = await agent_pb2_grpc.EnrolmentServiceStub(public).Enroll(
                agent_pb2.EnrollRequest(token=token.secret, csr_pem=csr.decode(), device_name="ws-17", facts=FACTS)
            )
            mine = pki.Issued(answer.certificate_pem.encode(), key)
            async with grpc.aio.secure_channel(answer.device_address, credentials(settings, mine)) as mesh:
                await agent_pb2_grpc.DeviceAgentServiceStub(mesh).CheckIn(agent_pb2.CheckInRequest(facts=FACTS))
            seen = await devices.GetDevice(devices_pb2.GetDeviceRequest(device="ws-17"), metadata=owner)
    assert seen.device.device_id == answer.device_id
    assert seen.device.HasField("last_check_in")


async def test_the_directory_outlives_a_restart(settings: ServiceSettings) -> None:
    builds = {"rbac": rbac.build, "device": device.build}
    listed: list[int] = []
    for _ in range(2):
        async with running(settings, builds) as host:
            await host.wait_until_serving()
            owner = bearer((settings.data_dir / "owner-token").read_text().strip())
            async with grpc.aio.secure_channel(host.settings.public_address, credentials(settings)) as public:
                devices = devices_pb2_grpc.DeviceServiceStub(public)
                wanted = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=devices_pb2.EnrolmentToken(quota=1))
                await devices.CreateEnrolmentToken(wanted, metadata=owner)
                tokens = await devices.ListEnrolmentTokens(devices_pb2.ListEnrolmentTokensRequest(), metadata=owner)
                listed.append(len(tokens.enrolment_tokens))
    assert listed == [1, 2]


@pytest.mark.parametrize("missing", ["ca/ca.key", "keys/policy-signing.pub"])
async def test_a_start_without_what_it_needs_names_the_file(settings: ServiceSettings, missing: str) -> None:
    (settings.data_dir / missing).unlink()
    with pytest.raises(StateError, match=missing):
        await device.build(settings)
