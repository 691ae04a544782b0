"""Say spans of time in words, as short as they are of use."""

from datetime import timedelta
from typing import Final

_UNITS: Final = ((timedelta(days=1), "days"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))
_FEW: Final = 2
"""Fewer of a unit are said in the next smaller one."""


def in_words(span: timedelta) -> str:
    """Say how long a span is, rounded down: `45 s`, `90 min`, `47 h`, `6 days`; nothing is `0 s`, however far below."""
    for unit, word in _UNITS:
        if span >= _FEW * unit:
            return f"{span // unit} {word}"
    return f"{max(span // timedelta(seconds=1), 0)} s"
