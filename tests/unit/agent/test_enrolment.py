import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from agent_stub import identity_store
from agent_stub.enrolment import Enrolment, EnrolmentError, enroll
from agent_stub.files import StateError
from agent_stub.model import Identity
from epm.device.v1 import agent_pb2
from tests.fakes.agent import DEVICE_ID, DEVICE_NAME, KEY_ID, Installation
from tests.fakes.agent_servers import FakeServers


@pytest.fixture
async def servers() -> AsyncIterator[FakeServers]:
    async with FakeServers().running() as running:
        yield running


def request(servers: FakeServers, *, token: str = "", ca: bytes | None = None) -> Enrolment:
    return Enrolment(
        server=servers.public_address,
        ca=ca or servers.installation.authority.pem,
        token=token or servers.device.token,
        device_name=DEVICE_NAME,
        facts=agent_pb2.DeviceFacts(os="linux"),
    )


async def enrolled(folder: Path, enrolment: Enrolment) -> Identity:
    return await asyncio.to_thread(enroll, folder, enrolment)


async def test_a_device_keeps_what_it_was_given_to_itself(tmp_path: Path, servers: FakeServers) -> None:
    folder = tmp_path / "state"
    identity = await enrolled(folder, request(servers))
    assert (identity.device_id, identity.device_name) == (DEVICE_ID, DEVICE_NAME)
    assert identity.policy_keys == {KEY_ID: servers.installation.public_key}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert identity_store.load(folder)[0] == identity


async def test_an_interrupted_enrolment_goes_on_with_the_same_key(tmp_path: Path, servers: FakeServers) -> None:
    servers.device.changes = {"trust_domain": ""}
    with pytest.raises(EnrolmentError, match="trust_domain is missing"):
        await enrolled(tmp_path, request(servers))
    key = (tmp_path / identity_store.KEY).read_bytes()
    servers.device.changes = {}
    await enrolled(tmp_path, request(servers))
    assert (tmp_path / identity_store.KEY).read_bytes() == key
    assert identity_store.load(tmp_path)[1].key == key


async def test_a_wrong_token_is_refused_with_a_remedy_and_without_showing_it(
    tmp_path: Path, servers: FakeServers
) -> None:
    with pytest.raises(EnrolmentError, match=r"token is not known here; ask for a new one$") as refusal:
        await enrolled(tmp_path, request(servers, token="secret-guess"))
    assert "secret-guess" not in str(refusal.value)
    assert not identity_store.is_enrolled(tmp_path)


@pytest.mark.parametrize(
    ("code", "details", "remedy"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "the enrolment token has expired; ask for a new one", ""),
        (grpc.StatusCode.ALREADY_EXISTS, "an enrolled device has the name ws-17; choose another", ""),
        (grpc.StatusCode.INVALID_ARGUMENT, "device_name: too long", "; correct what it names and try again"),
    ],
)
async def test_what_the_server_refuses_is_passed_on_with_one_remedy(
    tmp_path: Path, servers: FakeServers, *, code: grpc.StatusCode, details: str, remedy: str
) -> None:
    servers.device.refusal = (code, details)
    with pytest.raises(EnrolmentError, match=f"did not enrol the device: {details}{remedy}$"):
        await enrolled(tmp_path, request(servers))


async def test_a_server_that_is_not_there_is_named_with_what_to_check(tmp_path: Path, servers: FakeServers) -> None:
    nowhere = replace(request(servers), server="localhost:1")
    with pytest.raises(EnrolmentError, match=r"the server localhost:1 did not enrol the device: .* check the address"):
        await enrolled(tmp_path, nowhere)


async def test_a_server_of_another_authority_gets_no_token(tmp_path: Path, servers: FakeServers) -> None:
    stranger = Installation().authority.pem
    with pytest.raises(EnrolmentError, match="--ca is the authority of its certificate"):
        await enrolled(tmp_path, request(servers, ca=stranger))
    assert servers.device.requests == []


async def test_an_authority_that_is_no_certificate_is_refused(tmp_path: Path, servers: FakeServers) -> None:
    with pytest.raises(EnrolmentError, match="--ca holds no PEM certificate"):
        await enrolled(tmp_path, request(servers, ca=b"-----BEGIN CERTIFICATE-----\nbroken"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"device_id": "another"}, "the certificate does not name spiffe://epm.test/device/another"),
        ({"certificate_pem": "broken"}, "certificate_pem or ca_pem cannot be read"),
        ({"ca_pem": ""}, "certificate_pem or ca_pem cannot be read"),
        ({"ca_pem": Installation().authority.pem.decode()}, "the certificate is of another authority than ca_pem"),
        ({"policy_address": "", "device_address": ""}, "policy_address is missing; device_address is missing"),
        (
            {"certificate_pem": Installation().credentials().certificate.decode()},
            "the certificate is for another key; the certificate is of another authority than ca_pem",
        ),
    ],
)
async def test_an_answer_that_does_not_fit_is_not_kept(
    tmp_path: Path, servers: FakeServers, changes: dict[str, object], problem: str
) -> None:
    servers.device.changes = changes
    with pytest.raises(EnrolmentError, match=problem):
        await enrolled(tmp_path, request(servers))
    assert not identity_store.is_enrolled(tmp_path)


async def test_a_folder_holds_one_device(tmp_path: Path, servers: FakeServers) -> None:
    await enrolled(tmp_path, request(servers))
    with pytest.raises(EnrolmentError, match="already holds the device ws-17"):
        await enrolled(tmp_path, request(servers))


async def test_a_damaged_key_is_named_with_a_remedy(tmp_path: Path, servers: FakeServers) -> None:
    (tmp_path / identity_store.KEY).write_text("no key", encoding="utf-8")
    with pytest.raises(StateError, match=r"key\.pem: is no readable key; remove it and enrol again"):
        await enrolled(tmp_path, request(servers))


def test_a_damaged_identity_is_a_refused_start_with_a_remedy(tmp_path: Path) -> None:
    house = Installation()
    credentials = house.credentials()
    (tmp_path / identity_store.KEY).write_bytes(credentials.key)
    identity_store.save(tmp_path, house.identity(), credentials)
    (tmp_path / identity_store.IDENTITY).write_text('{"policy_keys": 7}', encoding="utf-8")
    with pytest.raises(StateError, match="the identity is damaged"):
        identity_store.load(tmp_path)


@pytest.mark.parametrize("damaged", [identity_store.KEY, identity_store.CERTIFICATE, identity_store.AUTHORITIES])
def test_damaged_credentials_are_a_refused_start_and_not_a_connection_that_fails(tmp_path: Path, damaged: str) -> None:
    house = Installation()
    credentials = house.credentials()
    (tmp_path / identity_store.KEY).write_bytes(credentials.key)
    identity_store.save(tmp_path, house.identity(), credentials)
    (tmp_path / damaged).write_bytes((tmp_path / damaged).read_bytes()[:80])
    with pytest.raises(StateError, match="move the folder away and enrol the device anew"):
        identity_store.load(tmp_path)


def test_a_certificate_for_another_key_is_a_refused_start(tmp_path: Path) -> None:
    house = Installation()
    (tmp_path / identity_store.KEY).write_bytes(house.credentials().key)
    identity_store.save(tmp_path, house.identity(), house.credentials())
    with pytest.raises(StateError, match="the identity is damaged"):
        identity_store.load(tmp_path)


def test_a_folder_without_a_device_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="run `epm-agent enroll` first"):
        identity_store.load(tmp_path)
