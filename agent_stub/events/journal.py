"""An append-only file of events, each on disk before `append` returns.

A file is a sequence of frames: the mark `EPMJ`, length and CRC-32 of the payload (big-endian), payload. The first frame
holds the journal's id, every other one a serialised `JournalEntry`. Acknowledged entries go when the file is rewritten,
which happens once nothing waits or enough was acknowledged; until then they may be sent again, which stores nothing twice.

What a crash leaves at the end is cut off: nobody was told of it. Damage elsewhere ends the journal: its file is set
aside for examination, and the entries that are whole begin a new journal, because sequence numbers have no gaps.
"""

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from google.protobuf.message import DecodeError

from agent_stub.files import PRIVATE_FILE, write_private
from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2

MARK = b"EPMJ"
ID_MARK = b"journal:"
REWRITE_BYTES = 1024 * 1024
_HEAD = struct.Struct(">4sII")


class SpoolError(Exception):
    """An event cannot be made durable; the message says why."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What was lost with a damaged file, in its own numbering; `count` 0: not known."""

    count: int
    first_seq: int
    last_seq: int
    kept_as: str


class Disk(Protocol):
    """Where the bytes of journals go."""

    def append(self, path: Path, content: bytes) -> None:
        """Add bytes and make them durable; raise OSError, after which the file may hold a part of them."""
        ...

    def replace(self, path: Path, content: bytes) -> None:
        """Put a whole file in place of another, durably; raise OSError, after which the old one stands."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file off, durably."""
        ...


class LocalDisk:
    """The file system."""

    def append(self, path: Path, content: bytes) -> None:
        """Write at the end and sync."""
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            written = 0
            while written < len(content):
                written += file.write(content[written:])
            os.fsync(file.fileno())

    def replace(self, path: Path, content: bytes) -> None:
        """Write beside, sync, rename."""
        write_private(path, content)

    def truncate(self, path: Path, size: int) -> None:
        """Cut and sync."""
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())


@dataclass(frozen=True, slots=True)
class _Place:
    seq: int
    offset: int
    length: int


class Journal:
    """One journal on disk. Only places are held in memory, not events."""

    def __init__(self, path: Path, disk: Disk, new_id: Callable[[], str], limit: int) -> None:
        self._path = path
        self._disk = disk
        self._new_id = new_id
        self._limit = limit
        self._waiting: deque[_Place] = deque()
        self._size = 0
        self._next = 1
        self.id = ""
        self.damage: Damage | None = None
        """What opening the file lost. None: nothing."""
        self._open()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, event: event_pb2.ElevationEvent) -> int:
        """Make an event durable and give its sequence number; raise SpoolError, which leaves the journal as it was."""
        frame = _entry_frame(self._next, event)
        if self._size + len(frame) > self._limit:
            raise SpoolError(f"the spool is full ({self._limit} bytes wait for the server)")
        try:
            self._disk.append(self._path, frame)
        except OSError as error:
            self._take_back()
            raise SpoolError(
                f"the spool cannot be written ({(error.strerror or 'input/output error').lower()})"
            ) from error
        seq = self._next
        self._waiting.append(_Place(seq, self._size, len(frame)))
        self._size += len(frame)
        self._next += 1
        return seq

    def entries(self, after: int, most: int, most_bytes: int) -> list[agent_pb2.JournalEntry]:
        """Read waiting entries behind a sequence number, as many as allowed but at least one where there is one."""
        found: list[agent_pb2.JournalEntry] = []
        size = 0
        with self._path.open("rb") as file:
            for place in self._waiting:
                if place.seq <= after:
                    continue
                size += place.length
                if len(found) >= most or (found and size > most_bytes):
                    break
                file.seek(place.offset + _HEAD.size)
                payload = file.read(place.length - _HEAD.size)
                found.append(agent_pb2.JournalEntry.FromString(payload))
        return found

    def acknowledge(self, through: int) -> None:
        """Forget entries up to a sequence number."""
        while self._waiting and self._waiting[0].seq <= through:
            self._waiting.popleft()
        start = self._waiting[0].offset if self._waiting else self._size
        if start > REWRITE_BYTES or (not self._waiting and self._size > len(self._head())):
            self._rewrite()

    def _head(self) -> bytes:
        # The entry without an event carries the number that the journal goes on with.
        return _frame(ID_MARK + self.id.encode()) + _frame(
            agent_pb2.JournalEntry(seq=self._first()).SerializeToString()
        )

    def _first(self) -> int:
        return self._waiting[0].seq if self._waiting else self._next

    def _rewrite(self) -> None:
        content = bytearray(self._head())
        places = deque[_Place]()
        old = self._path.read_bytes()
        for place in self._waiting:
            places.append(_Place(place.seq, len(content), place.length))
            content += old[place.offset : place.offset + place.length]
        try:
            self._disk.replace(self._path, bytes(content))
        except OSError:
            return  # the old file serves as well, and the next acknowledgement tries again
        self._waiting, self._size = places, len(content)

    def _take_back(self) -> None:
        try:
            self._disk.truncate(self._path, self._size)
        except OSError as error:
            raise SpoolError("the spool is damaged and cannot be repaired now") from error

    def _open(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            self._begin([])
            return
        frames = list(_frames(content))
        end = frames[-1].end if frames else 0
        whole = all(frame.start == (frames[at - 1].end if at else 0) for at, frame in enumerate(frames))
        entries = [entry for frame in frames if (entry := _entry(frame.payload)) is not None]
        if whole and _is_journal(frames, entries) and _is_torn(content[end:]):
            self._resume(frames, entries, end, len(content))
        else:
            self._salvage(content, entries, content[end:])

    def _resume(self, frames: "list[_Frame]", entries: list[agent_pb2.JournalEntry], end: int, size: int) -> None:
        self.id = frames[0].payload.removeprefix(ID_MARK).decode()
        for frame, entry in zip(frames[2:], entries[1:], strict=True):
            self._waiting.append(_Place(entry.seq, frame.start, frame.end - frame.start))
        self._next = self._waiting[-1].seq + 1 if self._waiting else entries[0].seq
        self._size = end
        if end < size:
            self._disk.truncate(self._path, end)

    def _salvage(self, content: bytes, entries: list[agent_pb2.JournalEntry], tail: bytes) -> None:
        kept_as = self._path.with_name(f"{self._path.name}.damaged-{self._new_id()}")
        write_private(kept_as, content)
        survivors = [entry for entry in entries if entry.HasField("event")]
        before = next((entry.seq - 1 for entry in entries if not entry.HasField("event")), None)
        self.damage = _damage(before, [entry.seq for entry in survivors], tail, kept_as.name)
        self._begin([entry.event for entry in survivors])

    def _begin(self, events: list[event_pb2.ElevationEvent]) -> None:
        self.id = self._new_id()
        content = bytearray(self._head())
        for seq, event in enumerate(events, start=1):
            frame = _entry_frame(seq, event)
            self._waiting.append(_Place(seq, len(content), len(frame)))
            content += frame
        self._next = len(events) + 1
        self._size = len(content)
        self._disk.replace(self._path, bytes(content))


@dataclass(frozen=True, slots=True)
class _Frame:
    start: int
    end: int
    payload: bytes


def _frame(payload: bytes) -> bytes:
    return _HEAD.pack(MARK, len(payload), zlib.crc32(payload)) + payload


def _entry_frame(seq: int, event: event_pb2.ElevationEvent) -> bytes:
    return _frame(agent_pb2.JournalEntry(seq=seq, event=event).SerializeToString())


def _frames(content: bytes) -> Iterator[_Frame]:
    """Find every frame that is whole, going on behind damage at the next mark that holds."""
    at = content.find(MARK)
    while at >= 0:
        frame = _frame_at(content, at)
        if frame is not None:
            yield frame
        at = content.find(MARK, at + 1 if frame is None else frame.end)


def _frame_at(content: bytes, at: int) -> _Frame | None:
    if at + _HEAD.size > len(content):
        return None
    _, length, checksum = _HEAD.unpack_from(content, at)
    start, end = at + _HEAD.size, at + _HEAD.size + length
    payload = content[start:end]
    return _Frame(at, end, payload) if len(payload) == length and zlib.crc32(payload) == checksum else None


def _entry(payload: bytes) -> agent_pb2.JournalEntry | None:
    if payload.startswith(ID_MARK):
        return None
    try:
        return agent_pb2.JournalEntry.FromString(payload)
    except DecodeError:
        return None


def _is_journal(frames: list[_Frame], entries: list[agent_pb2.JournalEntry]) -> bool:
    """Tell whether frames are an id, a first number, and entries without gaps."""
    if len(frames) != len(entries) + 1 or not entries or not frames[0].payload.startswith(ID_MARK):
        return False
    first = entries[0].seq
    events = entries[1:]
    return not entries[0].HasField("event") and all(
        entry.seq == first + at and entry.HasField("event") for at, entry in enumerate(events)
    )


def _is_torn(rest: bytes) -> bool:
    """Tell what a crash left from damage: a last frame that was not written to its end, or nothing."""
    if len(rest) < _HEAD.size:
        return MARK.startswith(rest[: len(MARK)]) or not rest.strip(b"\x00")
    mark, length, _ = _HEAD.unpack_from(rest)
    return (mark == MARK and _HEAD.size + length > len(rest)) or not rest.strip(b"\x00")


def _damage(before: int | None, survivors: list[int], tail: bytes, kept_as: str) -> Damage:
    """Count the gaps between the entries that are left, and the frames behind the last one.

    `before` is the number ahead of the first entry, None where that cannot be read any more.
    """
    numbers = [*([] if before is None else [before]), *survivors]
    numbers += [numbers[-1] + tail.count(MARK) + 1] if numbers else []
    gaps = [(low + 1, high - 1) for low, high in pairwise(numbers) if high > low + 1]
    if not gaps:
        return Damage(0, 0, 0, kept_as)
    return Damage(sum(last - first + 1 for first, last in gaps), gaps[0][0], gaps[-1][1], kept_as)
