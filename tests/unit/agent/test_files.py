import os
import stat
from pathlib import Path

import pytest

from agent_stub.files import StateError, only_one, private_folder, write_private


def test_a_folder_that_others_can_enter_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    assert stat.S_IMODE(private_folder(folder).stat().st_mode) == 0o700


def test_a_folder_that_others_may_have_filled_is_refused(tmp_path: Path) -> None:
    (tmp_path / "identity.json").touch()
    tmp_path.chmod(0o770)
    with pytest.raises(StateError, match="others may have put files there"):
        private_folder(tmp_path)


def test_folders_above_are_as_private_whatever_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_a_link_is_no_state_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StateError, match="is not a folder of this user"):
        private_folder(tmp_path / "link")


def test_a_file_is_no_state_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="choose another with --state-dir"):
        private_folder(tmp_path / "file")


def test_two_agents_do_not_share_a_folder(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(StateError, match="another epm-agent runs on it"), only_one(tmp_path):
        pass


def test_the_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    with only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "something").touch()
    with pytest.raises(OSError, match="target"):
        write_private(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (tmp_path / ".file.new").symlink_to(victim)
    with pytest.raises(OSError, match=r"\.file\.new"):
        write_private(tmp_path / "file", b"new")
    assert victim.read_text(encoding="utf-8") == "precious"
