"""What waits for the disk, and in which order it goes there.

- Batches of the security journals go first. What a client tells of its own health is stored when none of those waits; but
  after some groups in a row that passed it over, a small part of the next one is its own: it never waits for ever.
- INVARIANT: the batches of one journal keep their order. A journal that changes its priority keeps the one that it had
  until nothing of it waits.
- The backlog is bounded in entries and bytes. A batch that it has no room for waits as well, but is not admitted yet:
  whoever brought it is to bring nothing more until then. So what is held is the backlog, and a batch of each stream.
"""

from collections import OrderedDict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, TypeVar

from services._chassis.errors import UnavailableError
from services.reporting.model.credit import Pressure
from services.reporting.model.events import Batch, Priority

Answer = TypeVar("Answer")

TURNS = 10
"""Groups in a row that may leave diagnostics waiting."""
PART = 10
"""One of so many parts of a group is theirs then, and beside others."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[Answer]):
    """A batch on its way to the disk, and who waits for it."""

    batch: Batch
    answer: Answer
    size: int
    weight: int
    admitted: bool = False

    @property
    def journal(self) -> tuple[str, str]:
        """Return the journal that the batch is of."""
        return self.batch.device_id, self.batch.journal_id


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a group takes, how much may wait for the next ones, and how many bytes of it."""

    largest_group: int
    entries: int
    bytes: int


class Backlog(Generic[Answer]):
    """Keep what waits."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lanes = {priority: OrderedDict[Waiting[Answer], None]() for priority in Priority}
        self._held = OrderedDict[Waiting[Answer], None]()
        self._journals: dict[tuple[str, str], tuple[Priority, int]] = {}
        self._entries = 0
        self._weight = 0
        self._passed_over = 0

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def entries(self) -> int:
        """Return how many entries wait that were admitted."""
        return self._entries

    def pressure(self, sending: int) -> Pressure:
        """Tell how full the backlog is, where so many streams send."""
        held = self._bounds.entries if self._held else 0
        by_weight = self._weight * self._bounds.entries // self._bounds.bytes
        return Pressure(self._bounds.entries, max(self._entries, by_weight, held), sending)

    def add(self, batch: Batch, answer: Answer) -> Waiting[Answer]:
        """Let the batch wait for its turn; `admitted` tells whether there is room for more."""
        waiting = Waiting(batch, answer, max(batch.size, 1), batch.weight)
        lane, others = self._journals.get(waiting.journal, (batch.priority, 0))
        self._journals[waiting.journal] = (lane, others + 1)
        self._lanes[lane][waiting] = None
        if not self._held and self._fits(waiting):
            self._admit(waiting)
        else:
            self._held[waiting] = None
        return waiting

    def withdraw(self, waiting: Waiting[Answer]) -> None:
        """Take out a batch that was not admitted yet."""
        if waiting in self._held:
            del self._lanes[self._journals[waiting.journal][0]][waiting]
            self._leave(waiting)

    def drop(self, journals: AbstractSet[tuple[str, str]]) -> list[Waiting[Answer]]:
        """Take out whatever waits of these journals, and return it."""
        dropped = [waiting for lane in self._lanes.values() for waiting in lane if waiting.journal in journals]
        for waiting in dropped:
            del self._lanes[self._journals[waiting.journal][0]][waiting]
            self._leave(waiting)
        return dropped

    def next_group(self) -> list[Waiting[Answer]]:
        """Take out what is to be committed together."""
        urgent, patient = self._lanes[Priority.SECURITY], self._lanes[Priority.DIAGNOSTIC]
        largest, part = self._bounds.largest_group, max(self._bounds.largest_group // PART, 1)
        theirs = list(self._taken(patient, part)) if urgent and self._passed_over >= TURNS else []
        group = list(self._taken(urgent, largest - sum(waiting.size for waiting in theirs)))
        if not urgent and not theirs:
            theirs = list(
                self._taken(patient, min(part, largest - sum(one.size for one in group)) if group else largest)
            )
        self._passed_over = 0 if theirs or not patient else self._passed_over + 1
        return group + theirs

    def newly_admitted(self) -> Iterator[Waiting[Answer]]:
        """Admit what there is room for by now, and yield it."""
        while self._held and self._fits(first := next(iter(self._held))):
            del self._held[first]
            self._admit(first)
            yield first

    def _taken(self, lane: "OrderedDict[Waiting[Answer], None]", most: int) -> Iterator[Waiting[Answer]]:
        """Take batches up to a size out of a lane; the first one whatever its size, where there is any room."""
        size = 0
        while lane and most > 0:
            waiting = next(iter(lane))
            size += waiting.size
            if size > max(most, waiting.size):
                return
            del lane[waiting]
            self._leave(waiting)
            yield waiting

    def _leave(self, waiting: Waiting[Answer]) -> None:
        lane, others = self._journals.pop(waiting.journal)
        if others > 1:
            self._journals[waiting.journal] = (lane, others - 1)
        if waiting.admitted:
            self._entries -= waiting.size
            self._weight -= waiting.weight
        else:
            del self._held[waiting]

    def _fits(self, waiting: Waiting[Answer]) -> bool:
        if not self._entries:
            return True
        fits = self._entries + waiting.size <= self._bounds.entries
        return fits and self._weight + waiting.weight <= self._bounds.bytes

    def _admit(self, waiting: Waiting[Answer]) -> None:
        waiting.admitted = True
        self._entries += waiting.size
        self._weight += waiting.weight


def not_stored() -> UnavailableError:
    """Return what devices are told where nothing could be stored."""
    return UnavailableError("events cannot be stored now; send them again later", reason="STORE_UNAVAILABLE")
