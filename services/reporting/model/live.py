"""Attempts in the order in which they were stored, and how far a reader has come.

- A transaction that stores attempts has a position; positions become visible in their order, so that nothing ever comes
  to be behind a reader. Within a position attempts are ordered by their place in a journal.
- A cursor says behind which attempt a reader goes on. It belongs to no filter.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from services.reporting.model.reports import Elevation

LARGEST_POSITION = 2**63 - 1
LARGEST_JOURNAL = 2**31 - 1
_CURSOR = re.compile(r"([0-9]{1,19})\.([0-9]{1,10})\.([0-9]{1,19})")


class Cursor(NamedTuple):
    """Stand behind one attempt, or before all of a position; the beginning is before everything."""

    position: int = 0
    journal_key: int = 0
    seq: int = 0

    @classmethod
    def behind(cls, position: int) -> Self:
        """Stand behind everything up to a position."""
        return cls(position, LARGEST_JOURNAL, LARGEST_POSITION)

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Read a cursor that was told; None if it never was one."""
        matched = _CURSOR.fullmatch(text)
        if matched is None:
            return None
        cursor = cls(*map(int, matched.groups()))
        fits = cursor.journal_key <= LARGEST_JOURNAL and max(cursor.position, cursor.seq) <= LARGEST_POSITION
        return cursor if fits else None

    def __str__(self) -> str:
        """Write the cursor as it is told."""
        return f"{self.position}.{self.journal_key}.{self.seq}"


@dataclass(frozen=True, slots=True)
class Passage:
    """What was read in one go, and where that ends."""

    elevations: tuple[Elevation, ...]
    cursor: Cursor
    more: bool
    """Whether there is more to read already."""
