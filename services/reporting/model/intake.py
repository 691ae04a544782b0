"""What came in otherwise than it should: events that could not be stored, and places of journals that never came."""

from dataclasses import dataclass
from datetime import datetime

from services._chassis.errors import Problem

MOST_DEVICES = 100
MOST_CODES = 100
MOST_RETRIED = 100
NO_PLACE = "the event has a number that no journal has; it can only be looked at"
NO_LONGER_KEPT = "events of its place in the journal are no longer kept"


@dataclass(frozen=True, slots=True)
class IntakeFilter:
    """Say which devices and times a list is about; empty restricts nothing."""

    device_ids: tuple[str, ...] = ()
    received_from: datetime | None = None
    received_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class IntakeQuestion:
    """A filter, and the scope tags of which a device must carry one; None where every device is visible."""

    filter: IntakeFilter
    tags: frozenset[str] | None
    unreadable: tuple[Problem, ...] = ()
    """What of the filter could not be read. It is refused: to leave it out would widen the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """An event that could not be stored, but for its bytes."""

    letter_id: str
    device_id: str
    journal_id: str
    seq: int
    received: datetime
    reason: str
    size: int


@dataclass(frozen=True, slots=True)
class LetterBody:
    """A dead letter with the bytes of its event."""

    letter: Letter
    body: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a dead letter that was tried again: its event's id, and why it cannot be stored; empty where it can."""

    letter: Letter
    event_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of dead letters: how many are stored, and those that stay."""

    stored: int
    remaining: tuple[Letter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPlaces:
    """Places of a device's journal that were passed over."""

    device_id: str
    journal_id: str
    first_seq: int
    last_seq: int
    noticed: datetime
