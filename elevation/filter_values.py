"""The values of filters: what kinds of fields there are, how a value of each is written, and when it satisfies a restriction."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TypeAlias

from elevation.versions import compare_versions

Value: TypeAlias = str | int | datetime
Compare: TypeAlias = Callable[[Value], bool]
"""Tells whether one value of a field satisfies a restriction."""

_EQUALITY = frozenset({"=", ":"})
_LONGEST_NUMBER = 19
_TRUTHS = {"true": True, "false": False}


class Kind(Enum):
    """What the values of a field are."""

    TEXT = auto()
    MANY = auto()
    """Texts, of which there may be many."""
    WORD = auto()
    """Fixed words, of which there may be many."""
    VERSION = auto()
    NUMBER = auto()
    TIME = auto()
    BOOLEAN = auto()


class OperatorError(ValueError):
    """An operator that means nothing for such a field."""


class ValueTextError(ValueError):
    """A text that is no value of such a field."""


def compare(kind: Kind, operator: str, wanted: str, *, words: tuple[str, ...] = ()) -> Compare:
    """Compile a comparison with a value; `!=` stands for equality, which the caller turns round.

    Raises OperatorError and ValueTextError.
    """
    equal = "=" if operator == "!=" else operator
    if kind is Kind.WORD:
        return _word(equal, wanted, words)
    return _COMPARISONS[kind](equal, wanted)


def _text(operator: str, wanted: str) -> Compare:
    return _part(wanted) if operator == ":" else _ordered_text(operator, wanted)


def _many(operator: str, wanted: str) -> Compare:
    return _ordered_text("=" if operator == ":" else operator, wanted)


def _part(wanted: str) -> Compare:
    return lambda value: isinstance(value, str) and wanted in value


def _ordered_text(operator: str, wanted: str) -> Compare:
    return lambda value: isinstance(value, str) and _holds(operator, (value > wanted) - (value < wanted))


def _version(operator: str, wanted: str) -> Compare:
    if operator == ":":
        return _part(wanted)
    return lambda value: isinstance(value, str) and _holds(operator, compare_versions(value, wanted))


def _number(operator: str, wanted: str) -> Compare:
    _refuse_part(operator)
    number = _whole_number(wanted)
    return lambda value: isinstance(value, int) and _holds(operator, (value > number) - (value < number))


def _time(operator: str, wanted: str) -> Compare:
    _refuse_part(operator)
    time = _point_in_time(wanted)
    return lambda value: isinstance(value, datetime) and _holds(operator, (value > time) - (value < time))


def _word(operator: str, wanted: str, words: tuple[str, ...]) -> Compare:
    if operator not in _EQUALITY:
        raise OperatorError(f'"{operator}" means nothing for a fixed word; use = or !=')
    if wanted not in words:
        raise ValueTextError(f'"{wanted}" is none of {", ".join(words)}')
    return lambda value: value == wanted


def _truth(operator: str, wanted: str) -> Compare:
    if operator != "=":
        raise OperatorError(f'"{operator}" means nothing for what is true or false; use = or !=')
    if wanted not in _TRUTHS:
        raise ValueTextError(f'"{wanted}" is neither true nor false')
    truth = _TRUTHS[wanted]
    return lambda value: value is truth


def _refuse_part(operator: str) -> None:
    if operator == ":":
        raise OperatorError('":" looks for a part of a text; use one of = != >= <= > <')


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise ValueTextError(f'"{text}" is no whole number')
    return int(text)


def _point_in_time(text: str) -> datetime:
    """Read a date, which means its beginning in UTC, or a time of RFC 3339."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is not None and read.tzinfo is None and "T" not in text and " " not in text:
        read = read.replace(tzinfo=UTC)
    if read is None or read.tzinfo is None:
        raise ValueTextError(f'"{text}" is no time; write 2026-01-31 or "2026-01-31T09:00:00Z", in quotes')
    return read


def _holds(operator: str, order: int | None) -> bool:
    if order is None:
        return False
    if order == 0:
        return operator in {"=", ">=", "<="}
    return operator in ({">", ">="} if order > 0 else {"<", "<="})


_COMPARISONS: Mapping[Kind, Callable[[str, str], Compare]] = {
    Kind.TEXT: _text,
    Kind.MANY: _many,
    Kind.VERSION: _version,
    Kind.NUMBER: _number,
    Kind.TIME: _time,
    Kind.BOOLEAN: _truth,
}
