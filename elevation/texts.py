"""Checks that all documents share: texts, their lengths, and characters that have no place in them."""

import re
from collections.abc import Iterator

from elevation.model import Problem

MAX_NAME = 128
MAX_DESCRIPTION = 1024
MAX_FACT = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


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
