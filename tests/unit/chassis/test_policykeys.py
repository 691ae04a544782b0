"""The keys that sign policy: several at a time, made and retired without ever locking devices out."""

from pathlib import Path

import pytest

from services._chassis import pki, policykeys
from services._chassis.errors import StateError
from services._chassis.policykeys import id_of, keep_signing_keys, load_signing_keys
from tests.fakes.clock import NOW


class Files:
    """The two files."""

    def __init__(self, folder: Path) -> None:
        self.private, self.public = folder / "signing.key", folder / "signing.pub"
        keep_signing_keys(self.private, self.public)

    def ids(self) -> list[str]:
        """Name the keys that sign, newest first."""
        return [id_of(key) for key in load_signing_keys(self.private)]

    def known(self) -> list[str]:
        """Name the keys that new devices are told of."""
        return [pki.policy_key_id(key) for key in pki.load_policy_public_keys(self.public)]

    def rotate(self) -> str:
        return policykeys.rotate_signing_key(self.private, self.public)

    def retire(self, key_id: str) -> None:
        policykeys.retire_signing_key(self.private, self.public, key_id)

    def content(self) -> tuple[bytes, bytes]:
        return self.private.read_bytes(), self.public.read_bytes()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_new_key_stands_before_the_old_ones_in_both_files_which_stay_private(files: Files) -> None:
    [old] = files.ids()
    new = files.rotate()
    assert files.ids() == files.known() == [new, old]
    assert {file.stat().st_mode & 0o777 for file in (files.private, files.public)} == {0o600}
    keep_signing_keys(files.private, files.public)


def test_a_retired_key_is_in_neither_file(files: Files) -> None:
    [old] = files.ids()
    new = files.rotate()
    files.retire(old)
    assert files.ids() == files.known() == [new]


def test_neither_the_only_nor_the_newest_key_can_be_retired(files: Files) -> None:
    [old] = files.ids()
    before = files.content()
    with pytest.raises(StateError, match="make another one first with `epm ca rotate-policy-key`"):
        files.retire(old)
    assert files.content() == before
    new = files.rotate()
    before = files.content()
    with pytest.raises(StateError, match="is the newest key that signs policy; retire an older one"):
        files.retire(new)
    assert files.content() == before


def test_a_key_that_is_not_there_cannot_be_retired_and_those_that_are_get_named(files: Files) -> None:
    [old] = files.ids()
    with pytest.raises(StateError, match=f"holds no key nope; it holds {old}"):
        files.retire("nope")


def test_there_are_not_more_keys_than_a_manifest_should_list(files: Files) -> None:
    for _ in range(policykeys.MOST - 1):
        files.rotate()
    before = files.content()
    with pytest.raises(StateError, match="retire one of them first"):
        files.rotate()
    assert files.content() == before


def test_a_crash_between_the_files_leaves_every_key_that_signs_known_to_new_devices(files: Files) -> None:
    """What was written second is put back: the start goes on, and the leftover can be retired."""
    [old] = files.ids()
    private, _ = files.content()
    lost = files.rotate()
    files.private.write_bytes(private)
    keep_signing_keys(files.private, files.public)
    files.retire(lost)
    assert files.ids() == files.known() == [old]
    new = files.rotate()
    _, public = files.content()
    files.retire(old)
    files.public.write_bytes(public)
    keep_signing_keys(files.private, files.public)
    files.retire(old)
    assert files.ids() == files.known() == [new]


def test_a_key_that_signs_and_that_new_devices_are_not_told_of_is_a_refused_start(files: Files) -> None:
    _, public = files.content()
    files.rotate()
    files.public.write_bytes(public)
    with pytest.raises(StateError, match="does not hold the public half of every key"):
        keep_signing_keys(files.private, files.public)


@pytest.mark.parametrize("content", [b"", b"no key", b"twice"])
def test_a_file_that_holds_no_key_or_one_twice_is_refused(files: Files, content: bytes) -> None:
    files.private.write_bytes(files.private.read_bytes() * 2 if content == b"twice" else content)
    with pytest.raises(StateError, match="must hold 1 to 8 different Ed25519 keys"):
        files.ids()


def test_a_key_of_another_kind_is_refused(files: Files) -> None:
    _, issued = pki.create_authority(now=NOW)
    files.private.write_bytes(issued.key)
    with pytest.raises(StateError, match="must hold"):
        files.ids()


def test_a_damaged_or_missing_file_is_named(files: Files) -> None:
    files.private.write_bytes(files.private.read_bytes().replace(b"MC4C", b"!!!!"))
    with pytest.raises(StateError, match=r"signing\.key are not PEM"):
        files.ids()
    files.private.unlink()
    with pytest.raises(StateError, match=r"cannot be read: .*signing\.key"):
        files.rotate()
