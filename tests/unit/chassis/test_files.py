"""Files that nobody else may read, written whole or not at all; and the lock."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services._chassis.errors import StateError
from services._chassis.files import lock, make_private_folder, write_private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_folder_and_those_above_it_are_their_owners_alone(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b")
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)


def test_an_empty_folder_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    make_private_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o700


def test_a_private_folder_with_something_in_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    (tmp_path / "a" / "x").write_text("")
    make_private_folder(tmp_path / "a")


@pytest.mark.parametrize("open_to", [0o750, 0o701, 0o777])
def test_a_folder_that_others_may_use_too_is_refused_as_it_is(tmp_path: Path, open_to: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("")
    (tmp_path / "a").chmod(open_to)
    with pytest.raises(StateError, match="open to other users; run chmod 700"):
        make_private_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == open_to


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_folder_of_another_user_is_refused_for_its_owner_could_replace_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    os.chown(tmp_path / "a", 65534, 65534)
    with pytest.raises(StateError, match="belongs to another user"):
        make_private_folder(tmp_path / "a")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_what_is_no_folder_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be used: Not a directory") as raised:
        make_private_folder(tmp_path / place)
    assert str(tmp_path / place) in str(raised.value)


def test_a_file_is_its_owners_alone_whatever_stood_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    (tmp_path / "x").chmod(0o644)
    write_private(tmp_path / "x", b"new")
    assert ((tmp_path / "x").read_bytes(), mode(tmp_path / "x")) == (b"new", 0o600)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(StateError, match="x cannot be written: Is a directory"):
        write_private(tmp_path / "x", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_the_lock_keeps_a_second_process_out_and_names_the_first(tmp_path: Path) -> None:
    held = lock(tmp_path, "rbac")
    script = (
        "import pathlib, sys\nfrom services._chassis.errors import StateError\nfrom services._chassis.files import lock\n"
        f"try:\n    lock(pathlib.Path({str(tmp_path)!r}), 'rbac')\nexcept StateError as error:\n    sys.exit(str(error))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    held.release()
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"the rbac service already runs on {tmp_path} (process {os.getpid()}); stop it, or use another data folder"
    )


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"rbac\.lock cannot be written: No such file"):
        lock(tmp_path / "none", "rbac")


def test_a_released_lock_can_be_taken_again_and_services_do_not_keep_one_another_out(tmp_path: Path) -> None:
    first, other = lock(tmp_path, "rbac"), lock(tmp_path, "policy")
    first.release()
    lock(tmp_path, "rbac").release()
    other.release()


def test_a_lock_whose_holder_did_not_say_who_it_is_is_still_a_lock(tmp_path: Path) -> None:
    with (tmp_path / "rbac.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StateError, match="process unknown"):
            lock(tmp_path, "rbac")
