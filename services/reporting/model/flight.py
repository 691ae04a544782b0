"""What one stream brought and may not let go of yet: journal by journal, so that none waits for another's commit."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from services.reporting.model.credit import Pressure, Ramp
from services.reporting.model.events import Rejection


class Promise(Protocol):
    """An answer that comes once a batch is durable."""

    def done(self) -> bool:
        """Tell whether it came."""
        ...

    def result(self) -> tuple[Rejection, ...]:
        """Return what was rejected; raise what kept the batch from being stored."""
        ...


Answer = TypeVar("Answer", bound=Promise)


@dataclass(frozen=True, slots=True)
class _Sent(Generic[Answer]):
    through: int
    size: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Durable:
    """How far a journal is committed, and what was rejected of it."""

    journal_id: str
    through: int
    rejected: tuple[Rejection, ...]


class Flight(Generic[Answer]):
    """Keep the batches of a stream until they are acknowledged, and its credit."""

    def __init__(self, ramp: Ramp) -> None:
        self._ramp = ramp
        self._journals: dict[str, deque[_Sent[Answer]]] = {}
        self._peak = 0
        self.events = 0
        """How many are in flight."""
        self.limit = ramp.credit
        """The highest credit that the device was told. It may not have heard of a lower one, or not know that there is any."""

    def __len__(self) -> int:
        return len(self._journals)

    @property
    def credit(self) -> int:
        """Return how many events may be in flight from now on."""
        return self._ramp.credit

    def has_room(self, size: int) -> bool:
        """Tell whether the device may send so many events more."""
        return self.events + size <= self.limit

    def reserve(self, size: int) -> None:
        """Count events that are being read."""
        self.events += size
        self._peak = max(self._peak, self.events)

    def board(self, journal_id: str, through: int, size: int, answer: Answer) -> None:
        """Keep a batch, whose events were reserved."""
        self._journals.setdefault(journal_id, deque()).append(_Sent(through, size, answer))

    def newest(self, journal_id: str) -> Answer | None:
        """Return the answer of what was boarded last of a journal; None where nothing of it is in flight."""
        journal = self._journals.get(journal_id)
        return journal[-1].answer if journal else None

    def land(self) -> list[Durable]:
        """Let go of what is durable, in the order of each journal. Raises what kept a batch from being stored."""
        landed = [
            self._landed(journal_id, sent) for journal_id, sent in self._journals.items() if sent[0].answer.done()
        ]
        for durable in landed:
            if not self._journals[durable.journal_id]:
                del self._journals[durable.journal_id]
        return landed

    def adjusted(self, pressure: Pressure) -> bool:
        """Adjust the credit after acknowledgements; tell whether it is another one."""
        before, self._ramp = self._ramp, self._ramp.acknowledged(self._peak, pressure)
        self._peak, self.limit = self.events, max(self.limit, self._ramp.credit)
        return self._ramp != before

    def answers(self) -> Iterator[Answer]:
        """Yield the answers that the stream waits for."""
        return (sent.answer for journal in self._journals.values() for sent in journal)

    def _landed(self, journal_id: str, waiting: "deque[_Sent[Answer]]") -> Durable:
        through, rejected = 0, list[Rejection]()
        while waiting and waiting[0].answer.done():
            sent = waiting.popleft()
            rejected += sent.answer.result()
            through = max(through, sent.through)
            self.events -= sent.size
        return Durable(journal_id, through, tuple(rejected))
