"""Who could do without administrator rights today, and what stands in the way of the others.

- Ready is whoever had managed attempts alone; what the verdict rests on are the attempts that the filter asks for and the
  caller may see. Whoever had no attempt is not told of.
- An application is a file by all that is known of it; how a decision went makes no other application of it.
- An obstacle is an application with unmanaged attempts. It frees whoever has no other obstacle.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Self

from services._chassis.paging import Page
from services.reporting.model.reports import ElevationFilter, Question

MOST_OBSTACLES = 5
"""Obstacles that are told with one user or device."""


class Subject(Enum):
    """Whom readiness is about."""

    USER = "user"
    DEVICE = "device"


class Readiness(Enum):
    """Whether somebody could do without administrator rights."""

    READY = "ready"
    """All attempts were managed."""
    PARTLY = "partly"
    """Some were managed, some not."""
    UNMANAGED = "unmanaged"
    """None was managed."""

    @classmethod
    def of(cls, managed: int, unmanaged: int) -> Self:
        """Return the verdict on so many attempts."""
        if not unmanaged:
            return cls("ready")
        return cls("partly" if managed else "unmanaged")


class Application(NamedTuple):
    """A file by all that is known of it."""

    file_name: str
    internal_name: str
    version: str
    company_name: str
    sha256: str
    publisher: str

    @property
    def drill_down(self) -> ElevationFilter:
        """Return what finds the unmanaged attempts alone."""
        return ElevationFilter(
            file_names=(self.file_name,),
            internal_names=(self.internal_name,),
            versions=(self.version,),
            company_names=(self.company_name,),
            sha256s=(self.sha256,),
            publishers=(self.publisher,),
            managed=False,
        )


@dataclass(frozen=True, slots=True)
class ApplicationAttempts:
    """Unmanaged attempts to elevate one application."""

    application: Application
    count: int


@dataclass(frozen=True, slots=True)
class Obstacles:
    """Count the applications that stand in somebody's way, and name the first of them, most attempts first."""

    count: int = 0
    first: tuple[ApplicationAttempts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessEntry:
    """One user, or one device: of a device `name` is what it was called last, to the day, and `device_id` says which it is."""

    name: str
    device_id: str = ""
    managed: int
    unmanaged: int
    administrator: bool
    """Whether any attempt was made by somebody who was an administrator of the device then."""
    obstacles: Obstacles = Obstacles()

    @property
    def readiness(self) -> Readiness:
        """Return the verdict."""
        return Readiness.of(self.managed, self.unmanaged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How many users, or devices, had which attempts."""

    managed_only: int
    both: int
    unmanaged_only: int

    @property
    def total(self) -> int:
        """Return how many there are."""
        return self.managed_only + self.both + self.unmanaged_only


@dataclass(frozen=True, slots=True)
class ReadinessQuestion:
    """Ask about users or devices, about those with some verdicts alone; none of them stands for all."""

    question: Question
    subject: Subject = Subject.USER
    verdicts: frozenset[Readiness] = frozenset()


@dataclass(frozen=True, slots=True)
class ReadinessPage:
    """Hold a page of entries, and how all of them are split, whatever verdicts and which page were asked for."""

    page: Page[ReadinessEntry]
    split: Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """An application whose elevations EPM does not manage."""

    application: Application
    count: int
    users: int
    devices: int
    users_freed: int
    """Users who would be ready if this application alone were managed."""
    attempt_id: str = ""
    """Newest of the attempts; empty where its event is not kept any longer."""
