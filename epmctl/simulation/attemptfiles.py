"""Read files of attempts: one JSON object, or one a line."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from elevation.model import Attempt
from epmctl.documents.files import STDIN, read_text, reason, shown
from epmctl.errors import Flaw
from epmctl.jsontext import JsonError, parse_json
from epmctl.simulation.attempts import read_attempt

MAX_ATTEMPT_BYTES: Final = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AttemptSink:
    """Where good attempts and flaws go; after the first flaw nothing is taken any more, only checked."""

    take: Callable[[Attempt], None]
    flaws: list[Flaw]


def read_attempt_file(place: str, sink: AttemptSink) -> None:
    """Read the one attempt of a file."""
    text = read_text(place, sink.flaws, limit=MAX_ATTEMPT_BYTES)
    if text is not None:
        _read_one(text, shown(place), None, sink)


def read_attempt_lines(place: str, sink: AttemptSink) -> None:
    """Read the attempts of a file, one a line; blank lines are passed over."""
    try:
        if place == STDIN:
            _read_lines(sys.stdin.buffer, shown(place), sink)
        else:
            with Path(place).open("rb") as file:
                _read_lines(file, place, sink)
    except OSError as error:
        sink.flaws.append(Flaw(shown(place), 0, "", f"cannot be read: {reason(error)}"))


def _read_lines(file: BinaryIO, name: str, sink: AttemptSink) -> None:
    number = 0
    while raw := file.readline(MAX_ATTEMPT_BYTES + 1):
        number += 1
        if len(raw) > MAX_ATTEMPT_BYTES:
            message = f"longer than {MAX_ATTEMPT_BYTES} bytes; write one attempt a line"
            sink.flaws.append(Flaw(name, number, "", message))
            return
        _read_line(raw, name, number, sink)


def _read_line(raw: bytes, name: str, number: int, sink: AttemptSink) -> None:
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        sink.flaws.append(Flaw(name, number, "", f"not UTF-8 text: byte 0x{raw[error.start]:02x}; save it as UTF-8"))
        return
    if text and not text.isspace():
        _read_one(text, name, number, sink)


def _read_one(text: str, name: str, number: int | None, sink: AttemptSink) -> None:
    """Read one attempt; `number` is its line, None where the text is a whole file."""
    try:
        value = parse_json(text)
    except JsonError as error:
        sink.flaws.append(Flaw(name, error.line if number is None else number, "", str(error)))
        return
    line = number or 0
    attempt = read_attempt(value, lambda path, message: sink.flaws.append(Flaw(name, line, path, message)))
    if attempt is not None and not sink.flaws:
        sink.take(attempt)
