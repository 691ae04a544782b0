"""Bytes that were cut off or flipped: on the way to the agent, and on its disk."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_stub import identity_store
from agent_stub.files import StateError, write_private
from agent_stub.keys import fits
from agent_stub.policy.keeper import NEVER, POLICY, PolicyKeeper
from agent_stub.policy.manifest import PolicyRefusedError
from epm.policy.v1 import agent_pb2
from tests.builders.elevation import policy, rule
from tests.fakes.agent import NOW, Installation, document

HOUSE = Installation()
IDENTITY, CREDENTIALS = HOUSE.identity(), HOUSE.credentials()
OLD = HOUSE.offer(document(policy(rule("r", file_name="old.exe", file_hash="a" * 64))), 5)
NEW = HOUSE.offer(document(policy(rule("r", file_name="new.exe", file_hash="b" * 64))), 6)
BITS = st.integers(0, 7)
PARTS = ("document", "manifest", "signature")
LATER = NOW + timedelta(minutes=1)


@dataclass(frozen=True)
class Damage:
    """One flipped bit, or the end cut off, at a place from 0 (the first byte) to 1 (the last one)."""

    place: float
    bit: int | None

    def __call__(self, content: bytes) -> bytes:
        at = min(int(self.place * len(content)), len(content) - 1)
        if self.bit is None:
            return content[:at]
        return content[:at] + bytes([content[at] ^ 1 << self.bit]) + content[at + 1 :]


PLACES = st.floats(0, 1)
DAMAGES = st.builds(Damage, PLACES, st.none() | BITS)


def files_of_a_device() -> dict[str, bytes]:
    """Return what is on the disk of a device that holds a policy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_private(folder / identity_store.KEY, CREDENTIALS.key)
        identity_store.save(folder, IDENTITY, CREDENTIALS)
        PolicyKeeper(folder, IDENTITY).apply(OLD, NOW)
        return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


FILES = files_of_a_device()


@contextmanager
def device(**changes: Damage) -> Iterator[tuple[Path, PolicyKeeper]]:
    """Give the state folder of a device that holds a policy, with damage to files, and what starts on it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in FILES.items():
            damage = changes.get(file.partition(".")[0], bytes)
            (folder / file).write_bytes(damage(content))
        yield folder, PolicyKeeper(folder, IDENTITY)


def holds_the_old_one(keeper: PolicyKeeper) -> bool:
    return keeper.held is not None and keeper.held.revision == 5 and keeper.held.policy.for_user("alice") is not None


def damaged(offer: agent_pb2.Offer, part: str, damage: Damage) -> agent_pb2.Offer:
    found = agent_pb2.Offer.FromString(offer.SerializeToString())
    holder = found if part == "document" else found.signed_manifest
    setattr(holder, part, damage(getattr(holder, part)))
    return found


@pytest.mark.parametrize("part", PARTS)
@given(damage=DAMAGES)
@example(damage=Damage(0.0, None))
@example(damage=Damage(1.0, None))
def test_an_offer_with_a_flipped_bit_or_without_its_end_is_refused_and_the_old_policy_stays(
    part: str, damage: Damage
) -> None:
    with device() as (folder, keeper):
        keeper.load()
        with pytest.raises(PolicyRefusedError) as refusal:
            keeper.apply(damaged(NEW, part, damage), LATER)
        assert not refusal.value.passes
        assert holds_the_old_one(keeper)
        assert contents(folder) == FILES


@given(part=st.sampled_from(["manifest", "signature"]), damage=DAMAGES)
def test_a_confirmation_with_damage_confirms_nothing(part: str, damage: Damage) -> None:
    with device() as (_, keeper):
        keeper.load()
        with pytest.raises(PolicyRefusedError):
            keeper.confirm(damaged(OLD, part, damage).signed_manifest, LATER)
        assert keeper.confirmed == NOW


@given(damage=DAMAGES)
@example(damage=Damage(0.0, None))
def test_a_stored_policy_with_damage_is_not_in_force_and_that_is_said(damage: Damage) -> None:
    with device(policy=damage) as (folder, keeper):
        problems = keeper.load()
        assert keeper.held is None
        assert [problem for problem in problems if "set aside" in problem]
        assert (folder / "policy.damaged").read_bytes() == damage(FILES[POLICY])
        with pytest.raises(PolicyRefusedError, match="revision 4 is older than revision 5"):
            keeper.apply(HOUSE.offer(document(), 4), LATER)
        assert keeper.apply(OLD, LATER) == 5


@given(damage=DAMAGES)
def test_a_note_of_the_last_contact_with_damage_is_said_and_lets_no_older_policy_in(damage: Damage) -> None:
    with device() as (_, whole), device(contact=damage) as (_, keeper):
        whole.load()
        problems = keeper.load()
        assert holds_the_old_one(keeper)
        assert keeper._contact == whole._contact or (problems and keeper.confirmed == NEVER)
        with pytest.raises(PolicyRefusedError, match="revision 4 is older than revision 5"):
            keeper.apply(HOUSE.offer(document(), 4), LATER)
        assert keeper.apply(NEW, LATER) == 6


@pytest.mark.parametrize("file", ["identity", "key", "certificate", "ca"])
@given(damage=DAMAGES)
@example(damage=Damage(0.0, None))
@example(damage=Damage(0.064453125, 1))  # makes a certificate of a version that there is not
def test_a_damaged_identity_is_a_refused_start_or_the_same_device_under_the_same_keys(
    file: str, damage: Damage
) -> None:
    with device(**{file: damage}) as (folder, _):
        try:
            identity, credentials = identity_store.load(folder)
        except StateError as error:
            assert "move the folder away and enrol the device anew" in str(error)  # noqa: PT017 - both may be
        else:
            assert identity == IDENTITY
            assert fits(credentials.key, credentials.certificate)
