from dataclasses import replace
from datetime import timedelta

import pytest

from services.policy.model.delivery import LARGEST_REVISION, LONGEST_REASON, MOST_REASONS, Delivery, Desired
from services.policy.model.states import DeliveryState
from tests.fakes.clock import NOW

ONE, TWO = b"1" * 32, b"2" * 32
LATER = NOW + timedelta(hours=1)
NEW = Delivery("d1")
PREPARED = NEW.prepared(ONE, Desired.ON)
OFFERED = PREPARED.sent(NOW)
APPLIED = OFFERED.applied(1, Desired.ON, NOW)


def test_a_document_is_pending_then_offered_then_applied_or_rejected() -> None:
    rejected = OFFERED.rejected(1, ("no",), NOW)
    assert [found.state for found in (NEW, PREPARED, OFFERED, APPLIED, rejected)] == [
        DeliveryState.PENDING,
        DeliveryState.PENDING,
        DeliveryState.OFFERED,
        DeliveryState.APPLIED,
        DeliveryState.REJECTED,
    ]


def test_the_same_document_keeps_its_revision_and_its_refusal() -> None:
    rejected = OFFERED.rejected(1, ("no",), NOW)
    assert rejected.prepared(ONE, Desired.ON) == rejected
    assert rejected.sent(LATER) == rejected
    assert rejected.prepared(TWO, Desired.ON).state is DeliveryState.PENDING


def test_what_was_put_off_is_due_after_the_wait_and_becomes_another_document() -> None:
    wait = timedelta(minutes=5)
    put_off = OFFERED.rejected(1, ("no room",), NOW, temporary=True)
    assert [put_off.is_due(NOW + after, wait) for after in (timedelta(), wait - timedelta(seconds=1), wait)] == [
        False,
        False,
        True,
    ]
    assert put_off.is_due(NOW - timedelta(days=1), wait)  # the clock was set back
    assert put_off.renewed(NOW, wait) == put_off
    again = put_off.renewed(NOW + wait, wait).prepared(ONE, Desired.ON)
    assert (again.revision, again.state, again.put_off) == (2, DeliveryState.PENDING, None)


def test_a_document_that_is_offered_as_it_is_prepared_is_what_two_steps_make_of_it() -> None:
    rejected = OFFERED.rejected(1, ("no",), NOW)
    for known in (NEW, PREPARED, OFFERED, APPLIED, rejected):
        for sha256 in (ONE, TWO):
            at_once = known.prepared(sha256, Desired.ON, offered=LATER).sent(LATER)
            assert at_once == known.prepared(sha256, Desired.ON).sent(LATER)


def test_only_the_refusal_of_the_newest_document_puts_it_off() -> None:
    newer = OFFERED.prepared(TWO, Desired.ON).sent(NOW)
    assert newer.rejected(1, ("no room",), NOW, temporary=True).put_off is None
    put_off = newer.rejected(2, ("no room",), NOW, temporary=True)
    assert put_off.rejected(2, ("bad",), LATER).put_off is None
    assert put_off.given_up("too long").put_off is None
    assert put_off.applied(2, Desired.ON, LATER).put_off is None


def test_another_document_has_the_next_revision_and_was_not_offered() -> None:
    other = APPLIED.prepared(TWO, Desired.OFF)
    assert (other.revision, other.offered, other.applied_revision) == (2, None, 1)
    assert (other.acknowledged(Desired.ON), other.acknowledged(Desired.OFF)) == (True, False)


def test_a_document_is_offered_first_only_once() -> None:
    assert OFFERED.sent(LATER).offered == NOW


def test_a_device_that_comes_back_with_nothing_has_acknowledged_nothing() -> None:
    back = APPLIED.opened("stream-2", revision=0, sha256=b"", now=LATER)
    assert (back.revision, back.state) == (1, DeliveryState.OFFERED)
    assert not back.acknowledged(Desired.ON)


def test_a_device_that_comes_back_with_an_older_document_has_not_acknowledged_the_newest() -> None:
    newer = APPLIED.prepared(TWO, Desired.OFF).sent(NOW).applied(2, Desired.OFF, NOW)
    back = newer.opened("stream-2", revision=1, sha256=ONE, now=LATER)
    assert (back.revision, back.applied_revision, back.applied_desired) == (2, 1, None)


def test_a_device_that_still_holds_the_last_one_it_applied_keeps_what_that_wanted() -> None:
    back = APPLIED.prepared(TWO, Desired.OFF).opened("stream-2", revision=1, sha256=ONE, now=LATER)
    assert back.acknowledged(Desired.ON)


@pytest.mark.parametrize(("revision", "sha256"), [(1, TWO), (9, ONE)])
def test_what_a_device_holds_and_nobody_here_made_is_passed_by_the_next_revision(revision: int, sha256: bytes) -> None:
    ahead = APPLIED.opened("stream-2", revision=revision, sha256=sha256, now=LATER)
    assert ahead.prepared(ONE, Desired.ON).revision == revision + 1


def test_the_first_time_at_which_settings_were_lost_counts() -> None:
    losing = APPLIED.losing(NOW)
    assert (APPLIED.loses(Desired.NONE), losing.loses(Desired.NONE)) == (True, False)
    assert losing.losing(LATER).lost == NOW
    lost = losing.prepared(TWO, Desired.NONE)
    assert (lost.lost, lost.prepared(ONE, Desired.OFF).lost) == (NOW, None)
    assert (losing.regains(Desired.NONE), losing.regains(Desired.ON)) == (False, True)
    back = losing.prepared(losing.sha256, Desired.ON)
    assert (back.revision, back.lost, back.regains(Desired.ON)) == (losing.revision, None, False)


def test_only_a_device_that_may_have_settings_loses_them() -> None:
    without = NEW.prepared(ONE, Desired.NONE).sent(NOW).applied(1, Desired.NONE, NOW)
    unknown = NEW.opened("stream-1", revision=7, sha256=TWO, now=NOW)
    assert [found.loses(Desired.NONE) for found in (NEW, without, PREPARED, unknown)] == [False, False, True, True]
    assert not APPLIED.loses(Desired.OFF)


def test_reasons_are_kept_within_bounds_and_those_of_an_older_revision_are_not() -> None:
    assert OFFERED.rejected(1, (), NOW).rejections == ("the device gave no reason",)
    assert OFFERED.rejected(1, ("", "\0", "bad"), NOW).rejections == ("bad",)
    reasons = tuple("x" * 2 * LONGEST_REASON for _ in range(2 * MOST_REASONS))
    assert OFFERED.rejected(1, reasons, NOW).rejections == ("x" * LONGEST_REASON,) * MOST_REASONS
    late = OFFERED.prepared(TWO, Desired.ON).rejected(1, ("late",), NOW)
    assert (late.rejections, late.state) == ((), DeliveryState.PENDING)


def test_a_stream_that_was_closed_is_not_connected() -> None:
    opened = Delivery("d1").opened("stream-1", revision=0, sha256=b"", now=NOW)
    assert opened.connected
    assert opened.held("stream-2", NOW + timedelta(minutes=4), confirmed=NOW) == opened
    assert opened.closed("stream-2", NOW) == opened
    assert not opened.closed("stream-1", NOW).connected
    later = NOW + timedelta(minutes=4)
    assert opened.closed("stream-1", later, confirmed=NOW) == replace(opened, stream="", seen=later, confirmed=NOW)


def test_a_device_that_claims_the_largest_revision_again_and_again_stays_within_what_databases_keep() -> None:
    delivery = NEW
    for number in range(10):
        claimed = delivery.opened("stream-1", revision=LARGEST_REVISION, sha256=TWO, now=NOW)
        delivery = claimed.introduced(f"run-{number}", ()).prepared(ONE, Desired.ON)
        delivery = delivery.rejected(delivery.revision, ("no",), NOW)
    assert delivery.revision == LARGEST_REVISION + 10
    assert delivery.revision < 2**63 - 2**61, "what one device claims must not fail the group that it is committed in"
