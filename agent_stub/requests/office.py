"""Put together what the agent has for support approvals."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from agent_stub.links import Link, keep
from agent_stub.model import Submission
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.ports import Clock, Delays
from agent_stub.requests.book import Replace, RequestBook
from agent_stub.requests.calls import RequestServer
from agent_stub.requests.counter import RequestCounter
from agent_stub.requests.desk import RequestDesk
from agent_stub.requests.ledger import GrantLedger
from agent_stub.requests.reporter import UseReporter
from elevation.model import Attempt, Decision, Grant
from epm.policy.v1 import agent_pb2

NOTE_SECONDS = 300.0
"""A restart of the machine gives back no more of a grant's time than this, whatever its clock says."""


class RequestOffice:
    """The requests of a device's users, and its grants."""

    def __init__(
        self,
        folder: Path,
        write: Replace,
        boot_id: str,
        *,
        keeper: PolicyKeeper,
        server: RequestServer,
        clock: Clock,
        delays: Delays,
    ) -> None:
        self._keeper = keeper
        self._clock = clock
        self._delays = delays
        self._book = RequestBook(folder, write)
        self._ledger = GrantLedger(folder, write, boot_id, clock.now)
        self._desk = RequestDesk(server, self._book, self._wall)
        self.reporter = UseReporter(server, self._ledger)
        self.link = Link("grant uses")
        self.counter = RequestCounter(self._book, self._desk, grants=self, now=clock.now, delays=delays)

    def load(self) -> list[str]:
        """Take up what was kept; say what could not be. Raise StateError where the disk does not give it out."""
        return [*self._book.load(), *self._ledger.load()]

    def policy_changed(self) -> None:
        """Note the grants of the policy in force."""
        self._ledger.policy_changed(self._document_grants(), self._keeper.issued)
        self._book.look_again()

    def grants(self) -> tuple[Grant, ...]:
        """Give the grants that count now, each with what is left of it."""
        return self._ledger.effective(self._document_grants(), self._keeper.issued)

    def use(self, grant_id: str, attempt_id: str) -> None:
        """Count a use durably, before anything is started; raise UseError, after which nothing may start."""
        self._ledger.use(self._document_grants(), grant_id, attempt_id, self._keeper.issued)

    async def submit(self, attempt_id: str, attempt: Attempt, decision: Decision, justification: str) -> Submission:
        """Ask the support about an attempt whose event is on the disk."""
        return await self._desk.submit(attempt_id, attempt, decision, justification)

    def keep_outcome(self, outcome: agent_pb2.RequestOutcome) -> None:
        """Keep what became of a request, durably; raise OSError where that fails."""
        self._book.keep_outcome(outcome, self._wall())

    async def report(self) -> None:
        """Report uses of grants until cancelled."""
        await keep(self.link, self.reporter.session, self._delays)

    async def note(self) -> None:
        """Note now and then how long grants last, for the time after a power cut, until cancelled."""
        while True:
            await self._delays.pause(NOTE_SECONDS)
            if self._ledger.counts_down():
                self._ledger.rest()

    def report_soon(self) -> None:
        """Report what waits now and not after a long pause: the device is about to speak to the server again."""
        if self._ledger.waiting:
            self.link.hurry()

    def rest(self) -> None:
        """Save what is left of the grants, before the agent stops."""
        self._ledger.rest()

    def shown(self) -> dict[str, object]:
        """Show how many uses wait for the server, and why."""
        return {"waiting": len(self._ledger.waiting), "problem": self.link.problem if self._ledger.waiting else ""}

    def is_spent(self, grant_id: str) -> bool:
        """Tell whether the device has counted the last use of a grant."""
        return self._ledger.is_spent(grant_id)

    def is_usable(self, grant_id: str) -> bool:
        """Tell whether a grant is there and counts."""
        return any(grant.id == grant_id and grant.uses_left != 0 for grant in self.grants())

    def _document_grants(self) -> Sequence[Grant]:
        held = self._keeper.held
        return held.policy.grants if held is not None else ()

    def _wall(self) -> datetime:
        return self._clock.now().wall
