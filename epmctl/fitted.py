"""Print a table as wide as the terminal at most: long texts are cut in the middle, then columns are left out.

A table that no terminal shows, because it goes into a file or a pipe, is printed whole: who reads it wants all of it.
"""

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import click

from epmctl.chart import Pen, room
from epmctl.kinds.model import Column
from epmctl.output import Plain, Record, print_table, show, width_of

_NARROWEST: Final = 8
"""A text is cut to no less than this."""

_LEGIBLE: Final = 16
"""What is cut last is cut to less than this only where no other column can be left out."""

_GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Fit:
    """How a table may be made narrower: columns that are never cut, that are cut last, and that are left out, the first of them first.

    What is `filled` stands there only where a record has something for it.
    """

    whole: Collection[str] = ()
    spare: Sequence[str] = ()
    last: Sequence[str] = ("FILE",)
    filled: Collection[str] = ()


AS_IT_COMES: Final = Fit()
"""Any text may be cut, and no column is left out."""


def print_fitted(columns: Mapping[str, Column], records: Sequence[Record], fit: Fit) -> None:
    """Print records as a table that fits; what is left out is said on standard error."""
    cells = {heading: [column(record) for record in records] for heading, column in columns.items()}
    cells = {heading: values for heading, values in cells.items() if heading not in fit.filled or any(values)}
    fit = replace(fit, spare=[heading for heading in fit.spare if heading in cells])
    left_out = 0
    if _is_shown():
        widths, left_out = _widths(cells, fit, room())
        cells = {heading: [_cut(value, widths[heading]) for value in cells[heading]] for heading in widths}
    print_table(list(cells), list(zip(*cells.values(), strict=True)))
    _say_left_out(fit, left_out)


def lines_fitted(columns: Mapping[str, Column], usual: Mapping[str, int], fit: Fit) -> list[tuple[Column, int]]:
    """Return the columns of lines that are printed as they come, and how wide each is; without a terminal all are whole.

    What usually stands in them is as wide as `usual` says. What room is left is for the last one that is cut.
    """
    if not _is_shown():
        return [(column, usual[heading]) for heading, column in columns.items()]
    fit = replace(fit, spare=[heading for heading in fit.spare if heading in columns])
    widths, left_out = _widths({heading: ["-" * usual[heading]] for heading in columns}, fit, room())
    widths[fit.last[-1]] += max(room() - _total(widths.values()), 0)
    _say_left_out(fit, left_out)
    return [(_cutting(columns[heading], width), width) for heading, width in widths.items()]


def _is_shown() -> bool:
    return sys.stdout.isatty() or bool(os.environ.get("COLUMNS"))


def _say_left_out(fit: Fit, count: int) -> None:
    if count:
        names = ", ".join(fit.spare[:count])
        click.echo(f"left out for want of room: {names}; a wider terminal and --output json show them", err=True)


def _cutting(column: Column, width: int) -> Column:
    return lambda record: _cut(column(record), width)


def _widths(cells: Mapping[str, Sequence[Plain]], fit: Fit, most: int) -> tuple[dict[str, int], int]:
    """Return how wide each column that is shown may be, and how many were left out."""
    natural = {heading: max(map(width_of, (heading, *map(show, values)))) for heading, values in cells.items()}
    narrowest = {
        heading: width if heading in fit.whole or _is_numeric(cells[heading]) else min(width, _floor(heading))
        for heading, width in natural.items()
    }
    legible = {
        heading: min(natural[heading], max(narrowest[heading], _LEGIBLE)) for heading in fit.last if heading in natural
    }
    left_out = _left_out(narrowest | legible, fit.spare, most)
    shown = [heading for heading in cells if heading not in fit.spare[:left_out]]
    widths = {heading: natural[heading] for heading in shown}
    while _total(widths.values()) > most:
        wide = [heading for heading in shown if widths[heading] > narrowest[heading]]
        if not wide:
            break
        widths[max(wide, key=lambda heading: (heading not in fit.last, widths[heading]))] -= 1
    return widths, left_out


def _left_out(narrowest: Mapping[str, int], spare: Sequence[str], most: int) -> int:
    """Return how many of the columns that may be left out have to be."""
    for count in range(len(spare)):
        if _total(width for heading, width in narrowest.items() if heading not in spare[:count]) <= most:
            return count
    return len(spare)


def _total(widths: Iterable[int]) -> int:
    return sum(width + _GAP for width in widths) - _GAP


def _floor(heading: str) -> int:
    return max(width_of(heading), _NARROWEST)


def _is_numeric(values: Sequence[Plain]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _cut(value: Plain, width: int) -> Plain:
    """Return a value, or as much of its text as there is room for: rather its end, which tells files apart."""
    text = show(value)
    if isinstance(value, int | float) or width_of(text) <= width:
        return value
    head, tail = (width - 1) // 3, width - 1 - (width - 1) // 3
    return _start(text, head) + Pen.for_output().cut + _start(text[::-1], tail)[::-1]


def _start(text: str, width: int) -> str:
    """Return as much of a text from its start on as is no wider."""
    taken = ""
    for character in text:
        if width_of(taken + character) > width:
            break
        taken += character
    return taken
