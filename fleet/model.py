"""The nouns of the simulator."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum


class FaultKind(Enum):
    """What may go wrong with an agent; the value is its name in scripts. docs/simulator.md says what each does."""

    CUT = "cut"
    DROP = "drop"
    LOSE_ACK = "lose-ack"
    DOUBLE_ACK = "double-ack"
    WRONG_NONCE = "wrong-nonce"
    REFUSE = "refuse"
    SLOW_READER = "slow-reader"
    STOP_READING = "stop-reading"
    CLOCK = "clock"
    CLONE = "clone"
    RESTART = "restart"
    KILL_BEFORE_RENAME = "kill-before-rename"
    KILL_AFTER_RENAME = "kill-after-rename"
    RESTORE = "restore"
    OPEN_TWICE = "open-twice"
    HELLO_TWICE = "hello-twice"
    GARBAGE = "garbage"
    RECONNECT = "reconnect"


FAITHFUL_ONLY = frozenset({FaultKind.KILL_BEFORE_RENAME, FaultKind.KILL_AFTER_RENAME})
"""Faults of the disk: a light agent has none."""

ORDERS = frozenset({FaultKind.CLONE, FaultKind.RESTART, FaultKind.RESTORE, FaultKind.OPEN_TWICE, FaultKind.RECONNECT})
"""Faults that happen to a whole agent at once; the others wait for the next fitting moment of its stream."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    kind: FaultKind
    lasts: timedelta = timedelta()
    """How long, where the kind lasts."""
    shift: timedelta = timedelta()
    """How far a clock jumps; negative: back."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault of one agent, `at` seconds after the start of the run."""

    at: float
    agent: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Holding:
    """What an agent has in force; revision 0: nothing."""

    revision: int = 0
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Standing:
    """What of an agent is compared with the server."""

    holding: Holding
    epm_state: str = ""
    """State of EPM as the agent's document has it; empty where nobody tells the server of the component."""


class Law(Enum):
    """What has to be true of every agent at all times."""

    REVISION_NEVER_DOWN = "the revision never goes down"
    LAST_GOOD_STAYS = "a refused offer leaves the last good policy in force"
    ACK_MEANS_IN_FORCE = "what is acknowledged is in force"
    NO_NEEDLESS_OFFER = "no offer of what the agent holds already"
    NO_OLD_OFFER = "no offer of an older revision than the agent holds"
    OWN_DOCUMENTS_ONLY = "a document is never for another device"
    CONFIRMS_WHAT_IS_HELD = "only what the agent holds is confirmed"
    GO_AWAY_OBEYED = "who is sent away says no more, and comes back only where asked to"


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that was broken."""

    agent: str
    law: Law
    detail: str


@dataclass(slots=True)
class Tally:
    """Count what happens to the agents of one process."""

    streams: int = 0
    welcomes: int = 0
    offers: int = 0
    acks: int = 0
    nacks: int = 0
    confirmations: int = 0
    farewells: int = 0
    throttles: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Faults that took place, by kind; one that is armed and finds no moment does not count."""

    def add(self, other: "Tally") -> None:
        """Count another process in."""
        self.streams += other.streams
        self.welcomes += other.welcomes
        self.offers += other.offers
        self.acks += other.acks
        self.nacks += other.nacks
        self.confirmations += other.confirmations
        self.farewells += other.farewells
        self.throttles += other.throttles
        self.faults.update(other.faults)


@dataclass(frozen=True, slots=True)
class AgentReport:
    """How an agent ended."""

    name: str
    device_id: str
    grade: str
    connected: bool
    holding: Holding
    problem: str
    """Why its stream is not open; empty if it is."""
    faults: Counter[str]
    """What went wrong with it, by kind."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How the agents of one process are."""

    agents: int
    connected: int
    revisions: Counter[int]
    tally: Tally
    calm: bool = False
    """Whether the faults are over."""
    violations: tuple[Violation, ...] = ()
    """Those that were not told before."""
    reports: tuple[AgentReport, ...] = ()
    """Given at the end alone."""
