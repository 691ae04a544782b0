import os
import socket
from dataclasses import replace

import pytest

from services.reporting.model.events import Batch, Rejection
from services.reporting.store.wire import (
    Group,
    Opening,
    Verdict,
    batches_packed,
    framed,
    receive,
    send,
    taken_from,
)
from tests.fakes.reporting import batch, completed, decided, diagnostic, unmanaged

EVERY_KIND = [
    replace(
        batch(
            [decided(1), unmanaged(2), decided(3, justification="x" * 257), completed(4, "attempt-1"), diagnostic(5)]
        ),
        passed_over=(Rejection(6, "out of scope"),),
    ),
    batch([decided(1, user="Ünïcödé"), decided(2)], device="d2", journal="journal-2"),
    batch([]),
]


@pytest.mark.parametrize("batches", [[], EVERY_KIND])
def test_batches_arrive_as_they_were_sent(batches: list[Batch]) -> None:
    group = Group.unpacked(Group.head(3) + batches_packed(batches))
    arrived = [replace(one, attempts=tuple(one.attempts)) for one in group.batches]
    assert (group.failures, arrived) == (3, batches)
    assert [(one.size, one.seqs()) for one in group.batches] == [(one.size, one.seqs()) for one in batches]
    kinds = [[type(record) for record in (*one.attempts, *one.dead_letters)] for one in arrived]
    assert kinds == [[type(record) for record in (*one.attempts, *one.dead_letters)] for one in batches]


def test_verdicts_and_openings_arrive_as_they_were_sent() -> None:
    rejected = Verdict(7, [(), (Rejection(1, "no"), Rejection(2, "nor this"))], failures=2)
    for verdict in (rejected, Verdict(failure="full", failures=3)):
        assert Verdict.unpacked(verdict.packed()) == replace(verdict, rejected=list(verdict.rejected))
    opening = Opening("sqlite:///a.db", "info", log_as_json=None, environment=dict(os.environ))
    assert Opening.unpacked(opening.packed()) == opening


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (b"user_name", b"user_mane"),
        (b"publisher", b"publishes"),
        (b"facts", b"tacts"),
        (b"failures", b"failings"),
    ],
)
def test_an_opening_from_another_version_is_refused(here: bytes, there: bytes) -> None:
    packed = Opening("sqlite:///a.db", "info", log_as_json=None, environment={}).packed()
    with pytest.raises(ValueError, match="another version"):
        Opening.unpacked(packed.replace(here, there))


def test_messages_arrive_one_by_one_until_the_other_end_has_said_everything() -> None:
    one, other = socket.socketpair()
    with one, other:
        for content in (b"first", b"", b"x" * 70_000):
            send(one, content)
        one.shutdown(socket.SHUT_WR)
        arrived = [bytes(receive(other) or b"nothing") for _ in range(3)]
        assert arrived == [b"first", b"nothing", b"x" * 70_000]
        assert receive(other) is None


def test_whole_messages_are_taken_out_of_what_came_in_pieces() -> None:
    sent = b"".join(part for content in (b"first", b"", b"third") for part in framed(content[:2], content[2:]))
    received, taken = bytearray(), list[bytes]()
    for place in range(len(sent)):
        received += sent[place : place + 1]
        taken += map(bytes, taken_from(received))
    assert taken == [b"first", b"", b"third"]
    assert [*taken_from(bytearray(sent))] == taken


@pytest.mark.parametrize("sent", [b"\x05", b"\x05\0\0\0\0\0\0\0abc"])
def test_a_message_that_breaks_off_is_an_error(sent: bytes) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(sent)
        one.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError):
            receive(other)
