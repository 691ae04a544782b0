"""How far one revision of a policy has come on the devices that it is for.

A device has a policy if it is in the document that the device applied, at the revision asked for or a newer one. Where it
is not, the newest document says how far it is: refused, offered, or waiting.
"""

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from services._chassis.errors import Problem
from services.policy.model.bundle import Contents, PolicyKind
from services.policy.model.states import DeliveryState, delivery_state, is_stale

MOST_REASONS = 20
NOTHING = Contents()


class RolloutState(enum.Enum):
    """Say how far a policy has come on one device."""

    PENDING = "pending"
    OFFERED = "offered"
    APPLIED = "applied"
    REJECTED = "rejected"
    LEAVING = "leaving"


_STATES = {
    DeliveryState.PENDING: RolloutState.PENDING,
    DeliveryState.OFFERED: RolloutState.OFFERED,
    DeliveryState.REJECTED: RolloutState.REJECTED,
    DeliveryState.APPLIED: RolloutState.PENDING,  # the next document will hold the policy: it was not made yet
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Name a policy and one of its revisions."""

    policy: str
    kind: PolicyKind
    revision: int


@dataclass(frozen=True, slots=True)
class SubjectWanted:
    """Name a policy as somebody asks for it."""

    policy: str
    kind: PolicyKind | None = None
    """None: whichever has the name."""
    revision: int = 0
    """0: the newest."""


class Facts(NamedTuple):
    """Hold what a delivery tells of one device, as lightly as it can be read."""

    revision: int = 0
    offered: bool = False
    applied_revision: int = 0
    rejected_revision: int = 0
    bundle: bytes | None = None
    applied_bundle: bytes | None = None
    confirmed: datetime | None = None
    """None also where a stream confirms the newest document."""
    connected: bool = False

    @property
    def state(self) -> DeliveryState:
        """Say how far the newest document has come."""
        return delivery_state(
            self.revision, offered=self.offered, applied=self.applied_revision, rejected=self.rejected_revision
        )


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Picture:
    """Hold the deliveries of all devices as they were at one time."""

    taken: datetime
    facts: Mapping[str, Facts] = field(default_factory=dict)
    contents: Mapping[bytes, Contents] = field(default_factory=dict)
    """Of the bundles that the facts name."""
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why devices refused their newest document."""

    def of(self, device_id: str) -> Facts:
        """Return what is known of a device."""
        return self.facts.get(device_id, NO_FACTS)


class Gauge:
    """Tell of one device after the other how far a policy has come there."""

    def __init__(self, subject: Subject, picture: Picture) -> None:
        self.subject = subject
        self.picture = picture
        self._revisions: dict[bytes | None, int] = {
            digest: contents.revision(subject.kind, subject.policy) for digest, contents in picture.contents.items()
        }

    def state(self, facts: Facts, wanted: Contents) -> RolloutState | None:
        """Say how far the policy is on a device that is to have `wanted`; None: it has nothing to do with the device."""
        applied = self.applied(facts)
        if not wanted.revision(self.subject.kind, self.subject.policy):
            return RolloutState.LEAVING if applied else None
        if applied >= self.subject.revision:
            return RolloutState.APPLIED
        if self._revisions.get(facts.bundle, 0) >= self.subject.revision:
            return _STATES[facts.state]
        return RolloutState.PENDING

    def applied(self, facts: Facts) -> int:
        """Return the revision of the policy on the device; 0 if it has none, or one that is not known here."""
        return self._revisions.get(facts.applied_bundle, 0)

    def stale(self, facts: Facts) -> bool:
        """Tell whether the document that the device holds counts no more."""
        if facts.confirmed is None:
            return False
        held = self.picture.contents.get(facts.applied_bundle or b"", NOTHING)
        return is_stale(
            held.stale_after,
            facts.state,
            connected=facts.connected,
            confirmed=facts.confirmed,
            now=self.picture.taken,
        )


@dataclass(frozen=True, slots=True)
class RejectionCount:
    """Count the devices that gave one reason."""

    reason: str
    devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Count how far a policy has come."""

    subject: Subject
    time: datetime
    pending: int = 0
    offered: int = 0
    applied: int = 0
    rejected: int = 0
    leaving: int = 0
    stale: int = 0
    offline: int = 0
    rejections: tuple[RejectionCount, ...] = ()

    @property
    def targeted(self) -> int:
        """Return how many devices the policy is for."""
        return self.pending + self.offered + self.applied + self.rejected

    @property
    def converged(self) -> bool:
        """Tell whether every device that the policy is for has applied or refused it."""
        return not self.pending and not self.offered


class Tally:
    """Count devices one after the other."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._states: Counter[RolloutState] = Counter()
        self._reasons: Counter[str] = Counter()
        self._stale = 0
        self._offline = 0

    def add(self, device_id: str, wanted: Contents) -> None:
        """Count a device that is to have `wanted`."""
        facts = self._gauge.picture.of(device_id)
        state = self._gauge.state(facts, wanted)
        if state is None:
            return
        self._states[state] += 1
        if state is RolloutState.LEAVING:
            return
        self._stale += self._gauge.stale(facts)
        self._offline += not facts.connected
        if state is RolloutState.REJECTED:
            self._reasons.update(set(self._gauge.picture.reasons.get(device_id, ())))

    def rollout(self) -> Rollout:
        """Return what was counted."""
        ranked = sorted(self._reasons.items(), key=lambda found: (-found[1], found[0]))
        return Rollout(
            subject=self._gauge.subject,
            time=self._gauge.picture.taken,
            pending=self._states[RolloutState.PENDING],
            offered=self._states[RolloutState.OFFERED],
            applied=self._states[RolloutState.APPLIED],
            rejected=self._states[RolloutState.REJECTED],
            leaving=self._states[RolloutState.LEAVING],
            stale=self._stale,
            offline=self._offline,
            rejections=tuple(RejectionCount(*found) for found in ranked[:MOST_REASONS]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDevice:
    """Show how far a policy has come on one device."""

    device_id: str
    device_name: str
    state: RolloutState
    applied_revision: int
    rejections: tuple[str, ...] = ()
    confirmed: datetime | None = None
    offline_since: datetime | None = None
    connected: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesWanted:
    """Say which devices of a rollout are asked for."""

    state: RolloutState | None = None
    stale_only: bool = False
    offline_only: bool = False
    unreadable: tuple[Problem, ...] = field(default=(), repr=False)
    """What is wrong with the parts of the question that cannot even be read."""

    def holds(self, state: RolloutState, *, stale: bool, connected: bool) -> bool:
        """Tell whether such a device is asked for."""
        if self.state not in (None, state):
            return False
        return (stale or not self.stale_only) and not (connected and self.offline_only)
