"""`epm serve` as an operator meets it: what it makes and prints, how it ends, what it refuses."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epmctl.commands.serve import READY, announce
from epmctl.main import run
from services.allinone import ServiceSettings, init_data_dir

EPM = Path(sys.executable).parent / "epm"
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("EPM_")}
PUBLIC_SERVICES = {
    "epm.device.v1.DeviceService",
    "epm.policy.v1.PolicyService",
    "epm.rbac.v1.RbacService",
    "epm.reporting.v1.ReportingService",
}
PORTS = ("--public-port", "0", "--mesh-port", "0")


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run `epm serve` on the folder; give the process and what it printed once it was ready."""
    command: list[str | Path] = [EPM, "serve", *arguments, "--data-dir", str(folder), *PORTS]
    with (folder.parent / "log").open("w") as log:
        process = subprocess.Popen(command, env=ENVIRON, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        printed: list[str] = []
        while not (printed and "epm login" in printed[-1]):
            line = process.stdout.readline()
            assert line, (folder.parent / "log").read_text()
            printed.append(line.rstrip("\n"))
        yield process, printed
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def refused(*arguments: str, environ: dict[str, str] | None = None) -> str:
    """Run `epm serve` to its end, which must be a refusal; give the one line that is no log."""
    done = subprocess.run(
        [EPM, "serve", *arguments], env=ENVIRON | (environ or {}), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a data folder with a CA, in which a service can run alone."""
    assert run(["ca", "init", "--dir", str(tmp_path / "data" / "ca")]) == 0
    return tmp_path / "data"


def test_a_first_start_serves_all_four_services_to_the_owner(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with serving(folder, "--reflection") as (process, printed):
        assert printed[0] == f"{READY} all four services on {folder}"
        credentials = grpc.ssl_channel_credentials((folder / "ca" / "ca.crt").read_bytes())
        with grpc.secure_channel(printed[1].split()[2], credentials) as channel:
            token = (folder / "owner-token").read_text().strip()
            who = rbac_pb2_grpc.RbacServiceStub(channel).WhoAmI(
                rbac_pb2.WhoAmIRequest(), metadata=(("authorization", f"Bearer {token}"),)
            )
            assert (who.principal, list(who.role_assignments)) == ("user:owner", ["owner"])
            assert set(ProtoReflectionDescriptorDatabase(channel).get_services()) >= PUBLIC_SERVICES
        assert folder.stat().st_mode & 0o777 == 0o700
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_first_start_prints_both_addresses_and_the_next_command(folder: Path) -> None:
    with serving(folder, "rbac") as (_, printed):
        assert printed[0] == f"{READY} the rbac service on {folder}"
        addresses = [line.split()[2] for line in printed[1:3]]
        token = folder / "owner-token"
        assert printed[-1].split() == (
            f"epm login --server {addresses[0]} --ca {folder / 'ca' / 'ca.crt'} --token-file {token}".split()
        )
        assert token.stat().st_mode & 0o777 == 0o600
        for address in addresses:
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()


def test_sigterm_drains_and_ends_well(folder: Path) -> None:
    with serving(folder, "rbac") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    log = (folder.parent / "log").read_text()
    assert log.index("server_draining") < log.index("server_stopped")


def test_a_second_server_on_the_same_folder_is_refused_and_told_who_is_there(folder: Path) -> None:
    with serving(folder, "rbac") as (process, _):
        line = refused("rbac", "--data-dir", str(folder), *PORTS)
        assert line == (
            f"error: the rbac service already runs on {folder} (process {process.pid});"
            " stop it, or use another data folder"
        )


def test_a_second_start_keeps_the_token_and_the_certificates(folder: Path) -> None:
    kept = ("owner-token", "certs/rbac.crt", "certs/rbac.key", "ca/ca.crt")
    with serving(folder, "rbac"):
        before = [(folder / name).read_bytes() for name in kept]
    with serving(folder, "rbac"):
        assert [(folder / name).read_bytes() for name in kept] == before


def test_a_taken_port_is_refused(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused("rbac", "--data-dir", str(folder), "--public-port", str(port), "--mesh-port", "0")
    assert line.startswith(f"error: cannot listen on 127.0.0.1:{port}: the port is taken")


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o755)
    (tmp_path / "theirs" / "file").write_text("")
    assert "is open to other users" in refused("--data-dir", str(tmp_path / "theirs"), *PORTS)
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o755


def test_a_database_that_cannot_be_reached_is_refused_without_its_password(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    url = f"postgresql://epm:hunter2@127.0.0.1:{port}/epm"
    line = refused("rbac", "--data-dir", str(folder), *PORTS, environ={"EPM_DATABASE_URL": url})
    assert line.startswith("error: the database of the rbac service")
    assert "hunter2" not in line


@pytest.mark.parametrize("room", [0, 100, 600, 3000])
def test_a_full_disk_is_a_refused_start_and_the_next_one_goes_on(tmp_path: Path, room: int) -> None:
    folder = tmp_path / "data"
    script = (
        "import resource, signal, sys\n"
        "from epmctl.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))\n"
        "main()"
    )
    command = [sys.executable, "-c", script, "serve", "--data-dir", str(folder), *PORTS]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("error: ")
    init_data_dir(ServiceSettings(data_dir=folder))


def test_bad_settings_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    assert refused("--data-dir", str(tmp_path / "d"), "--mesh-port", "x").startswith(
        "--mesh-port: must be a whole number"
    )
    assert not (tmp_path / "d").exists()


def test_an_unknown_service_is_refused(tmp_path: Path) -> None:
    assert run(["serve", "polcy", "--data-dir", str(tmp_path / "d")]) == 2
    assert not (tmp_path / "d").exists()


def test_all_services_together_are_announced_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ServiceSettings(data_dir=tmp_path, public_port=0, mesh_port=0)
    announce(settings, None, settings.bound(public_port=7001, mesh_port=7002))
    printed = capsys.readouterr().out
    assert printed.startswith(f"{READY} all four services on {tmp_path}\n")
    assert "public address  127.0.0.1:7001" in printed
    assert "mesh address    127.0.0.1:7002" in printed
    assert "--token-file TOKEN-FILE" in printed  # the owner has taken the token away already
