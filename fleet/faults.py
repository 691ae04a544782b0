"""Faults that wait for their moment."""

from collections import Counter

from fleet.model import Fault, FaultKind


class KilledError(BaseException):
    """The agent is dead, as after a power cut: nothing of its own may catch this."""


class Armed:
    """The faults of one agent that are due and wait for the next fitting moment; at most one of a kind."""

    def __init__(self, done: Counter[str]) -> None:
        """Count in `done`, which others share, what takes place."""
        self._waiting: dict[FaultKind, Fault] = {}
        self._done = done
        self.happened_here: Counter[str] = Counter()
        """Faults of this agent that took place."""

    def arm(self, fault: Fault) -> None:
        """Let it happen at the next fitting moment."""
        self._waiting[fault.kind] = fault

    def take(self, kind: FaultKind) -> Fault | None:
        """Give the fault of a kind that waits, once; it counts as done."""
        fault = self._waiting.pop(kind, None)
        if fault is not None:
            self.happened(kind)
        return fault

    def happened(self, kind: FaultKind) -> None:
        """Count a fault."""
        self._done[kind.value] += 1
        self.happened_here[kind.value] += 1

    def calm(self) -> None:
        """Let nothing happen that has not happened yet."""
        self._waiting.clear()
