"""Write events down by what the policy lets leave the device, and remember what could not be written.

Two journals: attempts (`security`) and the client's own health (`diagnostic`), so that a flood of the one does not crowd
out the other. The reporting scope filters before an event gets its number.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path

import structlog

from agent_stub.events.journal import Disk, Journal, SpoolError
from agent_stub.events.records import Decided, Diagnostic, EventFactory
from elevation.model import ReportingScope
from epm.elevation.v1 import event_pb2

log = structlog.get_logger()

HELD_BACK = 100
EVENT_LIMIT = 256 * 1024
"""Largest event that the server stores, in bytes."""

ATTEMPT_SCOPES = frozenset({ReportingScope.MANAGED, ReportingScope.ALL})
"""By which attempts, and how they ended, may leave the device."""


class Spool:
    """All events of the device that the server has not committed yet."""

    def __init__(
        self, folder: Path, disk: Disk, new_id: Callable[[], str], *, limit: int, factory: EventFactory
    ) -> None:
        self._factory = factory
        self._security = Journal(folder / "security.journal", disk, new_id, limit)
        self._diagnostic = Journal(folder / "diagnostic.journal", disk, new_id, limit)
        self._lost = 0
        self._held_back: deque[Diagnostic] = deque(maxlen=HELD_BACK)
        self._health_leaves: bool | None = None
        self._listener: Callable[[], None] = _nobody
        self.report_damage()

    @property
    def journals(self) -> tuple[Journal, Journal]:
        """Give the journals in the order in which they are sent."""
        return (self._security, self._diagnostic)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call the listener whenever an event was written."""
        self._listener = listener

    def policy_changed(self, *, health_leaves: bool) -> None:
        """Learn whether the client's own health may leave the device; what waited for that is written or dropped."""
        self._health_leaves = health_leaves
        waiting, self._held_back = self._held_back, deque(maxlen=HELD_BACK)
        for statement in waiting:
            self.diagnose(statement)

    def decided(self, record: Decided, scope: ReportingScope) -> None:
        """Make an attempt durable if the scope lets it leave; raise SpoolError if it cannot be made so."""
        if scope not in ATTEMPT_SCOPES or (scope is ReportingScope.MANAGED and not record.decision.managed):
            return
        self._append(self._security, self._factory.decided(record))

    def completed(self, attempt_id: str, exit_code: int) -> None:
        """Report the end of an attempt that was reported; raise SpoolError."""
        self._append(self._security, self._factory.completed(attempt_id, exit_code))

    def diagnose(self, statement: Diagnostic) -> None:
        """Report on the client's own health as far as that is possible and allowed; never fail."""
        if self._health_leaves is None:
            self._held_back.append(statement)
        elif self._health_leaves:
            try:
                self._append(self._diagnostic, self._factory.diagnostic(statement))
            except SpoolError as error:
                log.warning("diagnostic_lost", code=statement.code, reason=str(error))

    def _append(self, journal: Journal, event: event_pb2.ElevationEvent) -> None:
        try:
            _check_size(event)
            journal.append(event)
        except SpoolError:
            self._lost += 1
            raise
        self._listener()
        self._report_loss()

    def _report_loss(self) -> None:
        if not self._lost:
            return
        count, self._lost = self._lost, 0
        log.warning("events_lost", count=count)
        self.diagnose(Diagnostic("EVENTS_LOST", f"{count} events could not be written to the spool", count))

    def report_damage(self) -> None:
        """Report what the journals lost to damaged files, once."""
        for name, journal in (("security", self._security), ("diagnostic", self._diagnostic)):
            if (damage := journal.damage) is None:
                continue
            journal.damage = None
            log.warning("journal_damaged", journal=name, lost=damage.count, kept_as=damage.kept_as)
            message = f"the {name} journal was damaged; its file is kept as {damage.kept_as}"
            self.diagnose(Diagnostic("EVENTS_LOST", message, damage.count, damage.first_seq, damage.last_seq))


def _check_size(event: event_pb2.ElevationEvent) -> None:
    if event.ByteSize() > EVENT_LIMIT:
        raise SpoolError(f"it is larger than the {EVENT_LIMIT} bytes that the server stores")


def _nobody() -> None:
    """Listen to nothing."""
