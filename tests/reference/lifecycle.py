"""The EPM state of a device as the decisions put it, told plainly and by nothing of the service's own.

`PlainDevice` is the table of states. `LifecycleMachine` is a world around it: an administrator, the policy service, a
device that may be away or refuse, a server whose clock jumps, messages that come twice, late or never. Whoever is to be
compared with the table says how it hears these things.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.fakes.clock import NOW

WEEK = timedelta(days=7)
COMPONENTS = ("windows", "linux", "macos")
PLATFORMS = ("linux", "windows", "haiku")


@dataclass(frozen=True)
class Told:
    """A report of the policy service: what is wanted (`on`, `off`, `none`), and whether the device knows."""

    wanted: str
    acknowledged: bool
    revision: int
    lost: datetime | None


@dataclass
class PlainDevice:
    """One device."""

    os: str = "linux"
    state: str = "NOT_PROVISIONED"
    wanted: str = "none"
    revision: int = 0
    lost: datetime | None = None
    goes: datetime | None = None
    moves: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, told: Told, now: datetime) -> None:
        """Hear a report; one that rests on older data says nothing."""
        if told.revision < self.revision:
            return
        self.revision, self.wanted = told.revision, told.wanted
        if self.state == "NOT_APPLICABLE":
            return
        if told.wanted == "none":
            self._lose(told.lost, now)
            return
        if self.state in ("NOT_PROVISIONED", "DEPROVISION_PENDING", "DEPROVISIONING"):
            self._go("PROVISIONING")
        reached = {"on": "ACTIVE", "off": "DISABLED"}[told.wanted]
        if told.acknowledged and self.state != reached:
            self._go(reached)

    def tick(self, now: datetime) -> None:
        """Look at the clock."""
        if self.state == "DEPROVISION_PENDING" and self.goes is not None and now >= self.goes:
            self._go("DEPROVISIONING", goes=self.goes, lost=self.lost)

    def confirm(self) -> None:
        """Hear that the component is not there."""
        if self.state == "DEPROVISIONING":
            self._go("NOT_PROVISIONED")

    def runs(self, os: str) -> None:
        """Hear which platform the device has."""
        self.os = os
        if os not in COMPONENTS:
            self._go("NOT_APPLICABLE")
        elif self.state == "NOT_APPLICABLE":
            self._go("NOT_PROVISIONED" if self.wanted == "none" else "PROVISIONING")

    def _lose(self, lost: datetime | None, now: datetime) -> None:
        if self.lost is not None and lost is not None and lost > self.lost:
            self._go("PROVISIONING")  # a policy was back, and nobody told
        if self.state in ("PROVISIONING", "ACTIVE", "DISABLED"):
            self._go("DEPROVISION_PENDING", goes=(lost or now) + WEEK, lost=lost)

    def _go(self, state: str, *, goes: datetime | None = None, lost: datetime | None = None) -> None:
        if state != self.state:
            self.moves.append((self.state, state))
        self.state, self.goes, self.lost = state, goes, lost


@dataclass(frozen=True)
class Seen:
    """What the subject says of its device now, in the words of the table."""

    state: str
    wanted: str
    goes: datetime | None
    moves: list[tuple[str, str]]


class Subject(Protocol):
    """What is compared with the table."""

    def enrol(self, os: str) -> None:
        """Let the device begin."""
        ...

    def hear(self, told: Told, now: datetime) -> None:
        """Take in a report."""
        ...

    def check_in(self, os: str, now: datetime, *, gone: bool) -> None:
        """Hear from the agent."""
        ...

    def sweep(self, now: datetime) -> None:
        """Look for what is due."""
        ...

    def seen(self) -> Seen:
        """Say how it is."""
        ...


class LifecycleMachine(RuleBasedStateMachine):
    """Let policies come and go, devices answer or not, time jump either way, and reports repeat and overtake one another."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.subject = subject
        self.plain = PlainDevice()
        self.now = NOW
        self.revision = 0
        self.wanted = "none"
        self.lost: datetime | None = None
        self.applied = "none"
        self.online = True
        self.sent: list[Told] = []

    @initialize(os=st.sampled_from(PLATFORMS))
    def enrol(self, os: str) -> None:
        """Begin, on any platform."""
        self.subject.enrol(os)
        self.plain.runs(os)
        self.plain.moves.clear()

    @rule(wanted=st.sampled_from(("on", "off")))
    def gain_enable_or_disable(self, wanted: str) -> None:
        """Assign a settings policy, or change the one there is."""
        self.revision += 1
        self.wanted, self.lost = wanted, None
        self._tell()

    @rule(ago=st.none() | st.timedeltas(min_value=timedelta(), max_value=timedelta(days=9)))
    def lose(self, ago: timedelta | None) -> None:
        """Take the last settings policy away, so long ago; None: the policy service does not say when that was."""
        self.revision += 1
        if self.wanted != "none":
            self.lost = None if ago is None else self.now - ago
        self.wanted = "none"
        self._tell()

    @rule()
    def lose_again_unheard(self) -> None:
        """Bring a policy back and take it away while nobody hears of it."""
        self.revision += 2
        self.wanted, self.lost = "none", self.now
        self._tell()

    @rule()
    def acknowledge(self) -> None:
        """Let a device that is there apply what it was offered."""
        if self.online:
            self.applied = self.wanted
            self._tell()

    @rule()
    def refuse(self) -> None:
        """Let a device that is there refuse what it was offered: it stays with what it has."""
        if self.online:
            self._tell()

    @rule(online=st.booleans())
    def come_or_go(self, *, online: bool) -> None:
        """Let the device come or go, which by itself moves nothing."""
        self.online = online

    @rule(data=st.data())
    def hear_again(self, data: st.DataObject) -> None:
        """Hear a report a second time, however old it is."""
        if self.sent:
            self._hear(data.draw(st.sampled_from(self.sent)))

    @rule()
    def sweep(self) -> None:
        """Let a sweep come by."""
        self.subject.sweep(self.now)
        self.plain.tick(self.now)

    @rule(gone=st.booleans())
    def check_in(self, *, gone: bool) -> None:
        """Hear from a device that is there: the time counts first, and then whether the component is gone."""
        if self.online:
            self._check_in(self.plain.os, gone=gone)

    @rule(os=st.sampled_from(PLATFORMS))
    def change_platform(self, os: str) -> None:
        """Hear from the device on another platform."""
        self._check_in(os, gone=False)

    @rule(step=st.timedeltas(min_value=-timedelta(days=9), max_value=timedelta(days=9)))
    def step_the_clock(self, step: timedelta) -> None:
        """Let time pass, or have the clock set."""
        self.now += step

    @rule(before=st.booleans())
    def come_to_the_time(self, *, before: bool) -> None:
        """Set the clock to when the component is to go, or to the moment before."""
        if self.plain.goes is not None:
            self.now = self.plain.goes - timedelta(microseconds=before)

    @invariant()
    def both_say_the_same(self) -> None:
        """Compare state, time, what is wanted, and every move on the way."""
        seen = self.subject.seen()
        plain = self.plain
        assert (seen.state, seen.goes, seen.wanted) == (plain.state, plain.goes, plain.wanted)
        assert seen.moves == plain.moves

    def teardown(self) -> None:
        """Show that no path leads away for good: without policy, in time, and with the agent's word, the component is gone."""
        self._check_in("linux", gone=False)
        self.gain_enable_or_disable("on")
        self.lose(timedelta())
        self.now = (self.plain.goes or self.now) + timedelta(microseconds=1)
        self._check_in("linux", gone=True)
        self.both_say_the_same()
        assert self.plain.state == "NOT_PROVISIONED"

    def _check_in(self, os: str, *, gone: bool) -> None:
        self.subject.check_in(os, self.now, gone=gone)
        self.plain.runs(os)
        self.plain.tick(self.now)
        if gone:
            self.plain.confirm()

    def _tell(self) -> None:
        told = Told(self.wanted, self.applied == self.wanted, self.revision, self.lost)
        self.sent.append(told)
        self._hear(told)

    def _hear(self, told: Told) -> None:
        self.subject.hear(told, self.now)
        self.plain.hear(told, self.now)
