"""Draw counts in characters: bars and sparklines, in ASCII where the output cannot show blocks."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Self

import click

from epmctl.colours import may_colour

_COLUMNS: Final = 100
"""How wide a page is where nobody says how wide the terminal is."""

_COLOURS: Final = ("green", "yellow", "red")


@dataclass(frozen=True, slots=True)
class Pen:
    """What to draw with."""

    levels: str
    """Of a sparkline: the first stands for nothing, the others rise."""
    fills: str
    """Of the parts of a bar, in their order."""
    cut: str
    """Stands for what was cut out of a text."""
    colours: bool = False

    @classmethod
    def for_output(cls) -> Self:
        """Return what standard output can show."""
        try:
            (_BLOCKS.levels + _BLOCKS.fills + _BLOCKS.cut).encode(sys.stdout.encoding or "ascii")
        except UnicodeEncodeError:
            return cls(_ASCII.levels, _ASCII.fills, _ASCII.cut, may_colour())
        return cls(_BLOCKS.levels, _BLOCKS.fills, _BLOCKS.cut, may_colour())

    def bar(self, parts: Sequence[int], most: int, width: int) -> str:
        """Draw counts as the parts of one bar, which `most` together would make as wide as there is room; no count vanishes."""
        lengths = _lengths(parts, most, width)
        drawn = [fill * length for fill, length in zip(self.fills, lengths, strict=False)]
        if self.colours:
            drawn = [click.style(part, fg=colour) for part, colour in zip(drawn, _COLOURS, strict=False) if part]
        return "".join(drawn)

    def sparkline(self, counts: Sequence[int]) -> str:
        """Draw a character for each count; what is not nothing looks like something."""
        most, steps = max(counts, default=0), len(self.levels) - 1
        return "".join(self.levels[-(-count * steps // most) if count else 0] for count in counts)


_BLOCKS: Final = Pen("\u00b7\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588", "\u2588\u2592\u2591", "\u2026")
_ASCII: Final = Pen("_.:-=+*%#", "#=.", "~")


def room() -> int:
    """Return how many characters a line of the terminal takes: what COLUMNS says, else what the terminal says."""
    return shutil.get_terminal_size((_COLUMNS, 24)).columns


def gathered(counts: Sequence[int], width: int) -> tuple[int, Sequence[int]]:
    """Add up neighbours so that as many counts as there is room for are left, and return how many are one now.

    They are counted from the end, so that the last is whole.
    """
    size = max(-(-len(counts) // max(width, 1)), 1)
    ends = range(len(counts), 0, -size)
    return size, [sum(counts[max(end - size, 0) : end]) for end in reversed(ends)]


def share(part: int, whole: int) -> str:
    """Say a part in per cent; what is not nothing is not called so, and what is not everything neither."""
    if not whole:
        return "-"
    if part in {0, whole}:
        return f"{100 * part // whole} %"
    rounded = (200 * part + whole) // (2 * whole)
    return f"{min(rounded, 99)} %" if rounded else "<1 %"


def _lengths(parts: Sequence[int], most: int, width: int) -> Sequence[int]:
    total = sum(parts)
    whole = max(total * width // most if most else 0, sum(1 for part in parts if part))
    lengths, reached = [], 0
    for end in accumulate(parts):
        lengths.append(max(end * whole // total - reached, 0) if total else 0)
        reached += lengths[-1]
    for place, part in enumerate(parts):
        if part and not lengths[place]:
            lengths[place] = 1
            lengths[lengths.index(max(lengths))] -= 1
    return lengths
