"""Events in the order in which they were stored, and how far a reader has come.

- A transaction that stores events has a position; positions become visible in their order, so that nothing ever comes
  to be behind a reader. Within a position events are ordered by their place in a journal.
- A place may be that of an event of each kind: those are read together, so that no cursor falls between them.
- A cursor says behind which place a reader goes on. It belongs to no filter, and to no kind of event.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from services._chassis.errors import ConflictError
from services.reporting.model.reports import Elevation

LARGEST_POSITION = 2**63 - 1
LARGEST_JOURNAL = 2**31 - 1
LONGEST_NAME = 64
ATTEMPT, COMPLETION, DIAGNOSTIC = "ATTEMPT", "COMPLETION", "DIAGNOSTIC"
ATTEMPTS_ALONE = frozenset({ATTEMPT})
_CURSOR = re.compile(r"([0-9]{1,19})\.([0-9]{1,10})\.([0-9]{1,19})")


class Cursor(NamedTuple):
    """Stand behind one place, or before all of a position; the beginning is before everything."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The end of an elevated process, as it is shown."""

    event_id: str
    attempt_id: str
    device_id: str
    device_name: str
    occurred: datetime
    received: datetime
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What an agent said of its own health, as it is shown."""

    event_id: str
    device_id: str
    device_name: str
    occurred: datetime
    received: datetime
    code: str
    message: str
    event_count: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Passage:
    """What was read in one go, and where that ends."""

    elevations: tuple[Elevation, ...]
    cursor: Cursor
    more: bool
    """Whether there is more to read already."""
    completions: tuple[Completion, ...] = ()
    statements: tuple[Statement, ...] = ()

    @property
    def empty(self) -> bool:
        """Tell whether there is no event in it, so that it only says how far the reader is."""
        return not (self.elevations or self.completions or self.statements)


@dataclass(frozen=True, slots=True)
class Remembered:
    """How far a consumer is, and since which change of its place by anybody else than itself."""

    cursor: Cursor
    generation: int


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """How far a consumer is behind: attempts that it did not acknowledge, and when the first of them was stored."""

    name: str
    behind: int
    oldest: datetime | None


def overtaken() -> ConflictError:
    """Return why the stream of a consumer ends that somebody set elsewhere or deleted."""
    told = "the consumer was rewound or deleted meanwhile; export again to go on from where it is now"
    return ConflictError(told, reason="CONSUMER_MOVED", stale=True)


def is_name(name: str) -> bool:
    """Tell whether a text may be the name of a consumer."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()
