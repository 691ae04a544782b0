"""Parse JSON the strict way: keys stand once, numbers are numbers, and nesting ends somewhere."""

import json
from collections.abc import Callable
from typing import Final


class JsonError(ValueError):
    """The text is no JSON; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class RepeatedKeys(dict[str, object]):
    """An object in which some keys stand more than once; `repeated` names them."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.repeated = tuple(sorted({key for key in keys if keys.count(key) > 1}))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKeys(pairs)


def _constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON value")


_DECODE: Final[Callable[[str], object]] = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant).decode


def parse_json(text: str) -> object:
    """Parse one JSON value; raise JsonError. An object with repeated keys comes as `RepeatedKeys`."""
    try:
        return _DECODE(text)
    except json.JSONDecodeError as error:
        raise JsonError(error.lineno, f"not valid JSON: {error.msg.lower()} (column {error.colno})") from None
    except RecursionError:
        raise JsonError(1, "not valid JSON here: nested too deeply") from None
    except ValueError as error:
        raise JsonError(1, f"not valid JSON: {error}") from None
