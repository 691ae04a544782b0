"""What the service and its writer say to each other, over a pair of sockets between two processes of one program.

Both ends are the same code on the same interpreter, started by one another: so `marshal` does, which costs a fraction of what
contracts or pickles do. Attempts go by columns; what they tell of files and decisions, which they have in common, goes once. Where files were replaced under a
service that runs, the writer is of another version: the first message tells what records, groups and verdicts are here, so that none
is misread.

A group is sent ahead of the verdict on the one before it. So each tells how many groups the service knows to have failed: a writer
stores none that was sent before the service could know of the failure of another.
"""

import marshal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap

from services.reporting.model.attempts import AttemptRecord, Attempts, Columns, Common, Numbering
from services.reporting.model.events import (
    Batch,
    CompletionRecord,
    DeadLetter,
    DiagnosticRecord,
    Priority,
    Rejection,
)

Plain = tuple[object, ...]
_LENGTH = 8
"""Bytes that tell the length of a message."""
_PLAIN = 2
"""The version of `marshal` that looks for nothing that is the same: there is hardly anything left that is."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The first message to a writer: where it writes, how it logs, and the variables of the environment.

    It comes this way because arguments and the environment of a process can be read by others; both may hold passwords.
    """

    url: str
    log_level: str
    log_as_json: bool | None
    environment: Mapping[str, str]

    def packed(self) -> bytes:
        """Return it as bytes."""
        return marshal.dumps((_FORM, self.url, self.log_level, self.log_as_json, dict(self.environment)))

    @classmethod
    def unpacked(cls, content: bytes | bytearray) -> "Opening":
        """Read it. Raises ValueError where who sent it has other records."""
        form, *told = marshal.loads(content)  # noqa: S302 - from the process that started this one
        if form != _FORM:
            raise ValueError("the service is of another version than its files; start it again")
        return cls(*told)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a group: the number of what was stored last, and what was rejected of each batch; why nothing is stored."""

    stored: int = 0
    rejected: Sequence[tuple[Rejection, ...]] = ()
    failure: str = ""
    failures: int = 0
    """How many groups failed so far."""

    def packed(self) -> bytes:
        """Return it as bytes."""
        rejected = [[tuple(one) for one in rejections] for rejections in self.rejected]
        return marshal.dumps((self.stored, rejected, self.failure, self.failures))

    @classmethod
    def unpacked(cls, content: bytes | bytearray) -> "Verdict":
        """Read it."""
        stored, rejected, *failed = marshal.loads(content)  # noqa: S302 - from the process that this one started
        return cls(stored, [tuple(starmap(Rejection, rejections)) for rejections in rejected], *failed)


@dataclass(frozen=True, slots=True)
class Group:
    """Batches to be stored together, and how many groups the service knew to have failed when it sent them."""

    failures: int
    batches: Sequence[Batch]

    @staticmethod
    def head(failures: int) -> bytes:
        """Return as bytes what stands before packed batches."""
        return failures.to_bytes(_LENGTH, "little")

    @classmethod
    def unpacked(cls, content: bytes | bytearray) -> "Group":
        """Read it."""
        told = memoryview(content)
        return cls(int.from_bytes(told[:_LENGTH], "little"), batches_unpacked(told[_LENGTH:]))


_FORM = [
    *(
        [*record._fields]
        for record in (AttemptRecord, Columns, Common, CompletionRecord, DiagnosticRecord, DeadLetter, Rejection)
    ),
    *([*said.__slots__] for said in (Batch, Group, Verdict)),
]
"""What both ends have to know alike."""


def batches_packed(batches: Sequence[Batch]) -> bytes:
    """Return batches as bytes."""
    numbering = Numbering()
    told = [
        (
            (batch.device_id, batch.device_name, batch.journal_id, batch.received, batch.priority.value),
            tuple(numbering.columns(batch.attempts)) if batch.attempts else None,
            *(
                list(map(tuple, records))
                for records in (batch.completions, batch.diagnostics, batch.dead_letters, batch.passed_over)
            ),
        )
        for batch in batches
    ]
    return marshal.dumps(([*numbering.common], told), _PLAIN)


def batches_unpacked(content: bytes | memoryview) -> list[Batch]:
    """Read batches."""
    common, told = marshal.loads(content)  # noqa: S302 - from the process that started this one
    shared = Common._make(common)
    return [
        Batch(
            device_id=device_id,
            device_name=device_name,
            journal_id=journal_id,
            received=received,
            priority=Priority(priority),
            attempts=Attempts(Columns._make(attempts), shared) if attempts else (),
            completions=tuple(starmap(CompletionRecord, completions)),
            diagnostics=tuple(starmap(DiagnosticRecord, diagnostics)),
            dead_letters=tuple(starmap(DeadLetter, dead_letters)),
            passed_over=tuple(starmap(Rejection, passed_over)),
        )
        for (
            (device_id, device_name, journal_id, received, priority),
            attempts,
            completions,
            diagnostics,
            dead_letters,
            passed_over,
        ) in told
    ]


def framed(*parts: bytes) -> list[bytes]:
    """Return what is written for a message of these parts."""
    return [sum(map(len, parts)).to_bytes(_LENGTH, "little"), *parts]


def send(connection: socket.socket, content: bytes) -> None:
    """Send a message. Raises OSError where nobody takes it."""
    connection.sendall(b"".join(framed(content)))


def receive(connection: socket.socket) -> bytearray | None:
    """Return the next message; None where the other end said everything. Raises OSError where it broke off."""
    length = _read(connection, _LENGTH)
    if not length:
        return None
    size = int.from_bytes(length, "little")
    content = _read(connection, size)
    if len(length) < _LENGTH or len(content) < size:
        raise ConnectionError("the other process ended in the middle of a message")
    return content


def taken_from(received: bytearray) -> Iterator[bytearray]:
    """Take whole messages out of what was received, one after the other."""
    while len(received) >= _LENGTH:
        end = _LENGTH + int.from_bytes(received[:_LENGTH], "little")
        if len(received) < end:
            return
        content = received[_LENGTH:end]
        del received[:end]
        yield content


def _read(connection: socket.socket, size: int) -> bytearray:
    """Return so many bytes, or as many as there are until the end."""
    content = bytearray(size)
    view, got = memoryview(content), 0
    while got < size and (more := connection.recv_into(view[got:], 0, socket.MSG_WAITALL)):
        got += more
    view.release()
    del content[got:]
    return content
