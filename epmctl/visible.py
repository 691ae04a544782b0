"""Show text from elsewhere so that it moves no cursor and hides nothing: what does not show is written as an escape."""

import unicodedata
from typing import Final

_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp", "Zs"})
"""Among them spaces that are no plain ones and look as if they were."""


def visible(text: str) -> str:
    """Give a text with escapes for control and invisible characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if c != " " and unicodedata.category(c) in _HIDDEN else c for c in text)


def visible_lines(text: str) -> str:
    """Give a text with such escapes, but for the ends of its lines."""
    return "\n".join(visible(line.removesuffix("\r")) for line in text.split("\n"))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
