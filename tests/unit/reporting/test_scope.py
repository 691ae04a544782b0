"""What a reporting scope lets be taken from a device."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.model import ReportingScope
from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2
from services.reporting.codec.scoped import in_scope
from services.reporting.model.events import microseconds
from services.reporting.model.scope import EventKind, Reported
from tests.fakes.clock import NOW
from tests.fakes.reporting import completed, decided, diagnostic, message, unmanaged

SCOPES = list(ReportingScope)
NOTHING, DIAGNOSTIC, MANAGED, ALL = SCOPES
UNKNOWN_KIND = event_pb2.ElevationEvent(event_id="newer")
TWO_FACED = decided(6, outcome=event_pb2.OUTCOME_NOT_MANAGED)
EVENTS = [decided(1), unmanaged(2), completed(3, "attempt-1"), diagnostic(4), UNKNOWN_KIND, TWO_FACED]
SCOPE, TIME = st.sampled_from(SCOPES), st.integers(0, 20)
KIND = st.sampled_from(list(EventKind))
REPORTED = st.builds(
    Reported,
    SCOPE,
    st.dictionaries(SCOPE, TIME).map(lambda until: tuple(sorted(until.items(), key=lambda each: each[1]))),
)


def kept(scope: ReportingScope | None, *until: tuple[ReportingScope, int]) -> list[int]:
    return [entry.seq for entry in in_scope(message(EVENTS), Reported(scope, until)).message.entries]


@pytest.mark.parametrize(
    ("scope", "seqs"),
    [
        (None, [1, 2, 3, 4, 5, 6]),
        (ALL, [1, 2, 3, 4, 5, 6]),
        (MANAGED, [1, 3, 4]),
        (DIAGNOSTIC, [4]),
        (NOTHING, []),
    ],
)
def test_each_scope_takes_what_an_agent_sends_by_it(scope: ReportingScope | None, seqs: list[int]) -> None:
    assert kept(scope) == seqs


def test_what_occurred_while_a_wider_scope_stood_is_taken() -> None:
    now = microseconds(NOW)
    assert kept(NOTHING, (MANAGED, now + 1)) == [1, 3, 4]
    assert kept(NOTHING, (MANAGED, now), (ALL, now)) == []
    assert kept(MANAGED, (ALL, now + 1)) == [1, 2, 3, 4, 6]  # what says no time is of now


def test_what_is_passed_over_is_told_with_its_place_and_the_scope() -> None:
    scoped = in_scope(message([unmanaged(1, at=NOW - timedelta(days=1)), unmanaged(2), decided(3)]), Reported(MANAGED))
    reason = "the reporting scope of the device is MANAGED; the event was not kept"
    assert scoped.passed_over == ((1, reason), (2, reason))
    assert scoped.newest == microseconds(NOW)


def test_a_number_that_is_no_place_is_told_as_none() -> None:
    entry = agent_pb2.JournalEntry(seq=2**64 - 1, event=unmanaged(1))
    scoped = in_scope(agent_pb2.EventBatch(journal_id="j", entries=[entry]), Reported(NOTHING))
    assert [one.seq for one in scoped.passed_over] == [0]


@given(KIND, TIME, SCOPE, REPORTED)
def test_a_wider_scope_takes_no_less(kind: EventKind, occurred: int, scope: ReportingScope, reported: Reported) -> None:
    if SCOPES.index(scope) >= SCOPES.index(reported.scope or ALL):
        assert replace(reported, scope=scope).takes(kind, occurred) >= reported.takes(kind, occurred)


@given(TIME, TIME, KIND, REPORTED)
def test_what_occurred_earlier_is_taken_no_less(earlier: int, later: int, kind: EventKind, reported: Reported) -> None:
    earlier, later = sorted((earlier, later))
    assert reported.takes(kind, earlier) >= reported.takes(kind, later)


@given(KIND, TIME, REPORTED)
def test_without_memory_the_scope_alone_counts(kind: EventKind, occurred: int, reported: Reported) -> None:
    bare = replace(reported, until=())
    assert bare.takes(kind, occurred) == (SCOPES.index(reported.scope or ALL) >= SCOPES.index(kind.value))
