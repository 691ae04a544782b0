"""The agent whole: what its servers hear of its component, its runs and its certificate."""

import asyncio
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
import pytest
from cryptography import x509

from agent_stub import identity_store
from agent_stub.files import StateDisk
from agent_stub.identity_store import CandidateStore
from agent_stub.renewal import Certificates
from agent_stub.system import VERSION
from agent_stub.users import SeenUsers, login_accounts
from epm.device.v1 import agent_pb2 as device_pb2
from tests.fakes.agent import DEVICE_ID, document
from tests.unit.agent.programs import PATIENCE
from tests.unit.agent.whole import CONFIRMED, Device


async def test_a_device_tells_what_it_is_and_who_uses_it(device: Device) -> None:
    async with device.runs():
        check_in = await asyncio.wait_for(device.servers.device.check_ins.get(), PATIENCE)
    (request,) = device.servers.device.requests
    assert (check_in.device_id, check_in.facts.os, check_in.facts.agent_version) == (DEVICE_ID, "linux", VERSION)
    assert list(check_in.facts.users) == list(request.facts.users) == SeenUsers(login_accounts).report()


async def test_the_component_goes_with_the_settings_and_the_agent_stays(device: Device) -> None:
    async with device.runs() as process:
        device.offers(document(settings=CONFIRMED), 1)
        await process.says("component_provisioned")
        device.offers(document(settings=None), 2)
        await process.says("component_removed")
        done = await device.elevates()
        assert (done.code, "without one there is no elevation here" in done.errors) == (4, True)
        assert not (await device.status())["component"]["stands"]
        device.offers(replace(document(settings=None), deprovision_time=datetime.now(UTC) + timedelta(days=7)), 3)
        await process.says("component_provisioned")


async def test_the_server_hears_at_once_that_the_component_came_or_went(device: Device) -> None:
    async with device.runs():
        assert await device.component() == device_pb2.COMPONENT_STATE_ABSENT
        device.offers(document(settings=CONFIRMED), 1)
        assert await device.component() == device_pb2.COMPONENT_STATE_PRESENT
        device.offers(document(settings=None), 2)
        assert await device.component() == device_pb2.COMPONENT_STATE_ABSENT
        device.offers(document(settings=CONFIRMED), 3)
        assert await device.component() == device_pb2.COMPONENT_STATE_PRESENT
    async with device.runs():
        assert await device.component() == device_pb2.COMPONENT_STATE_PRESENT


async def test_a_component_whose_time_is_over_while_the_agent_is_off_is_gone_before_anything_connects(
    device: Device,
) -> None:
    over = datetime.now(UTC) - timedelta(seconds=1)
    offer = device.servers.installation.offer(replace(document(settings=None), deprovision_time=over), 1)
    (device.state / "policy").write_bytes(offer.SerializeToString())
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(device.state / "agent.sock"))
    async with device.runs():
        assert await device.component() == device_pb2.COMPONENT_STATE_ABSENT
        assert not (device.state / "agent.sock").exists()
        assert (await device.status())["policy"]["revision"] == 1


async def test_every_run_of_the_agent_has_a_name_of_its_own_and_names_the_users(device: Device) -> None:
    runs = set()
    for _ in range(2):
        async with device.runs():
            hello = (await asyncio.wait_for(device.servers.policy.said.get(), PATIENCE)).hello
        runs.add(hello.run_id)
        assert list(hello.users) == SeenUsers(login_accounts).report()
    assert (len(runs), "" in runs) == (2, False)


async def test_a_renewed_certificate_is_in_use_at_once_and_no_event_is_lost(device: Device) -> None:
    house = device.servers.installation
    credentials = house.credentials(lifetime=timedelta(minutes=1))  # half of which is over
    (device.state / "key.pem").write_bytes(credentials.key)
    (device.state / "certificate.pem").write_bytes(credentials.certificate)
    device.servers.device.refusal = (grpc.StatusCode.UNAVAILABLE, "not now")
    device.servers.events.commits = False
    async with device.runs() as process:
        device.offers(document(settings=CONFIRMED), 1)
        await process.says("component_provisioned")
        assert (await device.elevates()).code == 0
        (first,) = (await device.batch()).entries
        assert "not renewed: UNAVAILABLE: not now" in (await device.status())["certificate"]["problem"]
        device.servers.device.refusal = None
        device.servers.events.commits = True
        await process.says("certificate_promoted")
        (again,) = (await device.batch()).entries
        assert again.event.event_id == first.event.event_id
        status = await device.status()
        assert (status["certificate"]["problem"], status["policy"]["revision"]) == ("", 1)
    old = x509.load_pem_x509_certificate(credentials.certificate).serial_number
    assert device.servers.policy.serials == [old, device.servers.device.unused]
    assert device.servers.device.clones == []


async def test_a_certificate_that_the_server_took_before_the_device_died_is_the_first_that_speaks(
    device: Device,
) -> None:
    certificates = Certificates(*identity_store.load(device.state), CandidateStore(device.state, StateDisk()))
    await certificates.renew()
    device.servers.device.loses_answers = True
    with pytest.raises(grpc.aio.AioRpcError):
        await certificates.check_in(device_pb2.CheckInRequest())
    await certificates.close()
    device.servers.device.loses_answers = False
    async with device.runs() as process:
        await process.says("certificate_promoted")
        assert (await asyncio.wait_for(device.servers.policy.said.get(), PATIENCE)).HasField("hello")
    assert device.servers.policy.serials == [device.servers.device.unused]
    assert device.servers.device.clones == []
    assert not list(device.state.glob("candidate.*"))
