"""Versions of files and systems: one to four dotted numbers, compared as numbers and padded with zeros."""

import re
from functools import lru_cache

_FOUR = 4
# A number has as many digits as int() reads: a version says nothing about the width of a counter.
_VERSION = re.compile(r"[0-9]{1,4300}(?:\.[0-9]{1,4300}){0,3}")
_DOTTED = re.compile(r"[0-9]{1,4300}(?:\.[0-9]{1,4300})*")

Version = tuple[int, ...]


@lru_cache(maxsize=4096)
def parse_version(text: str) -> Version | None:
    """Read a file version as four numbers; None where it is missing or not one to four dotted numbers."""
    if _VERSION.fullmatch(text) is None:
        return None
    numbers = [int(number) for number in text.split(".")]
    return (*numbers, *[0] * (_FOUR - len(numbers)))


def compare_versions(left: str, right: str) -> int | None:
    """Compare two dotted versions of any length: below, at or above zero. None where one is not numeric.

    Texts that are equal are equal versions, numeric or not.
    """
    if left == right:
        return 0
    if _DOTTED.fullmatch(left) is None or _DOTTED.fullmatch(right) is None:
        return None
    first, second = _trimmed(left), _trimmed(right)
    return (first > second) - (first < second)


def _trimmed(text: str) -> list[int]:
    numbers = [int(number) for number in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
