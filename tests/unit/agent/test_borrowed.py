"""An agent of root opens files by the rights of whoever asks."""

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_stub.inspection.borrowed import with_rights
from agent_stub.inspection.opened import EvidenceError, opened
from agent_stub.model import Rights
from tests.fakes.agent import OWN_RIGHTS

ALICE, STAFF, OTHERS = 4_000_001, 4_000_002, 4_000_003
REFUSED = "its user or the agent may not read it"
of_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights that others lack")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder that everybody may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def file(folder: Path, mode: int, gid: int = 0) -> str:
    path = folder / "secret"
    path.write_bytes(b"secret")
    os.chown(path, 0, gid)
    path.chmod(mode)
    return str(path)


def reads(path: str, rights: Rights) -> bool:
    try:
        with opened(path, rights) as found:
            return os.pread(found.descriptor, 6, 0) == b"secret"
    except EvidenceError as error:
        if str(error) != REFUSED:
            raise
        return False


@of_root
@pytest.mark.parametrize(
    ("mode", "rights", "may"),
    [
        (0o600, Rights(ALICE, ALICE), False),
        (0o604, Rights(ALICE, ALICE), True),
        (0o640, Rights(ALICE, ALICE), False),
        (0o640, Rights(ALICE, STAFF), True),
        (0o640, Rights(ALICE, ALICE, (OTHERS, STAFF)), True),
        (0o640, Rights(ALICE, ALICE, (OTHERS,)), False),
        (0o604, Rights(ALICE, ALICE, (STAFF,)), False),
        (0o600, Rights(0, 0), True),
    ],
)
def test_the_caller_has_to_be_allowed_to_read_the_file(folder: Path, mode: int, rights: Rights, *, may: bool) -> None:
    assert reads(file(folder, mode, STAFF), rights) is may


@of_root
def test_nobody_learns_whether_there_is_a_file_in_a_folder_that_is_closed_to_them(folder: Path) -> None:
    folder.chmod(0o700)
    for path in (file(folder, 0o644), str(folder / "missing")):
        assert not reads(path, Rights(ALICE, ALICE))
    assert reads(str(folder / "secret"), OWN_RIGHTS)


@of_root
def test_the_agent_itself_keeps_its_rights_and_no_thread_remains(folder: Path) -> None:
    path, threads = file(folder, 0o600), threading.active_count()
    before = Path("/proc/thread-self/status").read_text(encoding="ascii").splitlines()
    assert not reads(path, Rights(ALICE, ALICE, (STAFF,)))
    after = Path("/proc/thread-self/status").read_text(encoding="ascii").splitlines()
    kinds = ("Uid", "Gid", "Groups", "CapEff")
    assert [line for line in before if line.startswith(kinds)] == [line for line in after if line.startswith(kinds)]
    assert reads(path, OWN_RIGHTS)
    assert threading.active_count() == threads


@of_root
def test_the_work_is_done_without_any_right_of_root_towards_files() -> None:
    status = with_rights(Rights(ALICE, STAFF, (OTHERS,)), Path("/proc/thread-self/status").read_text)
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (lines["Uid"].split()[3], lines["Gid"].split()[3]) == (str(ALICE), str(STAFF))
    assert lines["Groups"].split() == [str(OTHERS)]
    override, search = 1 << 1, 1 << 2
    assert not int(lines["CapEff"], 16) & (override | search)


@of_root
def test_what_goes_wrong_in_the_work_is_raised_to_whoever_waits() -> None:
    with pytest.raises(ZeroDivisionError):
        with_rights(Rights(ALICE, ALICE), lambda: 1 // 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can take on any rights")
def test_an_agent_that_cannot_take_on_the_rights_of_its_caller_does_not_open_by_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"secret")
    with (
        pytest.raises(EvidenceError, match="it cannot be opened"),
        opened(str(tmp_path / "file"), Rights(ALICE, ALICE)),
    ):
        pass
