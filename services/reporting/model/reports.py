"""What administrators ask of the events, and what they get.

- A filter's empty field restricts nothing; several values of one field are alternatives; fields narrow together.
- What is counted is attempts; managed + unmanaged = total, in every report.
- A walk over the pages of a count counts what had been received when it began: an attempt that comes in meanwhile moves
  nothing from one page to another.
- Who is in a group is as it is today, for all attempts.
- Only attempts of visible devices are listed and counted: those that carry one of the caller's scope tags now. Who may
  see a device follows its tags of today; what it was called follows the day of the event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from services._chassis.errors import Problem
from services._chassis.ordering import Order
from services.reporting.model.groups import NO_GROUPS, Memberships

MOST_VALUES = 100
MOST_ATTEMPTS = 1000
"""Attempts that a filter names; of other fields the values are fewer."""
ALTERNATIVES = (
    "elevation_types",
    "results",
    "users",
    "devices",
    "policies",
    "rules",
    "publishers",
    "sha256s",
    "file_names",
    "sources",
    "device_ids",
    "internal_names",
    "versions",
    "company_names",
    "device_groups",
    "user_groups",
    "attempt_ids",
)
"""The fields of a filter that may have several values."""

NEWEST_FIRST: Final = Order("occurred", descending=True)
MOST_FIRST: Final = Order("count", descending=True)
BUSIEST_FIRST: Final = Order("total", descending=True)

ORDERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "elevations": ("occurred",),
        "applications": ("count", "file_name", "company_name", "version"),
        "publishers": ("count", "publisher"),
        "users": ("total", "managed", "unmanaged", "user"),
    }
)
"""What each list may be ordered by; the first, descending, is how it stands where nobody says."""

MEASURES: Final = frozenset({"count", "total", "managed", "unmanaged"})
"""The orders that go by a number of attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElevationFilter:
    """Say which attempts a report is about."""

    occurred_from: datetime | None = None
    occurred_before: datetime | None = None
    elevation_types: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    managed: bool | None = None
    """None: both."""
    users: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    governed_by_rule: bool = False
    policies: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    sha256s: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    device_ids: tuple[str, ...] = ()
    internal_names: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    company_names: tuple[str, ...] = ()
    device_groups: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    administrator: bool | None = None
    """None: both."""
    attempt_ids: tuple[str, ...] = ()
    """Counts do not tell attempts apart: events alone answer where this names any."""

    def most(self, name: str) -> int:
        """Return how many values a field with alternatives may have."""
        return MOST_ATTEMPTS if name == "attempt_ids" else MOST_VALUES


@dataclass(frozen=True, slots=True)
class Question:
    """A filter, and the scope tags of which a device must carry one; None where every device is visible."""

    filter: ElevationFilter
    tags: frozenset[str] | None
    unreadable: tuple[Problem, ...] = ()
    """What of the filters could not be read. It is refused: to leave it out would widen the report."""
    drill_down: ElevationFilter | None = None
    """What a row of another report counted; attempts must meet both."""
    groups: Memberships = NO_GROUPS
    """Knows who is in the groups that the filters name."""

    @property
    def names_attempts(self) -> bool:
        """Tell whether it is about some attempts by name."""
        return any(asked.attempt_ids for asked in self.filters.values())

    @property
    def filters(self) -> Mapping[str, ElevationFilter]:
        """Return the filters that an attempt must meet, by their names."""
        return {"filter": self.filter} | ({} if self.drill_down is None else {"drill_down": self.drill_down})


@dataclass(frozen=True, slots=True, kw_only=True)
class Elevation:
    """One attempt as it is shown; `body` is the event as its device sent it."""

    event_id: str
    attempt_id: str
    device_id: str
    device_name: str
    occurred: datetime
    received: datetime
    body: bytes
    exit_code: int | None
    """None: unknown."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many attempts share one word."""

    word: str
    count: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Attempts counted by what became of them."""

    managed: int
    unmanaged: int
    results: tuple[Tally, ...]
    elevation_types: tuple[Tally, ...]

    @property
    def total(self) -> int:
        """Return how many attempts there were."""
        return self.managed + self.unmanaged


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationCount:
    """Attempts to elevate one application with one elevation type."""

    file_name: str
    internal_name: str
    version: str
    company_name: str
    sha256: str
    publisher: str
    elevation_type: str
    count: int

    @property
    def drill_down(self) -> ElevationFilter:
        """Return what finds these attempts alone."""
        return ElevationFilter(
            file_names=(self.file_name,),
            internal_names=(self.internal_name,),
            versions=(self.version,),
            company_names=(self.company_name,),
            sha256s=(self.sha256,),
            publishers=(self.publisher,),
            elevation_types=(self.elevation_type,),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherCount:
    """Attempts to elevate files of one publisher with one elevation type."""

    publisher: str
    elevation_type: str
    count: int

    @property
    def drill_down(self) -> ElevationFilter:
        """Return what finds these attempts alone."""
        return ElevationFilter(publishers=(self.publisher,), elevation_types=(self.elevation_type,))


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCount:
    """Attempts of one user."""

    user: str
    managed: int
    unmanaged: int

    @property
    def total(self) -> int:
        """Return how many attempts the user made."""
        return self.managed + self.unmanaged

    @property
    def drill_down(self) -> ElevationFilter:
        """Return what finds these attempts alone."""
        return ElevationFilter(users=(self.user,))
