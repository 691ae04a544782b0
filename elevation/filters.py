"""Filters over device attributes, for assignments and groups: `elevation.filtering` with the fields of devices.

`>=` `<=` `<` `>` are numerical for osVersion; `tag` has many values.
"""

from functools import lru_cache, partial
from typing import TypeAlias

from elevation import filtering
from elevation.filter_values import Kind
from elevation.filtering import MAX_LENGTH, Field, Filter, FilterError, Vocabulary
from elevation.model import Attributes

__all__ = [
    "FIELDS",
    "FIELD_NAMES",
    "MAX_LENGTH",
    "REPORTED_FIELDS",
    "FilterError",
    "Restriction",
    "Test",
    "compile_filter",
    "restrictions_of",
]

FIELDS = {
    "name": "name",
    "os": "os",
    "osVersion": "osVersion",
    "os_version": "osVersion",
    "architecture": "architecture",
    "ownership": "ownership",
    "tag": "tag",
    "tags": "tag",
}
"""Every spelling of a field, and the field that it means."""

FIELD_NAMES = tuple(dict.fromkeys(FIELDS.values()))
"""The fields, as messages and answers spell them."""

REPORTED_FIELDS = frozenset({"os", "osVersion", "architecture"})
"""Fields that agents report, and may report otherwise at any time; the others are attested.

A name is what the device asked for when it enrolled, and stays; `tag` and `ownership` come from a token or an administrator.
"""

_KINDS = {"osVersion": Kind.VERSION, "tag": Kind.MANY}

Test: TypeAlias = filtering.Test[Attributes]
"""A compiled filter."""

Restriction: TypeAlias = filtering.Restriction[Attributes]


@lru_cache(maxsize=4096)
def compile_filter(text: str) -> Test:
    """Compile a filter; raise FilterError naming the first thing that is wrong."""
    return _compiled(text).holds


@lru_cache(maxsize=4096)
def restrictions_of(text: str) -> tuple[Restriction, ...]:
    """Take a filter apart; a change of attributes that changes no answer here does not change the filter's either.

    Raises FilterError as `compile_filter` does.
    """
    return _compiled(text).restrictions


def _compiled(text: str) -> Filter[Attributes]:
    return filtering.compile_with(_VOCABULARY, text)


def _values(facts: Attributes, spellings: tuple[str, ...]) -> list[str]:
    """Collect the values of a field under all its spellings."""
    found: list[str] = []
    for spelling in spellings:
        value = facts.get(spelling, "")
        found.extend([value] if isinstance(value, str) else value)
    return [value for value in found if value]


def _field(name: str) -> Field[Attributes]:
    spellings = tuple(spelling for spelling, meant in FIELDS.items() if meant == name)
    return Field(name, _KINDS.get(name, Kind.TEXT), partial(_values, spellings=spellings))


_VOCABULARY = Vocabulary({spelling: _field(name) for spelling, name in FIELDS.items()})
