"""Attempts are read from memory, but never otherwise than with care."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2, rules_pb2
from services.reporting.codec.attempts import LONGEST_REMEMBERED, Remembered, attempt_of, right_attempts
from services.reporting.codec.words import time_of
from services.reporting.model.events import (
    LARGEST_EVENT,
    Envelope,
    Envelopes,
    are_envelopes,
    are_ids,
    envelope_problem,
    journal_problem,
    microseconds,
)
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, decided, message, unmanaged, uuid7

RECEIVED = microseconds(NOW)
TEXTS = st.sampled_from(["", "a", "b", "ä\0", "x" * 257, "y" * 1025, "/opt/a\\b", "C:\\a.exe"])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "user": TEXTS,
        "justification": TEXTS,
        "managed": st.booleans(),
        "administrator": st.booleans(),
        "platform": st.integers(0, 4),
        "trigger": st.integers(0, 4),
        "outcome": st.integers(0, 6),
        "source": st.integers(0, 9),
        "elevation_type": st.integers(0, 7),
        "result": st.integers(0, 7),
        "policy": TEXTS,
        "rule": TEXTS,
        "losers": st.lists(st.builds(event_pb2.Loser, lost_at=st.integers(0, 7)), max_size=2),
        "file": st.dictionaries(
            st.sampled_from(["path", "sha256", "version", "internal_name", "company_name", "publisher"]),
            st.one_of(TEXTS, st.sampled_from(["AB" * 32, "ab" * 32])),
        ),
        "attempt": TEXTS,
        "at": st.sampled_from([NOW, datetime(1999, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)]),
    },
)


@given(st.lists(st.tuples(CHANGES, st.integers(1, 9)), max_size=6))
def test_what_is_read_from_memory_is_what_care_gives_and_what_has_a_problem_is_not_read(
    changes: list[tuple[dict[str, object], int]],
) -> None:
    events = [decided(number, **values) for values, number in changes]  # type: ignore[arg-type]
    told = message([unmanaged(10), *events])
    once = batch(told_events := [entry.event for entry in told.entries])
    assert batch(told_events) == once
    for entry, found in zip(told.entries, right_attempts(list(told.entries), RECEIVED), strict=True):
        assert found is None or entry.seq not in {letter.seq for letter in once.dead_letters}
        if found is not None:
            occurred = time_of(entry.event.occurred)
            assert occurred is not None
            assert found == attempt_of(entry, occurred, entry.event.SerializeToString())


IDS = st.sampled_from([uuid7(1), uuid7(2), uuid7(1).upper(), "", uuid7(1) + "\n", uuid7(1) + "\n" + uuid7(2)])
ENVELOPES = st.builds(
    Envelope,
    st.sampled_from([0, 1, 2**63 - 1, 2**63]),
    IDS,
    st.sampled_from([0, RECEIVED, 2 * RECEIVED]),
    st.sampled_from([0, LARGEST_EVENT, LARGEST_EVENT + 1]),
)


@given(st.lists(ENVELOPES, min_size=1, max_size=3))
def test_envelopes_are_right_where_nothing_is_wrong_with_any(envelopes: list[Envelope]) -> None:
    seqs, ids, occurred, sizes = zip(*envelopes, strict=True)
    told = are_envelopes(Envelopes(seqs, ids, [time or 0 for time in occurred], sizes), RECEIVED)
    assert told == all(envelope_problem(envelope, RECEIVED) == "" for envelope in envelopes)


@given(st.lists(st.sampled_from(["", "a", "b" * 64, "c" * 65, "d\n", "é"]), min_size=1, max_size=3))
def test_ids_are_right_where_each_is(values: list[str]) -> None:
    assert are_ids(values) == all(journal_problem(value) == "" for value in values)


def test_what_was_found_right_once_is_read_from_memory() -> None:
    entries = list(message([decided(1, justification="needed"), unmanaged(2)]).entries)
    batch([entry.event for entry in entries])
    assert None not in right_attempts(entries, RECEIVED)


def test_a_time_that_is_none_is_never_read_from_memory() -> None:
    event = decided(1)
    batch([event])
    event.occurred.nanos = -1
    assert right_attempts(list(message([event]).entries), RECEIVED) == [None]


def test_no_more_is_remembered_than_is_bounded() -> None:
    remembered, told = Remembered(most=3), message([decided(number, user=f"user-{number}") for number in range(1, 10)])
    for entry in told.entries:
        decision = entry.event.decided
        remembered.learn(decision, attempt_of(entry, RECEIVED, b""))
        assert len(remembered.users) <= 3
    long = decided(1, file={"path": "/" + "x" * 2000}, platform=rules_pb2.PLATFORM_LINUX)
    entry = message([long]).entries[0]
    remembered.learn(long.decided, attempt_of(entry, RECEIVED, long.SerializeToString()))
    assert right_attempts([entry], RECEIVED, remembered) == [None]


@pytest.mark.parametrize(
    "long",
    [
        {"policy": "p" * LONGEST_REMEMBERED},
        {"file": {name: name * 30 for name in ("version", "internal_name", "company_name", "publisher")}},
    ],
    ids=["decision", "file"],
)
def test_long_texts_are_not_remembered_though_each_of_them_is_right(long: dict[str, Any]) -> None:
    remembered, event = Remembered(), decided(1, **long)
    (entry,) = message([event]).entries
    remembered.learn(event.decided, attempt_of(entry, RECEIVED, event.SerializeToString()))
    assert right_attempts([entry], RECEIVED, remembered) == [None]
