"""Evidence of real files, read by real children."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pip
import pytest

from agent_stub.inspection.inspector import ChildInspector, Inspection
from agent_stub.inspection.opened import EvidenceError, keeps_files_here, only_root_writes, opened
from agent_stub.inspection.packages import owning_package
from agent_stub.inspection.parsers import facts_of, kind_of
from agent_stub.inspection.report import parse_report
from agent_stub.inspection.trust import TrustStore
from elevation.model import Platform
from tests.fakes.agent import NOW, OWN_RIGHTS

LAUNCHER = Path(pip.__file__).parent / "_vendor" / "distlib" / "t64.exe"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
UNSHARE = Path("/usr/bin/unshare")
SYSTEM = Path("/usr/bin/id")
HAS_DPKG = Path("/var/lib/dpkg").exists()


async def inspected(path: Path, platform: Platform = Platform.WINDOWS) -> Inspection:
    with opened(str(path), OWN_RIGHTS) as file:
        return await ChildInspector(TrustStore(())).inspect(file, platform, NOW)


async def test_a_windows_program_tells_its_version_and_names() -> None:
    found = await inspected(LAUNCHER)
    evidence = found.evidence
    assert found.kind == "pe"
    assert (evidence.version, evidence.internal_name) == ("1.1.0.14", "t64.exe")
    assert (evidence.product_name, evidence.company_name) == ("Simple Launcher", "Simple Launcher User")
    assert evidence.signers == ()
    assert len(evidence.sha256) == 64


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    path = tmp_path / "a.exe"
    path.write_bytes(LAUNCHER.read_bytes()[:1000])
    return path


async def test_a_damaged_windows_program_still_has_its_hash(cut: Path) -> None:
    evidence = (await inspected(cut)).evidence
    assert (len(evidence.sha256), evidence.version) == (64, "")


async def test_a_script_tells_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "run"
    script.write_text("#!/usr/bin/env python3\nprint()\n", encoding="utf-8")
    found = await inspected(script, Platform.LINUX)
    assert (found.kind, found.interpreter) == ("script", "/usr/bin/env python3")
    assert (found.owner, found.evidence.root_only_path) == (str(os.geteuid()), False)


@pytest.mark.skipif(not SYSTEM.exists(), reason="this system has no /usr/bin/id")
async def test_a_program_of_the_system_tells_its_package() -> None:
    found = await inspected(SYSTEM, Platform.LINUX)
    assert found.kind == "elf"
    assert "ld-" in found.interpreter
    if found.evidence.root_only_path and HAS_DPKG:
        assert found.evidence.product_name == "coreutils"
        assert found.evidence.version


def test_the_path_is_where_the_file_really_lies(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with opened(str(tmp_path / "link"), OWN_RIGHTS) as file:
        assert file.path == str((tmp_path / "real").resolve())


def refused(path: Path) -> str:
    with pytest.raises(EvidenceError) as fault, opened(str(path), OWN_RIGHTS):
        pass
    return str(fault.value)


def test_what_is_no_file_is_refused_by_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refused(tmp_path) == "it is a folder"
    assert refused(tmp_path / "pipe") == "it is not a regular file"
    assert refused(tmp_path / "nothing") == "it does not exist"
    assert refused(tmp_path / "nothing" / "below") == "it does not exist"
    assert refused(tmp_path / "loop").startswith("it cannot be opened")
    assert refused(tmp_path / ("x" * 300)).startswith("it cannot be opened")


def test_what_is_no_file_is_not_even_opened(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        # To open it would fail, and say so.
        assert refused(tmp_path / "socket") == "it is not a regular file"


def test_a_deleted_file_does_not_pass_for_one_that_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    with path.open("rb") as file:
        path.unlink()
        (tmp_path / "file (deleted)").write_bytes(b"another's")
        assert "deleted meanwhile" in refused(Path(f"/proc/self/fd/{file.fileno()}"))


@as_root
@pytest.mark.skipif(not UNSHARE.exists(), reason="unshare is not installed")
def test_a_file_of_another_mount_namespace_does_not_pass_for_the_file_of_its_name(tmp_path: Path) -> None:
    mounts = f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/tool && echo mounted && read _"
    (tmp_path / "tool").write_bytes(b"of root")
    with subprocess.Popen(
        [UNSHARE, "--mount", "sh", "-c", mounts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        if other.stdout.readline() != b"mounted\n":
            pytest.skip("this system lets nobody mount")
        assert "where the agent does not see it" in refused(Path(f"/proc/{other.pid}/root{tmp_path}/tool"))
        other.stdin.close()


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(513 * 1024 * 1024)
    assert "larger than" in refused(tmp_path / "huge")


async def test_a_file_that_changes_under_the_inspection_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    with opened(str(path), OWN_RIGHTS) as file:
        path.write_bytes(b"three")
        with pytest.raises(EvidenceError, match="changed while it was read"):
            await ChildInspector(TrustStore(())).inspect(file, Platform.LINUX, NOW)


async def test_a_file_that_vanishes_after_it_was_opened_is_judged_by_what_is_held(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    with opened(str(path), OWN_RIGHTS) as file:
        path.unlink()
        with pytest.raises(EvidenceError, match="changed while it was read"):
            await ChildInspector(TrustStore(())).inspect(file, Platform.LINUX, NOW)


async def test_an_inspection_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    with opened(str(tmp_path / "file"), OWN_RIGHTS) as file, pytest.raises(EvidenceError, match="took too long"):
        await ChildInspector(TrustStore(()), timeout_seconds=0).inspect(file, Platform.LINUX, NOW)


async def test_a_file_that_others_may_write_is_read_every_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    inspector = ChildInspector(TrustStore(()))
    with opened(str(path), OWN_RIGHTS) as file:
        await inspector.inspect(replace(file, root_only=False), Platform.LINUX, NOW)
    assert inspector.remembered == 0
    with opened(str(path), OWN_RIGHTS) as file:
        await inspector.inspect(replace(file, root_only=True), Platform.LINUX, NOW)
    assert inspector.remembered == 1


@as_root
def test_a_path_is_as_safe_as_its_weakest_folder(tmp_path: Path) -> None:
    assert only_root_writes("/usr/bin/env") == (Path("/usr/bin").stat().st_mode & 0o022 == 0)
    target = tmp_path / "file"
    target.touch(mode=0o755)
    assert not only_root_writes(str(target)), "the folder for temporary files is open to all"


@pytest.mark.parametrize(
    ("mounted", "here"),
    [
        ("ext4 /dev/vda rw", True),
        ("nfs4 server:/home rw", False),
        ("cifs //server/share rw", False),
        ("fuseblk /dev/sda1 rw,user_id=0,group_id=0", True),
        ("fuse.sshfs server:/home rw,user_id=0,group_id=0", False),
        ("fuse.anything me rw,user_id=1000,group_id=1000", False),
        ("fuse", False),
    ],
)
def test_a_file_of_a_network_or_of_a_user_s_own_file_system_is_not_local(mounted: str, *, here: bool) -> None:
    assert keeps_files_here(mounted) is here


def test_a_path_that_is_not_there_is_not_safe(tmp_path: Path) -> None:
    assert not only_root_writes(str(tmp_path / "nothing"))


def test_a_package_is_found_by_either_name_of_a_merged_folder(tmp_path: Path) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "tool:amd64.list").write_text("/.\n/bin\n/bin/tool\n", encoding="utf-8")
    status = "Package: other\nVersion: 9\n\nPackage: tool\nVersion: 1.2-3\nMaintainer: M <m@example.com>\n\n"
    (tmp_path / "status").write_text(status, encoding="utf-8")
    expected = {"name": "tool", "version": "1.2-3", "maintainer": "M <m@example.com>"}
    assert owning_package("/usr/bin/tool", tmp_path) == expected
    assert owning_package("/usr/bin/too", tmp_path) == {}


@pytest.mark.parametrize("content", [b"\x7fELF", b"\x7fELF" + b"\xff" * 60, b"\x7fELF\x02\x01" + b"\xff" * 58])
def test_a_broken_elf_file_has_no_interpreter(content: bytes) -> None:
    assert facts_of(kind_of(content), content) == {"interpreter": ""}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json\n",
        b"[]\n",
        b'{"size": 3}\n',
        b"[" * 5000 + b"\n",
        b'{"size": 3, "sha256": "zz", "kind": "pe"}\n',
        b'{"size": 3, "sha256": "' + b"a" * 64 + b'", "kind": "pe", "more": 1}\n',
        b'{"size": 3, "sha256": "' + b"a" * 64 + b'", "kind": "pe", "version": 7}\n',
        b'{"size": 3, "sha256": "' + b"a" * 64 + b'", "kind": "pe", "signers": [{"leaf": "%"}]}\n',
    ],
)
def test_a_child_that_was_taken_over_says_nothing_the_agent_believes(line: bytes) -> None:
    with pytest.raises(EvidenceError, match="no usable answer"):
        parse_report(line, 3)


def test_the_agent_itself_never_loads_the_parser() -> None:
    code = "import sys, agent_stub.agent; sys.exit('lief' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_text_of_a_file_ends_at_its_first_nul() -> None:
    assert facts_of("script", b"#!/bin/sh\0-x\n") == {"interpreter": "/bin/sh"}
