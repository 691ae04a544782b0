"""What the verbs need from the outside."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services._chassis.ordering import Order
from services._chassis.paging import Page, PageRequest
from services.reporting.model.devices import Device
from services.reporting.model.events import Batch, Rejection
from services.reporting.model.insights import Fate, Period, Tiles, UserApplicationCount
from services.reporting.model.intake import IntakeQuestion, Letter, LetterBody, MissingPlaces, Retried, Verdict
from services.reporting.model.live import ConsumerState, Cursor, Passage, Remembered, Statement
from services.reporting.model.readiness import Obstacle, ReadinessPage, ReadinessQuestion
from services.reporting.model.reports import (
    ApplicationCount,
    Elevation,
    PublisherCount,
    Question,
    Summary,
    UserCount,
)
from services.reporting.model.usage import Usage


class EventSink(Protocol):
    """Store events durably."""

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        """Commit the batches as one, each event once, and return what was rejected of each.

        Returns only when everything is durable. Raises UnavailableError where that cannot be said; what was stored all the
        same is passed over when it comes again. Groups are stored in the order in which they are handed over; where one is
        not, neither is one that was handed over before that was known.
        """
        ...


class Reports(Protocol):
    """Answer questions about stored events."""

    async def elevations(self, question: Question, page: PageRequest, order: Order) -> Page[Elevation]:
        """Return attempts in an order."""
        ...

    async def elevation(self, attempt_id: str, tags: frozenset[str] | None) -> Elevation | None:
        """Return one attempt; None if there is none that may be seen."""
        ...

    async def summary(self, question: Question) -> Summary:
        """Count attempts by what became of them."""
        ...

    async def applications(self, question: Question, page: PageRequest, order: Order) -> Page[ApplicationCount]:
        """Count attempts by application and elevation type, in an order."""
        ...

    async def publishers(self, question: Question, page: PageRequest, order: Order) -> Page[PublisherCount]:
        """Count attempts by publisher and elevation type, in an order."""
        ...

    async def users(self, question: Question, page: PageRequest, order: Order) -> Page[UserCount]:
        """Count attempts by user, in an order."""
        ...


class Insights(Protocol):
    """Draw conclusions from attempts."""

    async def tiles(self, question: Question, top: int) -> Tiles:
        """Return what an overview is made of, with so many applications of each kind."""
        ...

    async def fates(self, question: Question) -> Sequence[Fate]:
        """Count attempts by day and by what became of them."""
        ...

    async def user_applications(
        self, question: Question, period: Period, page: PageRequest
    ) -> Page[UserApplicationCount]:
        """Count attempts by user, device and application: newest period first, in it in this order."""
        ...


class ReadinessReports(Protocol):
    """Tell who could do without administrator rights."""

    async def readiness(self, asked: ReadinessQuestion, page: PageRequest) -> ReadinessPage:
        """Return users or devices: fewest unmanaged attempts first, then most managed ones, then by name."""
        ...

    async def obstacles(self, question: Question, page: PageRequest) -> Page[Obstacle]:
        """Return applications: those first that alone keep most users from being ready, then those of most users."""
        ...


class UsageReports(Protocol):
    """Tell what rules are used for."""

    async def usage(self, first: int) -> Usage:
        """Return how often rules decided from a day, since 1970, on, and which files were approved more than once."""
        ...


class Stored(Protocol):
    """Read events in the order in which they were stored."""

    async def newest(self) -> int:
        """Return the position up to which everything is there."""
        ...

    async def before(self, question: Question, kinds: frozenset[str]) -> Cursor:
        """Return the cursor before the first event of the question's span of time; behind everything where none is."""
        ...

    async def passage(self, question: Question, cursor: Cursor, kinds: frozenset[str]) -> Passage:
        """Return the next events of these kinds behind the cursor, as many as one message takes."""
        ...


class Positions(Protocol):
    """Know when events were stored."""

    async def since(self, received: datetime) -> Cursor:
        """Return the cursor before the first event that was stored at or after a time; behind everything where none is."""
        ...


class Consumers(Protocol):
    """Remember how far the consumers of exports are."""

    async def known(self, principal: str, name: str) -> Remembered | None:
        """Return up to where a consumer keeps everything safe; None for one that is new."""
        ...

    async def begin(self, principal: str, name: str, cursor: Cursor) -> int:
        """Remember a consumer that is new, and return its generation. Raises LimitError where the principal has too many."""
        ...

    async def commit(self, principal: str, name: str, place: Remembered) -> None:
        """Remember a cursor durably; one that is behind what is remembered changes nothing.

        Raises ConflictError where the consumer was set elsewhere meanwhile, or deleted.
        """
        ...

    async def listed(self, principal: str, page: PageRequest, tags: frozenset[str] | None) -> Page[ConsumerState]:
        """Return a principal's consumers by name, and how far each is behind of what may be seen."""
        ...

    async def state(self, principal: str, name: str, tags: frozenset[str] | None) -> ConsumerState | None:
        """Return how far a consumer is behind of what may be seen; None for one that is not known."""
        ...

    async def rewind(self, principal: str, name: str, cursor: Cursor, now: datetime) -> None:
        """Set a consumer to a place. Raises NotFoundError."""
        ...

    async def delete(self, principal: str, name: str, now: datetime) -> None:
        """Forget a consumer. Raises NotFoundError."""
        ...


class Intake(Protocol):
    """Keep what could not be stored, and know what never came."""

    async def dead_letters(self, asked: IntakeQuestion, page: PageRequest) -> Page[Letter]:
        """Return dead letters, newest first."""
        ...

    async def dead_letter(self, letter_id: str, tags: frozenset[str] | None) -> LetterBody | None:
        """Return a dead letter whole; None if there is none that may be seen."""
        ...

    async def letters(self, letter_ids: Sequence[str], tags: frozenset[str] | None) -> list[Letter]:
        """Return those of the letters that are there and may be seen."""
        ...

    async def settle(self, verdicts: Sequence[Verdict], now: datetime) -> Retried:
        """Delete letters whose events are there, note the reasons of the others, and record who tried them again."""
        ...

    async def gaps(self, asked: IntakeQuestion, page: PageRequest) -> Page[MissingPlaces]:
        """Return gaps, newest notice first."""
        ...

    async def diagnostics(self, asked: IntakeQuestion, codes: Sequence[str], page: PageRequest) -> Page[Statement]:
        """Return what agents said of their own health, newest first; of some codes, or all."""
        ...


class DeviceRecords(Protocol):
    """Remember who may see which device, beyond the life of the process and of the device."""

    async def remember(self, devices: Sequence[Device]) -> None:
        """Keep the devices as they are now; those that are not named stay as they were."""
        ...
