"""JSON from outside, read in one way alone: what two readers could understand differently is refused."""

import json
from typing import Any, NoReturn


def read_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object in UTF-8. Raises ValueError for anything else, repeated names and numbers that are none included."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - callers refuse by one kind of error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("gives a name twice")
    return value


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"holds {word}, which is no JSON")
