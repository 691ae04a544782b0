"""What the verbs need from the outside."""

from collections.abc import Sequence
from typing import Protocol

from services._chassis.ordering import Order
from services._chassis.paging import Page, PageRequest
from services.reporting.model.devices import Device
from services.reporting.model.events import Batch, Rejection
from services.reporting.model.live import Cursor, Passage
from services.reporting.model.readiness import Obstacle, ReadinessPage, ReadinessQuestion
from services.reporting.model.reports import (
    ApplicationCount,
    Elevation,
    PublisherCount,
    Question,
    Summary,
    UserCount,
)


class EventSink(Protocol):
    """Store events durably."""

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        """Commit the batches as one, each event once, and return what was rejected of each.

        Returns only when everything is durable. Raises UnavailableError where that cannot be said; what was stored all the
        same is passed over when it comes again.
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


class ReadinessReports(Protocol):
    """Tell who could do without administrator rights."""

    async def readiness(self, asked: ReadinessQuestion, page: PageRequest) -> ReadinessPage:
        """Return users or devices: fewest unmanaged attempts first, then most managed ones, then by name."""
        ...

    async def obstacles(self, question: Question, page: PageRequest) -> Page[Obstacle]:
        """Return applications: those first that alone keep most users from being ready, then those of most users."""
        ...


class Stored(Protocol):
    """Read attempts in the order in which they were stored."""

    async def newest(self) -> int:
        """Return the position up to which everything is there."""
        ...

    async def before(self, question: Question) -> Cursor:
        """Return the cursor before the first attempt of the question's span of time; behind everything where none is."""
        ...

    async def passage(self, question: Question, cursor: Cursor) -> Passage:
        """Return the next attempts behind the cursor, as many as one message takes."""
        ...


class Consumers(Protocol):
    """Remember how far the consumers of exports are."""

    async def committed(self, principal: str, name: str) -> Cursor | None:
        """Return the cursor up to which a consumer keeps everything safe; None for one that is new."""
        ...

    async def commit(self, principal: str, name: str, cursor: Cursor) -> None:
        """Remember a cursor durably; one that is behind what is remembered changes nothing."""
        ...


class DeviceRecords(Protocol):
    """Remember who may see which device, beyond the life of the process and of the device."""

    async def remember(self, devices: Sequence[Device]) -> None:
        """Keep the devices as they are now; those that are not named stay as they were."""
        ...
