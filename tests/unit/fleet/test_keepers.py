from collections import Counter
from pathlib import Path

import pytest

from agent_stub import identity_store
from agent_stub.policy.manifest import PolicyRefusedError
from fleet.faults import Armed, KilledError
from fleet.keepers import FaithfulMemory, LightKeeper, holding_of
from fleet.model import Fault, FaultKind, Holding
from tests.fakes.agent import NOW, Installation, document

CONTENT = document()


@pytest.fixture(scope="module")
def house() -> Installation:
    return Installation()


@pytest.fixture
def armed() -> Armed:
    return Armed(Counter())


@pytest.fixture
def memory(tmp_path: Path, house: Installation, armed: Armed) -> FaithfulMemory:
    return FaithfulMemory(tmp_path / "agent", house.identity(), house.credentials(), armed)


def kill(memory: FaithfulMemory, house: Installation, armed: Armed, kind: FaultKind) -> Holding:
    """Apply revision 1, be killed while revision 2 is stored, and start again."""
    keeper = memory.restarted()
    keeper.apply(house.offer(CONTENT, 1), NOW)
    armed.arm(Fault(kind))
    with pytest.raises(KilledError):
        keeper.apply(house.offer(CONTENT, 2), NOW)
    assert holding_of(keeper).revision == 1
    return holding_of(memory.restarted())


def test_an_agent_killed_before_the_rename_starts_with_what_it_had(
    tmp_path: Path, memory: FaithfulMemory, house: Installation, armed: Armed
) -> None:
    assert kill(memory, house, armed, FaultKind.KILL_BEFORE_RENAME).revision == 1
    assert (tmp_path / "agent" / ".policy.new").exists()


def test_an_agent_killed_after_the_rename_starts_with_what_it_was_given(
    memory: FaithfulMemory, house: Installation, armed: Armed
) -> None:
    assert kill(memory, house, armed, FaultKind.KILL_AFTER_RENAME).revision == 2


def test_a_faithful_agent_refuses_what_a_real_one_refuses(memory: FaithfulMemory, house: Installation) -> None:
    keeper = memory.restarted()
    with pytest.raises(PolicyRefusedError, match="cannot be read"):
        keeper.apply(house.offer(b"\xff", 1), NOW)


def test_a_faithful_agent_goes_back_by_one_document_and_forgets_that_it_had_more(
    memory: FaithfulMemory, house: Installation
) -> None:
    assert not memory.rewind()
    keeper = memory.restarted()
    keeper.apply(house.offer(CONTENT, 1), NOW)
    assert not memory.rewind()
    keeper.apply(house.offer(CONTENT, 2), NOW)
    assert memory.rewind()
    older = memory.restarted()
    assert holding_of(older).revision == 1
    older.apply(house.offer(CONTENT, 2), NOW)
    assert holding_of(older).revision == 2


@pytest.mark.usefixtures("memory")
def test_the_folder_of_a_faithful_agent_is_one_that_a_real_agent_runs_on(tmp_path: Path, house: Installation) -> None:
    identity, _ = identity_store.load(tmp_path / "agent")
    assert identity == house.identity()


def test_a_light_agent_keeps_the_bytes_and_says_what_it_holds(house: Installation) -> None:
    keeper = LightKeeper(house.identity())
    offer = house.offer(CONTENT, 3)
    assert keeper.apply(offer, NOW) == 3
    assert keeper.document == offer.document
    assert holding_of(keeper).revision == 3
    assert keeper.restarted() is keeper


def test_a_light_agent_checks_signature_digest_order_and_device(house: Installation) -> None:
    keeper = LightKeeper(house.identity())
    keeper.apply(house.offer(CONTENT, 3), NOW)
    older = house.offer(CONTENT, 2)
    forged, altered = house.offer(CONTENT, 4), house.offer(CONTENT, 4)
    forged.signed_manifest.signature = bytes(64)
    altered.document += b"\0"
    foreign = house.offer(b"", 4)
    told = []
    for offer in (older, forged, altered, foreign):
        with pytest.raises(PolicyRefusedError) as refusal:
            keeper.apply(offer, NOW)
        told += refusal.value.reasons
    assert told == [
        "revision 2 is older than revision 3, which the device has had",
        "the signature of the manifest is wrong",
        "the document's SHA-256 is not the one of the manifest",
        "device_id: the document is for the device ''",
    ]
    assert holding_of(keeper).revision == 3


def test_a_light_agent_goes_back_by_one_document(house: Installation) -> None:
    keeper = LightKeeper(house.identity())
    assert not keeper.rewind()
    keeper.apply(house.offer(CONTENT, 1), NOW)
    keeper.apply(house.offer(CONTENT, 2), NOW)
    assert keeper.rewind()
    assert holding_of(keeper).revision == 1
    assert keeper.apply(house.offer(CONTENT, 2), NOW) == 2


def test_a_clone_holds_what_its_original_holds_and_goes_its_own_way(house: Installation) -> None:
    original = LightKeeper(house.identity())
    original.apply(house.offer(CONTENT, 1), NOW)
    clone = LightKeeper(house.identity()).copy_of(original)
    assert holding_of(clone) == holding_of(original)
    clone.apply(house.offer(CONTENT, 2), NOW)
    assert (holding_of(original).revision, holding_of(clone).revision) == (1, 2)


def test_a_light_agent_that_is_dismissed_leaves_the_disk_alone(
    tmp_path: Path, house: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy").write_text("somebody else's")
    LightKeeper(house.identity()).dismiss()
    assert (tmp_path / "policy").exists()
