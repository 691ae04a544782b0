"""The frames that a journal's file is made of: how they are written, found again, and judged whole, torn or damaged."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from google.protobuf.message import DecodeError

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2

MARK = b"EPMJ"
ID_MARK = b"journal:"
_HEAD = struct.Struct(">4sII")


@dataclass(frozen=True, slots=True)
class Damage:
    """What was lost with a damaged file, in its own numbering; `count` 0: not known."""

    count: int
    first_seq: int
    last_seq: int
    kept_as: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame and where it lies."""

    start: int
    end: int
    payload: bytes


def framed(payload: bytes) -> bytes:
    """Write a frame."""
    return _HEAD.pack(MARK, len(payload), zlib.crc32(payload)) + payload


def framed_entry(seq: int, event: event_pb2.ElevationEvent) -> bytes:
    """Write the frame of an event."""
    return framed(agent_pb2.JournalEntry(seq=seq, event=event).SerializeToString())


def frames_in(content: bytes) -> Iterator[Frame]:
    """Find every frame that is whole, going on behind damage at the next mark that holds."""
    at = content.find(MARK)
    while at >= 0:
        frame = frame_at(content, at)
        if frame is not None:
            yield frame
        at = content.find(MARK, _behind(content, at) if frame is None else frame.end)


def _behind(content: bytes, at: int) -> int:
    """Tell where to look on behind a damaged frame: not inside, where its end can be told, for users write what is there."""
    if at + _HEAD.size <= len(content):
        _, length, _ = _HEAD.unpack_from(content, at)
        end: int = at + _HEAD.size + length
        if end == len(content) or content[end : end + len(MARK)] == MARK:
            return end
    return at + 1


def frame_at(content: bytes, at: int) -> Frame | None:
    """Read the frame that begins here; None where none does that is whole."""
    if at + _HEAD.size > len(content) or not content.startswith(MARK, at):
        return None
    _, length, checksum = _HEAD.unpack_from(content, at)
    start, end = at + _HEAD.size, at + _HEAD.size + length
    payload = content[start:end]
    return Frame(at, end, payload) if len(payload) == length and zlib.crc32(payload) == checksum else None


def entry_in(payload: bytes) -> agent_pb2.JournalEntry | None:
    """Read an entry; None for the journal's id, and for what is no entry."""
    if payload.startswith(ID_MARK):
        return None
    try:
        return agent_pb2.JournalEntry.FromString(payload)
    except DecodeError:
        return None


def is_journal(frames: list[Frame], entries: list[agent_pb2.JournalEntry]) -> bool:
    """Tell whether frames are an id, a first number, and entries without gaps."""
    if len(frames) != len(entries) + 1 or not entries or not frames[0].payload.startswith(ID_MARK):
        return False
    first = entries[0].seq
    events = entries[1:]
    return not entries[0].HasField("event") and all(
        entry.seq == first + at and entry.HasField("event") for at, entry in enumerate(events)
    )


def is_torn(rest: bytes) -> bool:
    """Tell what a crash left from damage: a last frame that was not written to its end, or nothing."""
    if len(rest) < _HEAD.size:
        return MARK.startswith(rest[: len(MARK)]) or not rest.strip(b"\x00")
    mark, length, _ = _HEAD.unpack_from(rest)
    return (mark == MARK and _HEAD.size + length > len(rest)) or not rest.strip(b"\x00")


def damage_of(before: int | None, survivors: list[int], tail: bytes, kept_as: str) -> Damage:
    """Count the gaps between the entries that are left, and the frames behind the last one.

    `before` is the number ahead of the first entry, None where that cannot be read any more.
    """
    numbers = [*([] if before is None else [before]), *survivors]
    numbers += [numbers[-1] + tail.count(MARK) + 1] if numbers else []
    gaps = [(low + 1, high - 1) for low, high in pairwise(numbers) if high > low + 1]
    if not gaps:
        return Damage(0, 0, 0, kept_as)
    return Damage(sum(last - first + 1 for first, last in gaps), gaps[0][0], gaps[-1][1], kept_as)
