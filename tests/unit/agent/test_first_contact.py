"""Enrolment without a file of the CA: the token names it, and the server shows it."""

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from agent_stub import identity_store
from agent_stub.enrolment import Enrolment, EnrolmentError, enroll
from agent_stub.first_contact import FirstContactError, find_authority, fingerprint_of
from epm.device.v1 import agent_pb2
from services._chassis import pki
from tests.fakes.agent import DEVICE_ID, DEVICE_NAME, Installation
from tests.fakes.agent_servers import FakeServers
from tests.fakes.clock import NOW
from tests.unit.agent.programs import agent

PATIENCE = 10.0
VERSION_3 = bytes.fromhex("a003020102")


@pytest.fixture
async def servers() -> AsyncIterator[FakeServers]:
    servers = FakeServers()
    servers.device.token = f"epmenr_secret.{servers.installation.fingerprint}"
    async with servers.running():
        yield servers


def request(servers: FakeServers, *, token: str = "", ca: bytes | None = None) -> Enrolment:
    facts = agent_pb2.DeviceFacts(os="linux")
    return Enrolment(servers.public_address, ca, token or servers.device.token, DEVICE_NAME, facts)


async def refused(folder: Path, enrolment: Enrolment) -> str:
    with pytest.raises(EnrolmentError) as refusal:
        await asyncio.to_thread(enroll, folder, enrolment)
    assert not identity_store.is_enrolled(folder)
    return str(refusal.value)


async def test_a_token_is_enough_to_know_the_server(tmp_path: Path, servers: FakeServers) -> None:
    identity = await asyncio.to_thread(enroll, tmp_path, request(servers))
    assert identity.device_id == DEVICE_ID
    assert identity_store.load(tmp_path)[1].ca == servers.installation.authority.pem


async def test_the_command_enrols_without_a_file_of_the_ca(tmp_path: Path, servers: FakeServers) -> None:
    where = "--server", servers.public_address, "--state-dir", tmp_path / "state", "--name", DEVICE_NAME
    done = await agent("enroll", *where, EPM_ENROLMENT_TOKEN=servers.device.token)
    assert (done.code, done.output.startswith("enrolled ws-17 as device-17")) == (0, True), done.errors


async def test_a_server_that_shows_another_ca_gets_no_token(tmp_path: Path, servers: FakeServers) -> None:
    token = f"epmenr_secret.{Installation().fingerprint}"
    said = await refused(tmp_path, request(servers, token=token))
    assert "does not show the CA that the enrolment token names" in said
    assert "check --server, or give the CA's certificate by --ca" in said
    assert "epmenr_secret" not in said
    assert servers.device.requests == []


async def test_a_server_that_shows_the_ca_but_has_no_certificate_of_it_gets_no_token(tmp_path: Path) -> None:
    honest, impostor = Installation(), FakeServers()
    impostor.shown = honest.authority.pem
    async with impostor.running():
        token = f"epmenr_secret.{honest.fingerprint}"
        said = await refused(tmp_path, request(impostor, token=token))
    assert "its certificate is of the CA that the token names, and for this address" in said
    assert impostor.device.requests == []


async def test_a_server_that_shows_its_own_certificate_alone_is_met_by_a_file(tmp_path: Path) -> None:
    servers = FakeServers()
    servers.shown = b""
    servers.device.token = f"epmenr_secret.{servers.installation.fingerprint}"
    async with servers.running():
        assert "or give the CA's certificate by --ca" in await refused(tmp_path, request(servers))
        await asyncio.to_thread(enroll, tmp_path, request(servers, ca=servers.installation.authority.pem))


async def test_what_the_token_names_has_to_be_a_ca(tmp_path: Path, servers: FakeServers) -> None:
    with socket.create_connection(address_of(servers)) as plain:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        leaf = await asyncio.to_thread(leaf_of, context, plain)
    digest = x509.load_der_x509_certificate(leaf).fingerprint(hashes.SHA256())
    token = f"epmenr_secret.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    assert "is no certificate of a CA" in await refused(tmp_path, request(servers, token=token))
    assert servers.device.requests == []


def address_of(servers: FakeServers) -> tuple[str, int]:
    host, _, port = servers.public_address.rpartition(":")
    return host, int(port)


def leaf_of(context: ssl.SSLContext, plain: socket.socket) -> bytes:
    with context.wrap_socket(plain, server_hostname="localhost") as secure:
        return secure.getpeercert(binary_form=True) or b""


async def test_a_token_without_a_fingerprint_needs_the_file(tmp_path: Path, servers: FakeServers) -> None:
    said = await refused(tmp_path, request(servers, token="epmenr_secret"))
    assert "does not say which CA the installation has; copy the token whole, or give --ca" in said
    assert servers.device.requests == []


@pytest.mark.parametrize("fingerprint", ["", "short", "A" * 44, "!" * 43, "A" * 42 + "B", "A" * 43 + "=", "é" * 43])
@pytest.mark.parametrize("with_file", [False, True])
async def test_a_malformed_fingerprint_is_said_before_anything_is_sent(
    tmp_path: Path, servers: FakeServers, *, fingerprint: str, with_file: bool
) -> None:
    ca = servers.installation.authority.pem if with_file else None
    said = await refused(tmp_path, request(servers, token=f"epmenr_secret.{fingerprint}", ca=ca))
    assert "the CA's fingerprint at the end of the enrolment token is malformed; copy the token whole" in said
    assert servers.device.requests == []


async def test_an_answer_of_another_ca_than_the_tokens_is_not_kept_even_with_a_file(
    tmp_path: Path, servers: FakeServers
) -> None:
    servers.device.token = f"epmenr_secret.{Installation().fingerprint}"
    said = await refused(tmp_path, request(servers, ca=servers.installation.authority.pem))
    assert "ca_pem does not hold the CA that the enrolment token names" in said


async def test_a_server_that_is_not_there_is_named(tmp_path: Path, servers: FakeServers) -> None:
    said = await refused(tmp_path, replace(request(servers), server="localhost:1"))
    assert (
        said
        == "the server localhost:1 cannot be reached (connection refused); check --server, and that the server runs"
    )


def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(FirstContactError, match=r"cannot be reached \(no answer in time\)"):
            find_authority(address, bytes(32), deadline_seconds=0.2)


async def test_a_server_that_shows_a_certificate_of_no_known_version_is_refused(tmp_path: Path) -> None:
    installation, chain = Installation(), tmp_path / "chain.pem"
    issued = pki.issue_server(installation.authority, [], now=NOW)
    der = bytearray(installation.authority.certificate.public_bytes(serialization.Encoding.DER))
    der[der.index(VERSION_3) + len(VERSION_3) - 1] = 7
    chain.write_bytes(issued.key + issued.certificate + ssl.DER_cert_to_PEM_cert(bytes(der)).encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(FirstContactError, match="shows a certificate that cannot be read"):
            await asyncio.to_thread(find_authority, address, bytes(32), deadline_seconds=PATIENCE)


async def test_a_server_without_tls_is_told_from_one_that_is_not_there() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(FirstContactError, match="does not speak TLS"):
            await asyncio.to_thread(find_authority, address, bytes(32), deadline_seconds=PATIENCE)


@pytest.mark.parametrize(("host", "name"), [("localhost", "localhost"), ("127.0.0.1", None)])
async def test_a_server_is_met_by_its_name_or_address_as_by_grpc(tmp_path: Path, host: str, name: str | None) -> None:
    house = Installation()
    issued = pki.issue_server(house.authority, [], now=house.present)
    (tmp_path / "door.pem").write_bytes(issued.key + issued.certificate + house.authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "door.pem")
    context.set_alpn_protocols(["h2"])
    asked: list[tuple[str | None, str | None]] = []
    context.sni_callback = lambda _, named, __: asked.append((named, None))

    greeted = asyncio.Event()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((None, writer.get_extra_info("ssl_object").selected_alpn_protocol()))
        writer.close()
        greeted.set()

    fingerprint = fingerprint_of(f"epmenr_secret.{house.fingerprint}")
    assert fingerprint is not None
    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    async with server:
        address = f"{host}:{server.sockets[0].getsockname()[1]}"
        found = await asyncio.to_thread(find_authority, address, fingerprint, deadline_seconds=PATIENCE)
        await asyncio.wait_for(greeted.wait(), PATIENCE)
    assert found == house.authority.pem
    assert asked == [(name, None), (None, "h2")]
