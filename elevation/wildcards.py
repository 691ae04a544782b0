"""Wildcards in file names and folders: `*` is any text and `?` one character, neither crosses a separator.

A pattern becomes one regular expression whose stars are atomic groups: leftmost is right for a glob, so a pattern with
many stars stays linear. WINDOWS and MACOS compare folded by case; where folding lengthens a text, `?` would count
folded characters, so such a text is matched character by character instead.
"""

import re
from collections.abc import Iterable, Iterator

WILDCARD = re.compile(r"[*?]")
has_wildcard = WILDCARD.search


class Pattern:
    """A pattern over a whole name or folder."""

    __slots__ = ("_pattern", "_separator", "folds", "match_plainly")

    def __init__(self, pattern: str, separator: str, *, folds: bool) -> None:
        self.folds = folds
        self._pattern = pattern.casefold() if folds else pattern
        self._separator = separator
        self.match_plainly = re.compile(_expression(self._pattern, separator), re.DOTALL).fullmatch
        """Match a text that is folded already (where the pattern folds) and did not get longer by that."""

    def matches(self, text: str) -> bool:
        """Tell whether a text as it stands on the device matches."""
        folded = text.casefold() if self.folds else text
        if len(folded) == len(text):
            return self.match_plainly(folded) is not None
        return _matches_slowly(self._pattern, [character.casefold() for character in text], self._separator)


def literals(pattern: str) -> list[str]:
    """Split a pattern into its literal pieces: the first begins it and the last ends it, each may be empty."""
    return WILDCARD.split(pattern)


def _expression(pattern: str, separator: str) -> str:
    any_one = f"[^{re.escape(separator)}]"
    names = pattern.split(separator)
    return re.escape(separator).join("".join(_name_expression(name, any_one)) for name in names)


def _name_expression(name: str, any_one: str) -> Iterator[str]:
    first, *rest = [_literal_expression(piece, any_one) for piece in re.split(r"\*+", name)]
    yield first
    if not rest:
        return
    *middle, last = rest
    for piece in middle:
        yield f"(?>{any_one}*?{piece})"
    yield f"{any_one}*{last}"


def _literal_expression(piece: str, any_one: str) -> str:
    return "".join(any_one if character == "?" else re.escape(character) for character in piece)


def _matches_slowly(pattern: str, characters: list[str], separator: str) -> bool:
    """Walk the text once, holding every place of the pattern that it may have reached."""
    places = past_stars(pattern, (0,))
    for character in characters:
        reached: set[int] = set()
        for place in places:
            sign = pattern[place : place + 1]
            if sign == "*" and character != separator:
                reached.add(place)
            elif sign == "?" and character != separator:
                reached.add(place + 1)
            elif sign and pattern.startswith(character, place):
                reached.add(place + len(character))
        places = past_stars(pattern, reached)
    return len(pattern) in places


def past_stars(pattern: str, places: Iterable[int]) -> set[int]:
    """Give places in a pattern, and those that its stars there lead to."""
    found = set(places)
    for place in tuple(found):
        after = place
        while pattern[after : after + 1] == "*":
            after += 1
            found.add(after)
    return found
