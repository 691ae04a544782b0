from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import agent_pb2
from services.reporting.codec.incoming import batch_from_proto
from services.reporting.codec.words import file_name
from services.reporting.model.events import Batch, DeadLetter, Gap, datetime_of, gaps, microseconds
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, completed, decided, diagnostic, message, unmanaged

Event = event_pb2.ElevationEvent


def reason(event: Event, *, first: int = 1) -> str:
    """Return why the event is rejected; empty if it is not."""
    return "; ".join(letter.reason for letter in batch([event], first=first).dead_letters)


def spoilt(spoil: Callable[[Event], object], event: Event | None = None) -> Event:
    """Return an event that is right but for one thing."""
    made = event or decided(1)
    spoil(made)
    return made


@pytest.mark.parametrize("event", [decided(1), unmanaged(1), completed(1, "a"), diagnostic(1)])
def test_what_an_agent_that_keeps_the_contract_sends_is_stored(event: Event) -> None:
    assert reason(event) == ""


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (decided(1, justification="x" * 257), "justification must have at most 256 characters"),
        (spoilt(lambda event: event.ClearField("attempt_id")), "attempt_id must have 1 to 64"),
        (completed(1, ""), "attempt_id must have 1 to 64"),
        (completed(1, "a\0b"), "attempt_id must have 1 to 64 printable"),
        (decided(1, trigger=0), "trigger must be a value that this server knows"),
        (decided(1, outcome=99), "outcome must be a value that this server knows"),
        (decided(1, source=0), "source must be a value that this server knows"),
        (decided(1, result=0), "result must be a value that this server knows"),
        (decided(1, elevation_type=99), "elevation_type must be a value that this server knows"),
        (decided(1, platform=0), "platform must be a value that this server knows"),
        (decided(1, losers=[event_pb2.Loser(policy="p", rule="r")]), "lost_at must be a value"),
        (decided(1, managed=False), "managed must be false for the outcome NOT_MANAGED"),
        (unmanaged(1, managed=True), "managed must be false for the outcome NOT_MANAGED"),
        (unmanaged(1, policy="tools"), "policy and rule must be empty for an unmanaged attempt"),
        (unmanaged(1, result=event_pb2.ATTEMPT_RESULT_ELEVATED), "result must be NOT_MANAGED"),
        (decided(1, user=""), "user must have 1 to 256 characters"),
        (decided(1, user="a\0b"), "texts must not hold NUL"),
        (decided(1, file={"sha256": "xyz"}), "file.sha256 must be 64 hexadecimal digits"),
        (decided(1, file={"version": "1" * 1025}), "must have at most 1024 characters"),
        (decided(1, reason="x" * 300_000), "must not be larger than"),
        (spoilt(lambda event: event.ClearField("decided")), "must tell something that this server knows"),
        (spoilt(lambda event: setattr(event, "event_id", "1")), "event_id must be a UUIDv7"),
        (spoilt(lambda event: event.ClearField("occurred")), "occurred must be a time"),
        (spoilt(lambda event: setattr(event.occurred, "nanos", -1)), "occurred must be a time"),
        (spoilt(lambda event: setattr(event.occurred, "seconds", 2**62)), "occurred must be a time"),
        (decided(1, at=datetime(1980, 1, 1, tzinfo=UTC)), "must not be before the year 2000"),
        (decided(1, at=NOW + timedelta(days=2)), "must not be more than a day ahead"),
        (diagnostic(1, code=""), "code must have 1 to 64"),
        (diagnostic(1, message="x" * 1025), "message must have at most 1024"),
        (diagnostic(1, count=2**63), "must be at most 2^63-1"),
    ],
)
def test_an_event_that_can_never_be_stored_is_rejected_with_the_reason(event: Event, expected: str) -> None:
    assert expected in reason(event)


@pytest.mark.parametrize("seq", [0, 2**63, 2**64 - 1])
def test_a_place_that_is_none_is_rejected(seq: int) -> None:
    assert "seq must be from 1" in reason(decided(1), first=seq)
    made = batch([decided(1)], first=seq)
    assert ([letter.seq for letter in made.dead_letters], made.seqs()) == ([0], [])


@given(st.lists(st.integers(0, 2**63), max_size=4))
def test_the_places_of_a_batch_are_sorted_and_each_is_told_once(seqs: list[int]) -> None:
    letters = tuple(DeadLetter(seq, "", b"") for seq in seqs)
    made = Batch(device_id="d1", device_name="", journal_id="j", received=0, dead_letters=letters)
    assert made.seqs() == sorted({seq for seq in seqs if 0 < seq < 2**63})


def test_all_problems_are_told_at_once() -> None:
    told = reason(decided(1, user="", trigger=0, justification="x" * 300))
    assert told.count(";") == 2


def test_a_journal_without_a_name_makes_every_entry_a_dead_letter() -> None:
    made = batch([decided(1), decided(2)], journal="")
    assert (len(made.attempts), len(made.dead_letters)) == (0, 2)


@given(st.binary(max_size=200))
def test_whatever_parses_as_a_batch_is_sorted_and_nothing_is_lost(noise: bytes) -> None:
    told = message([decided(1)])
    entry = told.entries.add(seq=2)
    try:
        entry.event.ParseFromString(noise)
    except DecodeError:  # noise that is no message never reaches the codec
        entry.event.Clear()
    made = batch_from_proto(told, device_id="d1", device_name="d1", received=microseconds(NOW))
    assert made.size == 2


def test_an_entry_without_an_event_is_rejected() -> None:
    told = agent_pb2.EventBatch(journal_id="j", entries=[agent_pb2.JournalEntry(seq=1)])
    made = batch_from_proto(told, device_id="d1", device_name="d1", received=microseconds(NOW))
    assert len(made.dead_letters) == 1


@pytest.mark.parametrize(
    ("path", "platform", "expected"),
    [
        ("C:\\Setup\\a.exe", rules_pb2.PLATFORM_WINDOWS, "a.exe"),
        ("C:/Setup/a.exe", rules_pb2.PLATFORM_WINDOWS, "a.exe"),
        ("/opt/a\\b", rules_pb2.PLATFORM_LINUX, "a\\b"),
        ("bare", rules_pb2.PLATFORM_LINUX, "bare"),
        ("", rules_pb2.PLATFORM_MACOS, ""),
    ],
)
def test_the_name_of_a_file_is_the_last_part_of_its_path(path: str, platform: int, expected: str) -> None:
    assert file_name(path, platform) == expected


@pytest.mark.parametrize(
    ("seqs", "high_water", "expected"),
    [
        ([1, 2, 3], 0, []),
        ([4], 3, []),
        ([5], 3, [Gap(4, 4)]),
        ([2, 5, 9], 0, [Gap(1, 1), Gap(3, 4), Gap(6, 8)]),
        ([1, 2], 7, []),
        ([7, 8, 10], 7, [Gap(9, 9)]),
        ([], 3, []),
    ],
)
def test_a_gap_is_what_was_passed_over(seqs: list[int], high_water: int, expected: list[Gap]) -> None:
    assert list(gaps(seqs, high_water)) == expected


@given(st.sets(st.integers(1, 60), min_size=1), st.integers(0, 60))
def test_places_and_gaps_together_leave_nothing_out(seqs: set[int], high_water: int) -> None:
    missing = {place for gap in gaps(sorted(seqs), high_water) for place in range(gap.first_seq, gap.last_seq + 1)}
    beyond = set(range(high_water + 1, max(seqs) + 1))
    assert missing == beyond - seqs


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_a_time_survives_its_storage_to_the_microsecond(time: datetime) -> None:
    assert datetime_of(microseconds(time)) == time
    stamp = Timestamp()
    stamp.FromDatetime(time)
    assert microseconds(stamp.ToDatetime(tzinfo=UTC)) == microseconds(time)
