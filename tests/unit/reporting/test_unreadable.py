"""Requests that no library of messages reads are taken apart, but never field by field without end."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from epm.reporting.v1 import agent_pb2
from services.reporting.codec import unreadable
from services.reporting.codec.unreadable import MOST_IN_BATCH, MOST_IN_ENTRY, bytes_of, request_from_bytes
from tests.builders import wirebytes
from tests.fakes.reporting import decided

BROKEN = wirebytes.content(1, b"\xff")
"""An event whose id is no UTF-8."""
UNKNOWN = 14
"""A field that the contract does not have."""
fixed = st.builds(
    lambda wide, value: bytes([UNKNOWN << 3 | (1 if wide else 5)]) + value[: 8 if wide else 4],
    st.booleans(),
    st.binary(min_size=8, max_size=8),
)
strange = st.one_of(
    st.builds(wirebytes.number, st.integers(3, 13), st.integers(0, 2**64 - 1)),
    st.builds(wirebytes.content, st.integers(3, 13), st.binary(max_size=5)),
    fixed,
)


@given(st.lists(strange, max_size=4), st.lists(strange, max_size=4), st.integers(1, 2**63))
def test_what_can_be_read_beside_what_cannot_is_read_as_ever(
    of_batch: list[bytes], of_entry: list[bytes], seq: int
) -> None:
    good = wirebytes.entry(seq, decided(1).SerializeToString()) + b"".join(of_entry)
    rest = wirebytes.content(wirebytes.JOURNAL_ID, b"j") + b"".join(of_batch)
    entries = wirebytes.content(wirebytes.ENTRIES, good)
    bad = wirebytes.content(wirebytes.ENTRIES, wirebytes.entry(seq, BROKEN) + b"".join(of_entry))
    read = request_from_bytes(wirebytes.content(wirebytes.BATCH, rest + entries + bad)).batch
    assert read.journal_id == "j"
    assert read.entries[0] == agent_pb2.JournalEntry.FromString(good)
    assert (read.entries[1].seq, bytes_of(read.entries[1])) == (seq, BROKEN)


@pytest.mark.parametrize(
    "content",
    [
        wirebytes.request([b""] * MOST_IN_BATCH + [wirebytes.entry(1, BROKEN)]),
        wirebytes.request([wirebytes.number(UNKNOWN, 1) * MOST_IN_ENTRY + wirebytes.entry(1, BROKEN)]),
        wirebytes.number(UNKNOWN, 1) * MOST_IN_ENTRY + wirebytes.request([wirebytes.entry(1, BROKEN)]),
        wirebytes.request([bytes([UNKNOWN << 3 | 3, UNKNOWN << 3 | 4]) + wirebytes.entry(1, BROKEN)]),
    ],
    ids=["entries", "fields of an entry", "fields of a request", "a group"],
)
def test_what_holds_more_than_any_device_sends_is_refused(content: bytes) -> None:
    with pytest.raises(DecodeError):
        request_from_bytes(content)


def test_of_an_entry_with_more_fields_than_any_device_sends_none_is_looked_at() -> None:
    kept = unreadable.entry_of(1, BROKEN)
    assert bytes_of(kept) == BROKEN
    crowd = kept.SerializeToString() + wirebytes.number(UNKNOWN, 1) * MOST_IN_ENTRY
    assert bytes_of(agent_pb2.JournalEntry.FromString(crowd)) is None
