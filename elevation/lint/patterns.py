"""Compare patterns of names and folders with each other: does one match all that another matches, or anything of it.

A text is a row of units: characters as the device has them, folded by case where the platform does so. Most units are
one character; where folding lengthens one (as `ß` to `ss`) the unit is longer, and `?` still takes it whole. Every unit
that no pattern writes out behaves alike, so one stands for all of them. Both answers are those of the matcher itself
(`elevation.wildcards`), for all texts at once.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache

from elevation.lint.patience import go_on
from elevation.matching import comparable
from elevation.model import Platform
from elevation.paths import separator
from elevation.wildcards import WILDCARD, Pattern, has_wildcard, literals, past_stars

_OTHER = "\ufffe"
"""Stands for every character that neither pattern writes out; it is no character, so no document holds it."""
_MOST_STATES = 4096
_MOST_STEPS = 50_000
"""Places and units that are tried together before a comparison is left: some hundredths of a second."""
_LENGTHENED = ((0xC0, 0x600), (0x1E00, 0x2000), (0xFB00, 0xFB20))
"""Where the characters stand that folding by case lengthens."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern in the shape that compares: folded where its platform folds. A text without wildcards is one too."""

    text: str
    separator: str
    folds: bool
    prefix: str = field(init=False, compare=False, repr=False)
    """The literal text before the first wildcard."""
    suffix: str = field(init=False, compare=False, repr=False)
    """The literal text after the last wildcard."""
    is_literal: bool = field(init=False, compare=False, repr=False)
    """Whether it has no wildcard."""
    is_free: bool = field(init=False, compare=False, repr=False)
    """Whether its wildcards are stars alone, in one name."""
    is_simple: bool = field(init=False, compare=False, repr=False)
    """Whether its one wildcard is a star."""

    def __post_init__(self) -> None:
        """Look at the text once: each pattern is compared with many."""
        text, found = self.text, has_wildcard(self.text)
        derived = {
            "prefix": text if found is None else text[: found.start()],
            "suffix": text[max(text.rfind("*"), text.rfind("?")) + 1 :],
            "is_literal": found is None,
            "is_free": "*" in text and "?" not in text and self.separator not in text,
            "is_simple": text.count("*") == 1 and "?" not in text,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


def glob_of(text: str, platform: Platform) -> Glob:
    """Make the glob of a name or a folder; a trailing separator of a folder says nothing."""
    mark = separator(platform)
    return Glob(comparable(text.removesuffix(mark), platform), mark, platform is not Platform.LINUX)


@lru_cache(maxsize=1 << 16)
def takes_in(wide: Glob, narrow: Glob) -> bool:
    """Tell whether one pattern matches every text that another of the same platform matches.

    False where it would take too long to tell: nobody may rely on the contrary.
    """
    if wide.text == narrow.text:
        return True
    if wide.is_literal or not (narrow.prefix.startswith(wide.prefix) and narrow.suffix.endswith(wide.suffix)):
        return False
    if wide.is_simple:
        return _takes_in_simply(wide, narrow)
    if (narrow.is_literal or "?" not in wide.text) and not (narrow.folds and _has_long_unit(narrow.text)):
        # Where stars alone take what the narrow pattern leaves open, they take whatever stands there.
        return _matcher(wide)(WILDCARD.sub(_OTHER, narrow.text)) is not None
    # A text that writes out no more than the narrow pattern does has to have all that the wide one writes out.
    return all(piece in narrow.text for piece in literals(wide.text)) and _takes_in_slowly(wide, narrow)


def _takes_in_simply(wide: Glob, narrow: Glob) -> bool:
    """Compare with a pattern of one star, whose beginning and end the narrow pattern has.

    What is between has to be one star's, and no unit may begin in what is literal and end in what is not.
    """
    first, last = len(wide.prefix), len(narrow.text) - len(wide.suffix)
    if first > last or wide.separator in narrow.text[first:last]:
        return False
    return not narrow.folds or not any(_is_inside_unit(narrow.text, place) for place in (first, last))


def _is_inside_unit(text: str, place: int) -> bool:
    """Tell whether a long unit may stand over a place."""
    spans = ((place - 2, place + 1), (place - 1, place + 1), (place - 1, place + 2))
    return any(start >= 0 and end <= len(text) and text[start:end] in long_units() for start, end in spans)


def _takes_in_slowly(wide: Glob, narrow: Glob) -> bool:
    """Walk all texts of the narrow pattern at once, holding every place of the wide one that each may have reached."""
    go_on()
    units = _units(wide, narrow)
    start = (0, frozenset(past_stars(wide.text, (0,))))
    seen, open_states, steps = {start}, [start], 0
    while open_states:
        place, reached = open_states.pop()
        steps += len(reached) * len(units)
        if place == len(narrow.text) and len(wide.text) not in reached:
            return False
        for unit, after in _moves(narrow, place, units):
            there = reached if not unit else _advance(wide, reached, unit)
            state = (after, there)
            if state not in seen:
                seen.add(state)
                open_states.append(state)
        if len(seen) > _MOST_STATES or steps > _MOST_STEPS:
            return False
    return True


@lru_cache(maxsize=1 << 16)
def overlap(one: Glob, other: Glob) -> bool:
    """Tell whether some text matches both patterns of one platform; True where it would take too long to tell."""
    if one.text == other.text:
        return True
    if not agree(one, other):
        return False
    pattern, text = (other, one) if one.is_literal else (one, other)
    if text.is_literal and ("?" not in pattern.text or not (text.folds and _has_long_unit(text.text))):
        return _matcher(pattern)(text.text) is not None
    if one.is_free and other.is_free:
        return True  # the longer beginning, what each has in the middle, and the longer end
    return _overlap_slowly(one, other)


def agree(one: Glob, other: Glob) -> bool:
    """Tell whether a text can begin and end with what both patterns begin and end with."""
    return (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)) and (
        one.suffix.endswith(other.suffix) or other.suffix.endswith(one.suffix)
    )


def _overlap_slowly(one: Glob, other: Glob) -> bool:
    """Walk both patterns by every text that they may have in common."""
    go_on()
    units = _units(one, other)
    seen, open_states = {(0, 0)}, [(0, 0)]
    while open_states:
        places = open_states.pop()
        if places == (len(one.text), len(other.text)):
            return True
        for state in _common_moves(one, other, places, units):
            if state not in seen:
                seen.add(state)
                open_states.append(state)
        if len(seen) > _MOST_STATES:
            return True
    return False


@lru_cache(maxsize=1 << 14)
def _has_long_unit(text: str) -> bool:
    """Tell whether a text may hold a character that folding made longer."""
    return any(unit in text for unit in long_units())


@lru_cache(maxsize=1 << 14)
def _matcher(glob: Glob) -> Callable[[str], re.Match[str] | None]:
    return Pattern(glob.text, glob.separator, folds=False).match_plainly


def _common_moves(one: Glob, other: Glob, places: tuple[int, int], units: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Walk both patterns by the same unit; skipping a star takes none."""
    first, second = places
    for unit, after in _moves(one, first, units):
        if not unit:
            yield after, second
            continue
        for reached in _steps(other, second, unit):
            yield after, reached
    if other.text[second : second + 1] == "*":
        yield first, second + 1


def _moves(glob: Glob, place: int, units: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """List the units that a pattern takes at a place, with the place after it; a blank unit skips a star."""
    if glob.text[place : place + 1] == "*":
        yield "", place + 1
    for unit in units:
        for after in _steps(glob, place, unit):
            yield unit, after


def _steps(glob: Glob, place: int, unit: str) -> Iterator[int]:
    sign = glob.text[place : place + 1]
    if sign == "*":
        if unit != glob.separator:
            yield place
    elif sign == "?":
        if unit != glob.separator:
            yield place + 1
    elif sign and glob.text.startswith(unit, place):
        yield place + len(unit)


def _advance(glob: Glob, places: frozenset[int], unit: str) -> frozenset[int]:
    return frozenset(past_stars(glob.text, (after for place in places for after in _steps(glob, place, unit))))


def _units(one: Glob, other: Glob) -> tuple[str, ...]:
    """List the units that texts can consist of, as far as the two patterns tell them apart."""
    letters = (set(one.text) | set(other.text) | {one.separator, _OTHER}) - {"*", "?"}
    if one.folds:
        letters.update(unit for unit in long_units() if unit in one.text or unit in other.text)
    return tuple(sorted(letters))


@cache
def long_units() -> frozenset[str]:
    """Collect what folding by case makes longer than one character."""
    folded = {chr(code).casefold() for first, end in _LENGTHENED for code in range(first, end)}
    return frozenset(unit for unit in folded if len(unit) > 1)
