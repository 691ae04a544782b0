import pytest

from fleet.invariants import Witness
from fleet.model import Holding, Law

OWN, OTHER = "device-1", "device-2"
NOTHING, OLD, HELD, NEW = Holding(), Holding(2, b"b"), Holding(3, b"c"), Holding(4, b"d")


@pytest.fixture
def witness() -> Witness:
    seen = Witness("sim-00001", OWN)
    seen.opened(by_script=True)
    seen.holds(HELD)
    return seen


def broken(witness: Witness) -> list[Law]:
    return [violation.law for violation in witness.take()]


def offered(witness: Witness, what: Holding, *device_ids: str, held: Holding = HELD) -> None:
    witness.offered(what, frozenset(device_ids or (OWN,)), held)


def test_an_agent_and_a_server_that_keep_the_rules_break_no_law(witness: Witness) -> None:
    witness.confirmed(HELD, HELD)
    offered(witness, NEW)
    witness.spoke()
    witness.acknowledged(4, NEW)
    offered(witness, Holding(5, b"e"), held=NEW)
    witness.refused(NEW)
    witness.sent_away(comes_back=True)
    witness.opened(by_script=False)
    witness.spoke()
    witness.confirmed(NEW, NEW)
    assert broken(witness) == []


@pytest.mark.parametrize("after", [OLD, NOTHING, Holding(3, b"other")])
def test_a_revision_that_goes_down_or_changes_its_bytes_is_seen(witness: Witness, after: Holding) -> None:
    witness.holds(after)
    assert broken(witness) == [Law.REVISION_NEVER_DOWN]


def test_a_revision_that_goes_down_while_nobody_looks_is_seen_at_the_next_word(witness: Witness) -> None:
    witness.confirmed(OLD, OLD)
    assert broken(witness) == [Law.REVISION_NEVER_DOWN]


def test_what_the_script_took_back_may_go_down_once(witness: Witness) -> None:
    witness.rewound(OLD)
    witness.holds(OLD)
    assert broken(witness) == []
    witness.holds(NOTHING)
    assert broken(witness) == [Law.REVISION_NEVER_DOWN]


def test_a_refused_offer_that_is_in_force_all_the_same_is_seen(witness: Witness) -> None:
    offered(witness, NEW)
    witness.refused(NEW)
    assert broken(witness) == [Law.LAST_GOOD_STAYS]


def test_an_ack_of_what_is_not_in_force_is_seen(witness: Witness) -> None:
    offered(witness, NEW)
    witness.acknowledged(4, HELD)
    assert broken(witness) == [Law.ACK_MEANS_IN_FORCE]


def test_an_offer_of_what_is_held_is_seen(witness: Witness) -> None:
    offered(witness, HELD)
    assert broken(witness) == [Law.NO_NEEDLESS_OFFER]


def test_old_content_may_come_again_under_a_new_revision(witness: Witness) -> None:
    offered(witness, Holding(4, HELD.sha256))
    assert broken(witness) == []


def test_an_offer_of_an_older_revision_is_seen(witness: Witness) -> None:
    offered(witness, OLD)
    assert broken(witness) == [Law.NO_OLD_OFFER]


@pytest.mark.parametrize("named", [(OTHER,), (OWN, OTHER), ("",)])
def test_a_document_or_a_manifest_for_another_device_is_seen(witness: Witness, named: tuple[str, ...]) -> None:
    offered(witness, NEW, *named)
    assert broken(witness) == [Law.OWN_DOCUMENTS_ONLY]


def test_a_confirmation_of_what_is_not_held_is_seen(witness: Witness) -> None:
    witness.confirmed(NEW, HELD)
    assert broken(witness) == [Law.CONFIRMS_WHAT_IS_HELD]


def test_who_speaks_after_go_away_is_seen(witness: Witness) -> None:
    witness.sent_away(comes_back=True)
    witness.spoke()
    assert broken(witness) == [Law.GO_AWAY_OBEYED]


def test_who_comes_back_though_told_not_to_is_seen_unless_the_script_made_it(witness: Witness) -> None:
    witness.sent_away(comes_back=False)
    witness.opened(by_script=False)
    assert broken(witness) == [Law.GO_AWAY_OBEYED]
    witness.sent_away(comes_back=False)
    witness.opened(by_script=True)
    assert broken(witness) == []


def test_a_violation_names_the_agent_and_is_told_once(witness: Witness) -> None:
    offered(witness, HELD)
    (violation,) = witness.take()
    assert (violation.agent, violation.detail) == ("sim-00001", "was offered revision 3, which it holds")
    assert witness.take() == []
