import os
import socket
from dataclasses import replace

import pytest

from services.reporting.model.events import Batch, Rejection
from services.reporting.store.wire import (
    Opening,
    Verdict,
    batches_packed,
    batches_unpacked,
    receive,
    send,
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
    arrived = batches_unpacked(batches_packed(batches))
    assert arrived == batches
    kinds = [[type(record) for record in (*one.attempts, *one.dead_letters)] for one in arrived]
    assert kinds == [[type(record) for record in (*one.attempts, *one.dead_letters)] for one in batches]


def test_verdicts_and_openings_arrive_as_they_were_sent() -> None:
    for verdict in (Verdict(7, [(), (Rejection(1, "no"), Rejection(2, "nor this"))]), Verdict(failure="full")):
        assert Verdict.unpacked(verdict.packed()) == replace(verdict, rejected=list(verdict.rejected))
    opening = Opening("sqlite:///a.db", "info", log_as_json=None, environment=dict(os.environ))
    assert Opening.unpacked(opening.packed()) == opening


def test_an_opening_from_another_version_is_refused() -> None:
    packed = Opening("sqlite:///a.db", "info", log_as_json=None, environment={}).packed()
    with pytest.raises(ValueError, match="another version"):
        Opening.unpacked(packed.replace(b"justification", b"justificatiom").replace(b"publisher", b"publishes"))


def test_messages_arrive_one_by_one_until_the_other_end_has_said_everything() -> None:
    one, other = socket.socketpair()
    with one, other:
        for content in (b"first", b"", b"x" * 70_000):
            send(one, content)
        one.shutdown(socket.SHUT_WR)
        assert [receive(other), receive(other), receive(other)] == [b"first", b"", b"x" * 70_000]
        assert receive(other) is None


@pytest.mark.parametrize("sent", [b"\x05", b"\x05\0\0\0\0\0\0\0abc"])
def test_a_message_that_breaks_off_is_an_error(sent: bytes) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(sent)
        one.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError):
            receive(other)
