"""An append-only file of events, each on disk before `append` returns.

A file is a sequence of frames: the mark `EPMJ`, length and CRC-32 of the payload (big-endian), payload. The first frame
holds the journal's id, every other one a serialised `JournalEntry`. Acknowledged entries go when the file is rewritten,
which happens once nothing waits, or as much was acknowledged as is left, or room is needed; until then they may be sent again, which stores nothing twice.

What a crash leaves at the end is cut off: nobody was told of it. Damage elsewhere ends the journal: its file is set
aside for examination, and the entries that are whole begin a new journal, because sequence numbers have no gaps.
"""

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent_stub.events.frames import (
    ID_MARK,
    Damage,
    Frame,
    damage_of,
    entry_in,
    frame_at,
    framed,
    framed_entry,
    frames_in,
    is_journal,
    is_torn,
)
from agent_stub.files import PRIVATE_FILE, StateError, write_private
from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2

REWRITE_BYTES = 1024 * 1024


class SpoolError(Exception):
    """An event cannot be made durable; the message says why."""


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
        self._torn = False
        self._next = 1
        self.id = ""
        self.damage: Damage | None = None
        """What opening the file lost. None: nothing."""
        self._open()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, event: event_pb2.ElevationEvent) -> int:
        """Make an event durable and give its sequence number; raise SpoolError, which leaves the journal as it was."""
        self._repair()
        frame = framed_entry(self._next, event)
        if self._size + len(frame) > self._limit and self._acknowledged() > REWRITE_BYTES:
            self._rewrite()
        if self._size + len(frame) > self._limit:
            raise SpoolError(f"the spool is full ({self._limit} bytes wait for the server)")
        try:
            self._disk.append(self._path, frame)
        except OSError as error:
            self._torn = True
            with suppress(SpoolError):  # what counts is why the event is refused
                self._repair()
            raise SpoolError(f"the spool cannot be written ({_why(error)})") from error
        seq = self._next
        self._waiting.append(_Place(seq, self._size, len(frame)))
        self._size += len(frame)
        self._next += 1
        return seq

    def entries(self, after: int, most: int, most_bytes: int) -> list[agent_pb2.JournalEntry]:
        """Read waiting entries behind a sequence number, as many as allowed but at least one where there is one.

        Raise SpoolError where the file was damaged meanwhile; the journal has begun anew then, under another id.
        """
        found: list[agent_pb2.JournalEntry] = []
        size = 0
        with self._path.open("rb") as file:
            for place in self._waiting:
                if place.seq <= after:
                    continue
                size += place.length
                if len(found) >= most or (found and size > most_bytes):
                    break
                file.seek(place.offset)
                whole = frame_at(file.read(place.length), 0)
                if whole is None:
                    self._take_up()
                    raise SpoolError(f"the journal {self._path.name} was damaged and has begun anew")
                found.append(agent_pb2.JournalEntry.FromString(whole.payload))
        return found

    def acknowledge(self, through: int) -> None:
        """Forget entries up to a sequence number."""
        while self._waiting and self._waiting[0].seq <= through:
            self._waiting.popleft()
        # Not before as much was acknowledged as is left: to bring a full journal home writes it once more, not over and over.
        done = self._acknowledged()
        enough = done > REWRITE_BYTES and done >= self._size - done
        if enough or (not self._waiting and self._size > len(self._head())):
            self._rewrite()

    def _acknowledged(self) -> int:
        """Return the bytes at the beginning of the file that nobody waits for any more."""
        return self._waiting[0].offset if self._waiting else self._size

    def _head(self) -> bytes:
        # The entry without an event carries the number that the journal goes on with.
        return framed(ID_MARK + self.id.encode()) + framed(
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

    def _repair(self) -> None:
        """Cut off what a failed write left: an event behind it would be lost with it."""
        if not self._torn:
            return
        try:
            self._disk.truncate(self._path, self._size)
        except OSError as error:
            raise SpoolError(f"the spool cannot be repaired ({_why(error)})") from error
        self._torn = False

    def _open(self) -> None:
        try:
            self._take_up()
        except OSError as error:
            raise StateError(
                f"{self._path}: cannot be used ({_why(error)}); make room or repair the disk, then start again"
            ) from error

    def _take_up(self) -> None:
        self._waiting.clear()
        self._next = 1
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            self._begin([])
            return
        frames = list(frames_in(content))
        end = frames[-1].end if frames else 0
        whole = all(frame.start == (frames[at - 1].end if at else 0) for at, frame in enumerate(frames))
        entries = [entry for frame in frames if (entry := entry_in(frame.payload)) is not None]
        if whole and is_journal(frames, entries) and is_torn(content[end:]):
            self._resume(frames, entries, end, len(content))
        else:
            self._salvage(content, entries, content[end:])

    def _resume(self, frames: "list[Frame]", entries: list[agent_pb2.JournalEntry], end: int, size: int) -> None:
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
        self.damage = damage_of(before, [entry.seq for entry in survivors], tail, kept_as.name)
        self._begin([entry.event for entry in survivors])

    def _begin(self, events: list[event_pb2.ElevationEvent]) -> None:
        self.id = self._new_id()
        content = bytearray(self._head())
        for seq, event in enumerate(events, start=1):
            frame = framed_entry(seq, event)
            self._waiting.append(_Place(seq, len(content), len(frame)))
            content += frame
        self._next = len(events) + 1
        self._size = len(content)
        self._disk.replace(self._path, bytes(content))


def _why(error: OSError) -> str:
    return (error.strerror or "input/output error").lower()
