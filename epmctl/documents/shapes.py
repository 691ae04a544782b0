"""What a table of keys is made of; the loader reads by such tables, and the JSON Schema is made from them.

A table says of each key what its value is, whether it has to be there, and what it is for. What a document means beyond
that (whether a rule has what its platform needs, whether groups exist) is for the readers and for `elevation.checks`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

MAX_TEXT: Final = 65_536
MAX_ITEMS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One text."""

    blank: bool = True
    """Whether it may be blank."""
    layout: bool = False
    """Whether tabs and line ends may stand in it."""
    null: bool = False
    """Whether null says the same as absent and blank."""
    moment: bool = False
    """Whether it is a time, which may stand without quotes."""
    form: re.Pattern[str] | None = None
    """What it must look like as a whole. The readers or the checks say the remedy."""
    words: tuple[str, ...] = ()
    """What it may be, if that is one of a list. The readers or the checks say so."""
    most: int = MAX_TEXT
    """Characters that the checks accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A list of texts."""

    item: Text = field(default_factory=lambda: Text(blank=False))
    once: bool = False
    """Whether each may stand once only."""
    most: int = MAX_ITEMS


@dataclass(frozen=True, slots=True)
class Flag:
    """`true` or `false`."""

    default: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the names of an enum."""

    options: type[Enum]
    default: Enum | None = None
    """None: there is none, or the key has to be there."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A list of names of an enum, each at most once."""

    options: type[Enum]


@dataclass(frozen=True, slots=True)
class Labels:
    """A mapping of texts to texts, free for the author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A mapping with a table of its own."""

    shape: "Shape"
    null: bool = False
    """Whether null says the same as absent."""


@dataclass(frozen=True, slots=True)
class Each:
    """A list of mappings with a table of their own."""

    shape: "Shape"


Value = Text | Texts | Flag | Choice | Choices | Labels | Nested | Each


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping."""

    value: Value
    told: str
    """What it is for, one sentence; editors show it."""
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The table of one mapping; every other key is refused."""

    title: str
    keys: Mapping[str, Key]
    one_of: tuple[str, ...] = ()
    """Keys of which exactly one has to be there."""
    apart: tuple[tuple[str, str], ...] = ()
    """Pairs of keys that do not go together."""
    only_with: tuple[tuple[str, str], ...] = ()
    """Pairs of keys of which the first goes with the second only."""
