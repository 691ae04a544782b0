"""Checks that all nouns here share: names, texts, lists of them, and scope tags."""

import re
from collections.abc import Callable, Iterator, Sequence

from elevation import texts
from services._chassis.errors import Problem

MOST_SCOPE_TAGS = 100
MOST_TAGS = 100
MOST_USERS = 100
LONGEST_NOTE = 256
LONGEST_DEVICE_NAME = 63
_DEVICE_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{LONGEST_DEVICE_NAME}}}")


def check_device_name(field: str, name: str) -> Iterator[Problem]:
    """Find what is wrong with the name of a device."""
    if not _DEVICE_NAME.fullmatch(name):
        yield Problem(field, f"must be 1 to {LONGEST_DEVICE_NAME} letters, digits, hyphens, underscores and dots")


def check_text(field: str, text: str, limit: int) -> Iterator[Problem]:
    """Find what is wrong with one line of text that may be empty."""
    yield from (Problem(field, problem.message) for problem in texts.check_text(field, text, limit))


def check_name(field: str, name: str) -> Iterator[Problem]:
    """Find what is wrong with the name of a thing that is no device."""
    yield from (Problem(field, problem.message) for problem in texts.check_name(field, name))


def check_names(
    field: str,
    names: Sequence[str],
    *,
    most: int,
    check: Callable[[str, str], Iterator[Problem]] = check_name,
) -> Iterator[Problem]:
    """Find what is wrong with a list of names, of which each stands once."""
    if len(names) > most:
        yield Problem(field, f"has {len(names)} entries; at most {most} are allowed")
        return
    for number, name in enumerate(names):
        yield from check(f"{field}[{number}]", name)
    if len(set(names)) != len(names):
        yield Problem(field, "names something twice; remove the repetition")
