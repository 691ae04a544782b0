import stat
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from agent_stub.files import StateError
from agent_stub.policy.keeper import NEVER, PolicyKeeper
from agent_stub.policy.manifest import PolicyRefusedError
from elevation.codec.document import encode_document
from epm.elevation.v1 import document_pb2, rules_pb2
from epm.policy.v1 import agent_pb2
from tests.builders.elevation import policy, rule
from tests.fakes.agent import NOW, TENANT, Installation, document

CONTENT = document(policy(rule("r", file_name="setup.exe", file_hash="a" * 64)))


@pytest.fixture(scope="module")
def house() -> Installation:
    return Installation()


@pytest.fixture
def keeper(tmp_path: Path, house: Installation) -> PolicyKeeper:
    return PolicyKeeper(tmp_path, house.identity())


def restarted(folder: Path, house: Installation) -> tuple[PolicyKeeper, list[str]]:
    keeper = PolicyKeeper(folder, house.identity())
    return keeper, keeper.load()


def reasons(keeper: PolicyKeeper, offer: agent_pb2.Offer) -> list[str]:
    with pytest.raises(PolicyRefusedError) as refusal:
        keeper.apply(offer, NOW)
    return refusal.value.reasons


def test_an_offer_that_fits_is_in_force_at_once(keeper: PolicyKeeper, house: Installation) -> None:
    assert keeper.apply(house.offer(CONTENT, 3), NOW) == 3
    assert keeper.held is not None
    assert (keeper.held.revision, keeper.confirmed) == (3, NOW)


def test_the_exact_bytes_are_kept_privately_and_are_in_force_after_a_restart(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    offer = house.offer(CONTENT, 3)
    keeper.apply(offer, NOW)
    kept = agent_pb2.Offer.FromString((tmp_path / "policy").read_bytes())
    assert (kept.document, kept.signed_manifest) == (offer.document, offer.signed_manifest)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    again, problems = restarted(tmp_path, house)
    assert problems == []
    assert again.held is not None
    assert (again.held.revision, again.confirmed) == (3, NOW)


def test_an_expired_manifest_still_holds_after_a_restart_because_staleness_has_its_own_clock(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(CONTENT, 1, expires=NOW + timedelta(seconds=1)), NOW)
    assert restarted(tmp_path, house)[0].held is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tenant": "other.test"}, f"the manifest is for the installation 'other.test', not '{TENANT}'"),
        ({"device_id": "other"}, "the manifest is for the device 'other', not 'device-17'"),
        ({"key_id": "other"}, "the manifest is signed by the key 'other', which this device does not trust"),
        ({"revision": 0}, "the manifest has no revision"),
        ({"expires": None}, "the manifest does not say when it expires"),
        ({"expires": NOW}, "the manifest expired at 2026-11-23T12:00:00+00:00"),
        ({"document_sha256": b"\0" * 32}, "the document's SHA-256 is not the one of the manifest"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    keeper: PolicyKeeper, house: Installation, changes: dict[str, object], reason: str
) -> None:
    assert reasons(keeper, house.offer(CONTENT, **({"revision": 1} | changes))) == [reason]  # type: ignore[arg-type]
    assert keeper.held is None


def test_all_that_is_wrong_with_a_manifest_is_said_at_once(keeper: PolicyKeeper, house: Installation) -> None:
    offer = house.offer(CONTENT, 1, tenant="other", device_id="other")
    offer.signed_manifest.signature = bytes(64)
    assert len(reasons(keeper, offer)) == 3


def test_an_offer_that_is_wrong_in_every_way_is_refused_with_every_reason(
    keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(CONTENT, 5), NOW)
    offer = house.offer(CONTENT, 4, tenant="other", device_id="other", expires=NOW, document_sha256=bytes(32))
    offer.signed_manifest.signature = bytes(64)
    assert reasons(keeper, offer) == [
        "the signature of the manifest is wrong",
        f"the manifest is for the installation 'other', not '{TENANT}'",
        "the manifest is for the device 'other', not 'device-17'",
        "the manifest expired at 2026-11-23T12:00:00+00:00",
        "revision 4 is older than revision 5, which the device has had",
        "the document's SHA-256 is not the one of the manifest",
    ]
    assert keeper.held is not None
    assert keeper.held.revision == 5


def test_what_is_wrong_with_manifest_and_document_is_said_together(keeper: PolicyKeeper, house: Installation) -> None:
    message = encode_document(CONTENT)
    message.any_user.settings.default_response = 99  # type: ignore[assignment]
    found = reasons(keeper, house.offer(message.SerializeToString(), tenant="other"))
    assert len(found) == 2
    assert found[1].startswith("any_user.settings.default_response")


def test_a_time_that_no_calendar_has_is_a_manifest_that_cannot_be_read(
    keeper: PolicyKeeper, house: Installation
) -> None:
    offer = house.offer(CONTENT, expires=Timestamp(seconds=1 << 60))
    assert reasons(keeper, offer) == ["the manifest cannot be read"]


def test_a_policy_that_the_disk_does_not_give_out_is_a_refused_start(tmp_path: Path, house: Installation) -> None:
    (tmp_path / "policy").mkdir()
    with pytest.raises(StateError, match=r"policy: cannot be read .*; repair the disk, or move the file away"):
        restarted(tmp_path, house)


def test_a_damaged_policy_that_cannot_be_set_aside_is_a_refused_start(tmp_path: Path, house: Installation) -> None:
    (tmp_path / "policy").write_bytes(b"no policy")
    (tmp_path / "policy.damaged").mkdir()
    with pytest.raises(StateError, match="cannot be set aside"):
        restarted(tmp_path, house)


def test_the_signature_of_another_key_is_refused(keeper: PolicyKeeper) -> None:
    assert reasons(keeper, Installation().offer(CONTENT)) == ["the signature of the manifest is wrong"]


def test_a_manifest_that_is_no_message_is_refused(keeper: PolicyKeeper) -> None:
    offer = agent_pb2.Offer(signed_manifest=agent_pb2.SignedManifest(manifest=b"\xff"), document=b"")
    assert reasons(keeper, offer) == ["the manifest cannot be read"]


def test_a_document_that_is_no_message_is_refused(keeper: PolicyKeeper, house: Installation) -> None:
    assert reasons(keeper, house.offer(b"\xff")) == ["the document cannot be read"]


def test_unknown_fields_and_values_are_refused_at_any_depth_and_all_named(
    keeper: PolicyKeeper, house: Installation
) -> None:
    message = encode_document(CONTENT)
    message.any_user.settings.default_response = 99  # type: ignore[assignment]
    detection = message.rules_policies[0].rules[0].detection
    detection.MergeFrom(rules_pb2.Detection.FromString(b"\xa2\x06\x01x"))
    found = reasons(keeper, house.offer(message.SerializeToString()))
    assert [reason.split(":")[0] for reason in found] == [
        "rules_policies[0].rules[0].detection",
        "any_user.settings.default_response",
    ]


@pytest.mark.parametrize(
    ("changes", "passes"), [({}, True), ({"device_id": "other"}, False), ({"document_sha256": bytes(32)}, False)]
)
def test_what_has_expired_by_the_clock_passes_unless_more_is_wrong(
    keeper: PolicyKeeper, house: Installation, changes: dict[str, object], *, passes: bool
) -> None:
    with pytest.raises(PolicyRefusedError) as refusal:
        keeper.apply(house.offer(CONTENT, 1, expires=NOW, **changes), NOW)
    assert refusal.value.passes is passes


def test_a_document_of_another_device_is_refused(keeper: PolicyKeeper, house: Installation) -> None:
    found = reasons(keeper, house.offer(document(device_id="other")))
    assert found == ["device_id: the document is for the device 'other'"]


def test_rules_that_no_checked_policy_holds_are_refused(keeper: PolicyKeeper, house: Installation) -> None:
    message = encode_document(CONTENT)
    message.rules_policies[0].rules[0].detection.file_name = "**"
    assert any("fileName" in reason for reason in reasons(keeper, house.offer(message.SerializeToString())))


def test_a_policy_that_a_user_names_and_nobody_sent_is_refused(keeper: PolicyKeeper, house: Installation) -> None:
    message = encode_document(CONTENT)
    message.users.add(user="alice", user_targeted=["missing"])
    assert any('"missing"' in reason for reason in reasons(keeper, house.offer(message.SerializeToString())))


def test_a_refused_offer_leaves_the_last_good_policy_in_force(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(CONTENT, 1), NOW)
    reasons(keeper, house.offer(b"\xff", 2))
    assert keeper.held is not None
    assert keeper.held.revision == 1
    again, _ = restarted(tmp_path, house)
    assert again.held is not None
    assert again.held.revision == 1


def test_an_older_revision_is_refused(keeper: PolicyKeeper, house: Installation) -> None:
    keeper.apply(house.offer(CONTENT, 5), NOW)
    with pytest.raises(PolicyRefusedError, match="revision 4 is older than revision 5") as refusal:
        keeper.apply(house.offer(CONTENT, 4), NOW)
    assert refusal.value.code == "POLICY_ROLLBACK_REFUSED"


def test_the_same_revision_again_confirms_and_changes_nothing(keeper: PolicyKeeper, house: Installation) -> None:
    keeper.apply(house.offer(CONTENT, 5), NOW)
    assert keeper.apply(house.offer(CONTENT, 5), NOW + timedelta(hours=1)) == 5
    assert keeper.confirmed == NOW + timedelta(hours=1)


def test_the_same_revision_with_another_document_is_refused(keeper: PolicyKeeper, house: Installation) -> None:
    keeper.apply(house.offer(CONTENT, 5), NOW)
    assert reasons(keeper, house.offer(document(), 5)) == ["revision 5 was another document before"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty"])
def test_a_damaged_policy_is_set_aside_and_an_older_one_stays_out(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation, damage: str
) -> None:
    keeper.apply(house.offer(CONTENT, 5), NOW)
    content = (tmp_path / "policy").read_bytes()
    flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
    bad = {"cut": content[:-10], "flipped": flipped, "text": b"no policy", "empty": b""}[damage]
    (tmp_path / "policy").write_bytes(bad)
    again, problems = restarted(tmp_path, house)
    assert again.held is None
    assert problems[0].startswith("the stored policy is not usable and was set aside")
    assert (tmp_path / "policy.damaged").read_bytes() == bad
    assert "revision 4 is older" in reasons(again, house.offer(CONTENT, 4))[0]
    assert again.apply(house.offer(CONTENT, 5), NOW) == 5


def test_a_damaged_note_of_the_last_contact_makes_the_policy_stale_not_fresh(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(CONTENT, 5), NOW)
    (tmp_path / "contact.json").write_text("{", encoding="utf-8")
    again, problems = restarted(tmp_path, house)
    assert len(problems) == 1
    assert again.held is not None
    assert again.confirmed == NEVER
    assert "revision 4 is older" in reasons(again, house.offer(CONTENT, 4))[0]


def test_a_full_disk_refuses_the_offer_and_keeps_the_old_policy(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(CONTENT, 1), NOW)
    (tmp_path / ".policy.new").mkdir()
    assert "the device cannot store the policy" in reasons(keeper, house.offer(document(), 2))[0]
    again, _ = restarted(tmp_path, house)
    assert again.held is not None
    assert again.held.revision == 1


def test_a_confirmation_is_remembered(tmp_path: Path, keeper: PolicyKeeper, house: Installation) -> None:
    keeper.apply(house.offer(CONTENT, 1), NOW)
    assert keeper.held is not None
    later = NOW + timedelta(hours=5)
    keeper.confirm(house.signed(keeper.held.sha256, 1), later)
    assert restarted(tmp_path, house)[0].confirmed == later


def test_confirmations_that_come_fast_count_at_once_and_are_written_now_and_then(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(CONTENT, 1), NOW)
    assert keeper.held is not None
    signed = house.signed(keeper.held.sha256, 1)
    keeper.confirm(signed, NOW + timedelta(minutes=4))
    assert keeper.confirmed == NOW + timedelta(minutes=4)
    assert restarted(tmp_path, house)[0].confirmed == NOW
    keeper.confirm(signed, NOW + timedelta(minutes=5))
    assert restarted(tmp_path, house)[0].confirmed == NOW + timedelta(minutes=5)


@pytest.mark.parametrize("revision", [1, 2])
def test_a_confirmation_of_what_the_device_does_not_hold_counts_for_nothing(
    keeper: PolicyKeeper, house: Installation, revision: int
) -> None:
    keeper.apply(house.offer(CONTENT, 1), NOW)
    with pytest.raises(PolicyRefusedError, match="does not hold"):
        keeper.confirm(house.signed(bytes(32), revision), NOW + timedelta(hours=5))
    assert keeper.confirmed == NOW


def test_a_forged_confirmation_counts_for_nothing(keeper: PolicyKeeper, house: Installation) -> None:
    keeper.apply(house.offer(CONTENT, 1), NOW)
    assert keeper.held is not None
    with pytest.raises(PolicyRefusedError, match="signature"):
        keeper.confirm(Installation().signed(keeper.held.sha256, 1), NOW + timedelta(hours=5))


def test_a_document_without_settings_is_a_policy_that_says_nothing_applies(
    keeper: PolicyKeeper, house: Installation
) -> None:
    empty = document_pb2.PolicyDocument(device_id="device-17")
    keeper.apply(house.offer(empty.SerializeToString()), NOW)
    assert keeper.held is not None
    assert not keeper.held.policy.is_enabled()
