"""How the agent takes up the keys by which it verifies policy."""

import stat
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from agent_stub import identity_store
from agent_stub.model import Identity
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.policy.manifest import DOMAIN_TAG, PolicyRefusedError, digest_problems, read_manifest
from epm.policy.v1 import agent_pb2
from tests.fakes.agent import KEY_ID, NOW, Installation, document

MINUTE = timedelta(minutes=1)
NEW = ed25519.Ed25519PrivateKey.generate()
NEW_ID = "key-2"
PUBLIC = NEW.public_key().public_bytes_raw()


class House:
    """An installation that signs with either key, and a device of it whose state is on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.installation = Installation()
        self.both = {NEW_ID: PUBLIC, KEY_ID: self.installation.public_key}
        identity_store.save(folder, self.installation.identity(), self.installation.credentials())
        (folder / identity_store.KEY).write_bytes(self.installation.credentials().key)
        self.keeper = PolicyKeeper(folder, self.installation.identity())

    def offer(
        self, revision: int, *, keys: Mapping[str, bytes], new: bool = False, issued: datetime = NOW
    ) -> agent_pb2.Offer:
        """Offer a document under one of the keys, which tells of keys."""
        told = [agent_pb2.ManifestKey(key_id=key_id, public_key=public) for key_id, public in keys.items()]
        changes = {"key_id": NEW_ID} if new else {}
        offer = self.installation.offer(document(), revision, keys=told, issued=issued, **changes)
        if new:
            offer.signed_manifest.signature = NEW.sign(DOMAIN_TAG + offer.signed_manifest.manifest)
        return offer

    def stored(self) -> Identity:
        """Read the identity as the next start does, without the credentials."""
        return identity_store.load_identity(self.folder)

    def restart(self) -> list[str]:
        """Start the keeper anew; return what could not be taken up."""
        self.keeper = PolicyKeeper(self.folder, self.stored())
        return self.keeper.load()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def refused(house: House, offer: agent_pb2.Offer) -> list[str]:
    with pytest.raises(PolicyRefusedError) as refusal:
        house.keeper.apply(offer, NOW)
    return refusal.value.reasons


def test_a_manifest_under_the_old_key_introduces_the_new_one_which_signs_the_next(house: House) -> None:
    house.keeper.apply(house.offer(1, keys=house.both), NOW)
    assert house.keeper.key_ids == (KEY_ID, NEW_ID)
    assert house.keeper.apply(house.offer(2, keys=house.both, new=True, issued=NOW + MINUTE), NOW) == 2
    assert house.restart() == []
    assert house.keeper.key_ids == (KEY_ID, NEW_ID)


def test_keys_are_on_the_disk_privately_before_they_count(house: House) -> None:
    house.keeper.apply(house.offer(1, keys=house.both), NOW)
    file = house.folder / identity_store.IDENTITY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (house.stored().policy_keys, house.stored().policy_keys_issued) == (house.both, NOW)


def test_keys_that_cannot_be_stored_do_not_count(house: House) -> None:
    (house.folder / identity_store.IDENTITY).unlink()
    (house.folder / identity_store.IDENTITY).mkdir()
    assert house.keeper.apply(house.offer(1, keys=house.both), NOW) == 1
    assert house.keeper.key_ids == (KEY_ID,)


def test_a_retired_key_verifies_nothing_any_more(house: House) -> None:
    house.keeper.apply(house.offer(1, keys=house.both), NOW)
    house.keeper.apply(house.offer(2, keys={NEW_ID: PUBLIC}, new=True, issued=NOW + MINUTE), NOW)
    assert house.keeper.key_ids == (NEW_ID,)
    [reason] = refused(house, house.offer(3, keys={}, issued=NOW + 2 * MINUTE))
    assert "which this device does not trust" in reason
    assert house.keeper.held is not None
    assert house.keeper.held.revision == 2


def test_an_old_manifest_brings_no_retired_key_back_not_even_after_a_restart(house: House) -> None:
    old = house.offer(2, keys=house.both, new=True, issued=NOW + MINUTE)
    house.keeper.apply(house.offer(1, keys=house.both), NOW)
    house.keeper.apply(old, NOW)
    retired = house.offer(2, keys={NEW_ID: PUBLIC}, new=True, issued=NOW + 2 * MINUTE)
    house.keeper.confirm(retired.signed_manifest, NOW)
    for _ in range(2):
        house.keeper.confirm(old.signed_manifest, NOW)
        house.keeper.apply(old, NOW)
        assert house.keeper.key_ids == (NEW_ID,)
        assert house.restart() == []


def test_a_manifest_that_never_came_brings_back_no_key_that_a_later_one_did_not_tell(house: House) -> None:
    house.keeper.apply(house.offer(1, keys={}), NOW)
    lost = house.offer(1, keys=house.both, issued=NOW + MINUTE)
    same = house.offer(1, keys={KEY_ID: house.installation.public_key}, issued=NOW + 2 * MINUTE)
    house.keeper.confirm(same.signed_manifest, NOW + 10 * MINUTE)
    house.restart()
    house.keeper.confirm(lost.signed_manifest, NOW + 10 * MINUTE)
    assert house.keeper.key_ids == (KEY_ID,)


def test_the_stored_policy_verifies_by_the_keys_that_are_left_also_without_a_server(house: House) -> None:
    house.keeper.apply(house.offer(1, keys=house.both), NOW)
    retired = house.offer(1, keys={NEW_ID: PUBLIC}, new=True, issued=NOW + MINUTE)
    house.keeper.confirm(retired.signed_manifest, NOW)
    assert house.restart() == []
    assert house.keeper.held is not None
    stored = agent_pb2.Offer.FromString((house.folder / "policy").read_bytes())
    manifest, problems = read_manifest(stored.signed_manifest, house.stored())
    assert (problems, digest_problems(manifest, stored.document)) == ([], [])


@pytest.mark.parametrize("keys_first", [True, False])
def test_a_crash_between_policy_and_keys_leaves_a_policy_that_verifies(house: House, *, keys_first: bool) -> None:
    """The policy is written first; the other order is here to show that the test would notice."""
    house.keeper.apply(house.offer(1, keys=house.both), NOW)
    before = {name: (house.folder / name).read_bytes() for name in ("policy", identity_store.IDENTITY)}
    retired = house.offer(1, keys={NEW_ID: PUBLIC}, new=True, issued=NOW + MINUTE)
    house.keeper.confirm(retired.signed_manifest, NOW)
    undone = "policy" if keys_first else identity_store.IDENTITY
    (house.folder / undone).write_bytes(before[undone])
    assert bool(house.restart()) is keys_first


def test_a_set_without_the_key_that_signed_is_refused(house: House) -> None:
    assert refused(house, house.offer(1, keys={NEW_ID: PUBLIC})) == [
        "the manifest tells of keys without the one that signed it"
    ]
    assert refused(house, house.offer(1, keys={KEY_ID: PUBLIC})) == [
        "the manifest tells of keys without the one that signed it"
    ]
    assert house.keeper.key_ids == (KEY_ID,)


@pytest.mark.parametrize("public", [b"", b"short", bytes(33)])
def test_a_set_with_what_is_no_key_is_refused(house: House, public: bytes) -> None:
    [reason] = refused(house, house.offer(1, keys=house.both | {"bad": public}))
    assert "not 1 to 32 different Ed25519 keys" in reason


def test_no_set_leaves_the_keys_as_they_are(house: House) -> None:
    house.keeper.apply(house.offer(1, keys=house.both), NOW)
    house.keeper.apply(house.offer(2, keys={}, issued=NOW + MINUTE), NOW)
    assert house.keeper.key_ids == (KEY_ID, NEW_ID)


def test_a_manifest_that_is_refused_tells_of_no_keys(house: House) -> None:
    offer = house.offer(1, keys=house.both)
    offer.document = b"another"
    refused(house, offer)
    assert house.keeper.key_ids == (KEY_ID,)


@pytest.mark.parametrize("ahead", [timedelta(days=1, seconds=1), timedelta(days=366)])
def test_what_a_far_future_says_is_not_taken_up_for_it_could_not_be_corrected_until_then(
    house: House, ahead: timedelta
) -> None:
    future = house.offer(1, keys=house.both, issued=NOW + ahead)
    with pytest.raises(PolicyRefusedError, match="is not yet valid: it was issued at 202") as refusal:
        house.keeper.apply(future, NOW)
    assert refusal.value.passes
    assert (house.keeper.held, house.keeper.key_ids) == (None, (KEY_ID,))
    house.keeper.apply(house.offer(1, keys=house.both, issued=NOW), NOW)
    assert NEW_ID in house.keeper.key_ids
    with pytest.raises(PolicyRefusedError, match="is not yet valid"):
        house.keeper.confirm(future.signed_manifest, NOW)


def test_a_server_may_be_a_day_ahead(house: House) -> None:
    house.keeper.apply(house.offer(1, keys=house.both, issued=NOW + timedelta(days=1)), NOW)
    assert house.keeper.key_ids == (KEY_ID, NEW_ID)


def test_an_identity_of_an_older_version_says_nothing_of_manifests_and_learns(house: House) -> None:
    identity = house.installation.identity()
    assert house.stored() == identity
    assert replace(house.stored(), policy_keys_issued=NOW) != identity
