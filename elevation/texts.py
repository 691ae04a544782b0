"""Checks that all documents share: texts, their lengths, and characters that have no place in them."""

import re
import unicodedata
from collections.abc import Iterator

from elevation import lookalikes
from elevation.model import Problem

MAX_NAME = 128
MAX_DESCRIPTION = 1024
MAX_FACT = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

# Characters that show as nothing or turn the reading direction: two texts could look the same and be different.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LAYOUT = frozenset(
    "\t\n\r\u200c\u200d\ufe0e\ufe0f"
)  # the last four join and choose letters and pictures in running text


def check_name(path: str, name: str) -> Iterator[Problem]:
    """Find what is wrong with the name of a thing, which has to be there."""
    if not name.strip():
        yield Problem(path, "is missing; give a name")
        return
    if name != name.strip():
        yield Problem(path, "begins or ends with a blank; remove it")
    yield from check_text(path, name, MAX_NAME)


def check_text(path: str, text: str, limit: int) -> Iterator[Problem]:
    """Find what is wrong with one line of text."""
    if len(text) > limit:
        yield Problem(path, f"has {len(text)} characters; at most {limit} are allowed")
    if _CONTROL.search(text):
        yield Problem(path, "holds a control character; remove it")


def check_description(path: str, text: str) -> Iterator[Problem]:
    """Find what is wrong with a description, which may have several lines."""
    if len(text) > MAX_DESCRIPTION:
        yield Problem(path, f"has {len(text)} characters; at most {MAX_DESCRIPTION} are allowed")
    if _CONTROL_BUT_LINES.search(text):
        yield Problem(path, "holds a control character; remove it")


def check_new_name(path: str, name: str) -> Iterator[Problem]:
    """Find what is wrong with a name that an author gives to a thing: it could be taken for another one.

    Only names that are being given are asked: what has such a name already keeps it, and works.
    """
    if len(name) > MAX_NAME:
        return  # said already, and no name to be repeated in a message
    yield from check_visible(path, name)
    yield from lookalikes.check_disguise(path, name)


def check_visible(path: str, text: str, *, layout: bool = False) -> Iterator[Problem]:
    """Find a character in a text that does not show; control characters are for `check_text` and `check_description`."""
    if (hidden := hidden_character(text, layout=layout)) and unicodedata.category(hidden) not in {"Cc", "Cs"}:
        yield Problem(path, hidden_message(hidden))


def hidden_character(text: str, *, layout: bool = False) -> str:
    """Give the first control or invisible character of a text; with `layout`, tabs, line ends and joiners are none."""
    if text.isascii() and text.isprintable():
        return ""
    for character in text:
        if layout and character in _LAYOUT:
            continue
        if unicodedata.category(character) in _HIDDEN or lookalikes.is_unseen(character):
            return character
    return ""


def hidden_message(character: str) -> str:
    """Say what is wrong with a text that holds a control or invisible character."""
    return f"holds the control or invisible character U+{ord(character):04X}; remove it"
