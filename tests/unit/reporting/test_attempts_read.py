"""Attempts are read from memory, but never otherwise than with care."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2, rules_pb2
from services.reporting.codec.attempts import Remembered, attempt_of, right_attempts
from services.reporting.codec.words import time_of
from services.reporting.model.events import LARGEST_EVENT, Envelope, envelope_problem, is_envelope, microseconds
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
        assert (found is None) == any(letter.seq == entry.seq for letter in once.dead_letters)
        if found is not None:
            occurred = time_of(entry.event.occurred)
            assert occurred is not None
            assert found == attempt_of(entry, occurred, entry.event.SerializeToString())


@given(
    st.builds(
        Envelope,
        st.sampled_from([0, 1, 2**63 - 1, 2**63]),
        st.sampled_from([uuid7(1), uuid7(1).upper(), "", uuid7(1) + "\n"]),
        st.integers(0, 2 * RECEIVED),
        st.sampled_from([0, LARGEST_EVENT, LARGEST_EVENT + 1]),
    )
)
def test_an_envelope_is_one_where_nothing_is_wrong_with_it(envelope: Envelope) -> None:
    assert envelope.occurred is not None
    told = is_envelope(envelope.seq, envelope.event_id, envelope.occurred, size=envelope.size, received=RECEIVED)
    assert told == (envelope_problem(envelope, RECEIVED) == "")


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
