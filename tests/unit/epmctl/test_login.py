"""`epm login` keeps a server and a token that work, and every command says what is wrong with the way there."""

import json
import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from epm.rbac.v1 import rbac_pb2
from epmctl.profile import Profile, save_profile
from services._chassis.errors import DeniedError
from tests.builders.console import Console, Outcome
from tests.builders.elevation import pem
from tests.fakes.server import TOKEN, FakeServer

OWNER = rbac_pb2.WhoAmIResponse(principal="user:owner", rights=["roles.read", "tokens.read"])


def log_in(console: Console, server: FakeServer, *, token: str = TOKEN) -> Outcome:
    file = console.folder / "token"
    file.write_text(f"{token}\n")
    return console.run("login", "--server", server.address, "--ca", console.ca, "--token-file", file)


def test_a_login_says_who_one_is_and_is_remembered(stranger: Console, server: FakeServer) -> None:
    server.on(rbac_pb2.WhoAmIRequest, OWNER)

    outcome = log_in(stranger, server)

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        f"logged in to {server.address} as user:owner, with 2 rights",
        f"kept in {stranger.profile}",
    ]
    assert stranger.run("get", "roles").code == 0


def test_folders_of_the_profile_are_for_its_owner_alone_whatever_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        save_profile(Profile("localhost:1", "", TOKEN), {"EPM_CONFIG_DIR": str(tmp_path / "a" / "b")})
    finally:
        os.umask(mask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700, 0o700]


def test_the_profile_is_for_its_owner_alone(stranger: Console, server: FakeServer) -> None:
    log_in(stranger, server)

    assert stat.S_IMODE(stranger.profile.stat().st_mode) == 0o600
    assert json.loads(stranger.profile.read_text())["token"] == TOKEN


def test_the_token_is_read_from_standard_input(stranger: Console, server: FakeServer) -> None:
    outcome = stranger.run(
        "login", "--server", server.address, "--ca", stranger.ca, "--token-file", "-", stdin=f"{TOKEN}\n"
    )

    assert outcome.code == 0
    assert TOKEN not in outcome.out


def test_a_login_in_json_names_the_rights(stranger: Console, server: FakeServer) -> None:
    server.on(rbac_pb2.WhoAmIRequest, OWNER)

    arguments = ("login", "--server", server.address, "--ca", stranger.ca, "--token-file", "-", "--output", "json")
    outcome = stranger.run(*arguments, stdin=TOKEN)

    assert outcome.json == {
        "server": server.address,
        "profile": str(stranger.profile),
        "principal": "user:owner",
        "rights": ["roles.read", "tokens.read"],
        "roleAssignments": [],
    }


def test_a_token_that_is_refused_is_not_kept(stranger: Console, server: FakeServer) -> None:
    outcome = log_in(stranger, server, token="wrong")

    assert outcome.code == 1
    said = f"{server.address} does not accept the token (the bearer token is not known); run epm login with a fresh one"
    assert outcome.err == f"{said}\n"
    assert not stranger.profile.exists()


def test_who_is_not_logged_in_is_told_how_to(stranger: Console) -> None:
    outcome = stranger.run("get", "roles")

    assert outcome.code == 2
    assert outcome.err.startswith("not logged in: the server (EPM_SERVER), its CA (EPM_CA), a token")
    assert "run epm login --server HOST:PORT --ca FILE --token-file FILE" in outcome.err


def test_a_damaged_profile_asks_for_another_login(stranger: Console) -> None:
    stranger.profile.parent.mkdir()
    stranger.profile.write_text('{"server": "a:1", "ca"')

    outcome = stranger.run("get", "roles")

    assert (outcome.code, outcome.err) == (2, f"{stranger.profile}: damaged; run epm login again\n")


@pytest.mark.parametrize(
    ("server_name", "said"),
    [
        ("localhost", "the server must be HOST:PORT, not 'localhost'"),
        ("https://localhost:1", "the server must be HOST:PORT, not 'https://localhost:1'"),
        ("localhost:99999", "the server must be HOST:PORT, not 'localhost:99999'"),
    ],
)
def test_an_address_that_is_none_is_bad_input(stranger: Console, server_name: str, said: str) -> None:
    outcome = stranger.run("login", "--server", server_name, "--ca", stranger.ca, "--token-file", "-", stdin=TOKEN)

    assert (outcome.code, outcome.err) == (2, f"{said}\n")


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"])
def test_a_ca_that_is_none_is_bad_input(stranger: Console, text: str) -> None:
    stranger.ca.write_text(text)

    outcome = stranger.run("login", "--server", "a:1", "--ca", stranger.ca, "--token-file", "-", stdin=TOKEN)

    assert outcome.code == 2
    assert outcome.err.startswith(f"{stranger.ca}: holds no PEM certificate")


@pytest.mark.parametrize("text", ["", "two words", "two\nlines"])
def test_a_token_that_is_none_is_bad_input(stranger: Console, text: str) -> None:
    outcome = stranger.run("login", "--server", "a:1", "--ca", stranger.ca, "--token-file", "-", stdin=text)

    assert (outcome.code, outcome.err) == (2, "<stdin>: holds no token; it must be one line, as it was issued\n")


def test_a_file_that_is_not_there_is_named(stranger: Console) -> None:
    outcome = stranger.run("login", "--server", "a:1", "--ca", stranger.ca, "--token-file", "no/such")

    assert (outcome.code, outcome.err) == (2, "no/such: cannot be read: no such file or directory\n")


def test_a_server_of_another_ca_is_not_trusted(console: Console) -> None:
    console.ca.write_text(pem("root"))

    outcome = console.run("get", "roles")

    assert outcome.code == 1
    assert "is not signed by the given CA; give the CA file of this server" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_server_that_is_down_is_named(console: Console) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    console.monkeypatch.setenv("EPM_SERVER", f"127.0.0.1:{port}")

    outcome = console.run("get", "roles")

    assert outcome.code == 1
    assert outcome.err == f"127.0.0.1:{port} refuses connections; is the server running there?\n"


def test_what_talks_no_tls_is_told_apart(console: Console) -> None:
    plain = grpc.server(ThreadPoolExecutor(1))
    port = plain.add_insecure_port("127.0.0.1:0")
    plain.start()
    console.monkeypatch.setenv("EPM_SERVER", f"127.0.0.1:{port}")

    outcome = console.run("get", "roles")

    plain.stop(None).wait()
    assert outcome.code == 1
    assert "talks no TLS that we understand; is it the public address of an OpenEPM server?" in outcome.err


def test_who_may_not_is_told_what_is_missing(console: Console, server: FakeServer) -> None:
    server.on(rbac_pb2.ListRolesRequest, DeniedError("user:x needs the right roles.read"))

    outcome = console.run("get", "roles")

    assert (outcome.code, outcome.err) == (1, "not allowed: user:x needs the right roles.read\n")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "does not know this call; is it the public address of an OpenEPM server?"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "did not answer in time; is it up and is the address right?"),
        (grpc.StatusCode.INTERNAL, "the way broke"),
        (grpc.StatusCode.UNAVAILABLE, "cannot be reached: the way broke"),
    ],
)
def test_every_status_is_one_line(console: Console, server: FakeServer, code: grpc.StatusCode, said: str) -> None:
    server.on(rbac_pb2.ListRolesRequest, code)

    outcome = console.run("get", "roles")

    assert outcome.code == 1
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_the_environment_goes_before_the_profile(stranger: Console, server: FakeServer, tmp_path: Path) -> None:
    log_in(stranger, server)
    (tmp_path / "other").write_text("another")
    stranger.monkeypatch.setenv("EPM_TOKEN_FILE", str(tmp_path / "other"))

    outcome = stranger.run("get", "roles")

    assert outcome.code == 1
    assert "does not accept the token" in outcome.err
