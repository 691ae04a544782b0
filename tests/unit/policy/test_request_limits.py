"""How much of a device and of a user is taken within an hour and within a day."""

from datetime import timedelta

import pytest

from services._chassis.errors import LimitError
from services.policy.model.request_limits import (
    DAY,
    EVIDENCE_OF_ONE_USER_A_DAY,
    OF_ONE_DEVICE_A_DAY,
    OF_ONE_USER_A_DAY,
    Submission,
    refuse_too_many,
    size_of,
)
from tests.builders.requests import FILE
from tests.fakes.clock import NOW

MINUTE = timedelta(minutes=1)


def test_a_day_has_its_own_limit_and_the_first_of_the_day_goes_out_of_it_first() -> None:
    recent = [Submission(f"user-{number % 5}", NOW + 5 * number * MINUTE) for number in range(OF_ONE_DEVICE_A_DAY)]
    asked, later = Submission("another", NOW), NOW + timedelta(hours=20)
    refuse_too_many(recent[1:], asked, later)
    with pytest.raises(LimitError, match=f"this device asked for {OF_ONE_DEVICE_A_DAY} approvals within a day") as told:
        refuse_too_many(recent, asked, later)
    assert told.value.retry_after == timedelta(hours=4)
    refuse_too_many(recent, asked, NOW + DAY)


def test_one_user_has_a_quarter_of_the_day_of_a_device() -> None:
    recent = [Submission("alice", NOW + 20 * number * MINUTE) for number in range(OF_ONE_USER_A_DAY)]
    later = NOW + timedelta(hours=20)
    with pytest.raises(LimitError, match=f"this user asked for {OF_ONE_USER_A_DAY} approvals within a day"):
        refuse_too_many(recent, Submission("alice", later), later)
    refuse_too_many(recent, Submission("bob", later), later)


def test_evidence_counts_by_its_bytes_and_waits_for_as_much_as_it_needs() -> None:
    half = EVIDENCE_OF_ONE_USER_A_DAY // 2
    recent = [Submission("alice", NOW, half), Submission("alice", NOW + MINUTE, half)]
    later = NOW + 2 * MINUTE
    refuse_too_many(recent, Submission("alice", later), later)
    for size, wait in ((1, DAY - 2 * MINUTE), (half + 1, DAY - MINUTE)):
        with pytest.raises(
            LimitError, match=f"sent {EVIDENCE_OF_ONE_USER_A_DAY} bytes of evidence within a day"
        ) as told:
            refuse_too_many(recent, Submission("alice", later, size), later)
        assert told.value.retry_after == wait


def test_all_that_a_device_may_make_long_counts_as_evidence() -> None:
    facts = len(FILE.path) + len(FILE.sha256) + len(FILE.version) + len(FILE.publisher)
    assert size_of(FILE, "für", ("a", "bc"), (b"der", b"")) == facts + len("für".encode()) + 3 + 3
