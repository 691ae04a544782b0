"""Whatever comes in whatever order, a grant is used no oftener than it says, and every use is told in the end."""

import errno
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent_stub.files import write_private
from agent_stub.requests.ledger import GrantLedger, UseError
from elevation.model import Grant
from tests.builders.grants import LASTS, grant
from tests.fakes.agent import NOW, FakeMoments

MANY = 100


class Counting(RuleBasedStateMachine):
    """One device with one grant, its disk and its clock, and a server that hears late or twice."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.clock = FakeMoments()
        self.passed = self.noted = self.unseen = timedelta(0)
        self.fails = ""
        self.started: list[str] = []
        self.known: set[str] = set()
        self.said: int | None = None

    def write(self, path: Path, content: bytes) -> None:
        if self.fails == "before":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_private(path, content)
        self.noted = self.passed
        if self.fails == "after":
            raise OSError(errno.EIO, "Input/output error")

    @initialize(uses=st.integers(1, 4) | st.none())
    def approved(self, uses: int | None) -> None:
        self.most = uses
        self.said = uses
        self.boot = 0
        self.restart(reboot=False)

    @rule(reboot=st.booleans())
    def restart(self, *, reboot: bool) -> None:
        """Start anew by what is on the disk, as after a kill."""
        if reboot:
            self.boot += 1
            self.unseen += self.passed - self.noted  # all that a restart of the machine may give back
            self.clock.since_boot = timedelta(minutes=1)
        self.ledger = GrantLedger(Path(self.folder.name), self.write, f"boot-{self.boot}", self.clock.now)
        self.ledger.load()
        self.ledger.policy_changed([self.grant], NOW)

    @property
    def grant(self) -> Grant:
        return grant(uses_left=self.said)

    @rule()
    def attempt(self) -> None:
        attempt_id = f"attempt-{len(self.started)}-{self.boot}-{self.clock.since_boot}"
        try:
            self.ledger.use([self.grant], "request-1", attempt_id, NOW)
        except UseError:
            return
        assert self.passed - self.unseen < LASTS
        self.started.append(attempt_id)

    @rule(answer=st.booleans(), most=st.integers(1, MANY))
    def report(self, *, answer: bool, most: int) -> None:
        """Tell the server, whose answer may be lost."""
        told = [use.attempt_id for use in self.ledger.waiting[:most]]
        self.known |= set(told)
        if answer:
            self.ledger.taken_in(told)

    @rule()
    def deliver(self) -> None:
        """Bring a document of what the server knows now."""
        self.said = None if self.most is None else max(0, self.most - len(self.known))
        self.ledger.policy_changed([self.grant], NOW)

    @rule()
    def restore(self) -> None:
        """Bring a document of a server that has forgotten every use."""
        self.said = self.most
        self.ledger.policy_changed([self.grant], NOW)

    @rule(fails=st.sampled_from(["", "before", "after"]))
    def disk(self, fails: str) -> None:
        self.fails = fails

    @rule(minutes=st.integers(1, 200))
    def time_passes(self, minutes: int) -> None:
        self.clock.goes_on(timedelta(minutes=minutes))
        self.passed += timedelta(minutes=minutes)

    @rule(minutes=st.integers(1, 600))
    def clock_is_set_back(self, minutes: int) -> None:
        self.clock.wall -= timedelta(minutes=minutes)
        self.ledger.rest()

    @invariant()
    def no_oftener_than_approved(self) -> None:
        if self.started:
            assert self.most is None or len(self.started) <= self.most

    @invariant()
    def every_use_is_known_or_waits(self) -> None:
        if self.started:
            assert set(self.started) <= self.known | {use.attempt_id for use in self.ledger.waiting}

    def teardown(self) -> None:
        self.folder.cleanup()


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
