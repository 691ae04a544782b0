"""How far the policy of one device has come: which document is the newest, and what the device said to it.

- `revision` only grows. It moves when another document than the last one is prepared, and past any revision that the device
  claims to hold and nobody here remembers.
- A document that the device refused stays refused under its revision. It is offered under another one to a new run of the
  agent, which may be another version; and after a while to the same run, if the device said that the cause passes.
- A device that enrols again begins a new life: what it said before counts no more, and the revision grows on.
- `stream` names the newest stream of the device. Whoever holds an older one finds another name here.
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from elevation.model import ReportingScope
from services.policy.model.bundle import UNKNOWN, Bundle
from services.policy.model.states import DeliveryState, delivery_state

LARGEST_REVISION = 2**62
"""That a device may claim to hold: it moves ours on, and from there to what databases can keep no device gets step by step."""

MOST_REASONS = 20
LONGEST_REASON = 500
NO_REASON = "the device gave no reason"
MOST_RUNS = 8
"""Runs of a device's agent that are remembered."""


class Desired(enum.Enum):
    """Say what the settings policies that apply to a device want."""

    ON = "ON"
    OFF = "OFF"
    NONE = "NONE"


class GoAwayReason(enum.Enum):
    """Say why a stream is to be closed."""

    SUPERSEDED = "SUPERSEDED"
    DRAINING = "DRAINING"
    RETIRED = "RETIRED"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Hold what is known of one device's policy."""

    device_id: str
    revision: int = 0
    """Revision of the newest document; 0: none was made."""
    sha256: bytes = b""
    """Digest of the newest document; empty: it is not known here."""
    desired: Desired = Desired.NONE
    """What the newest document wants."""
    bundle: Bundle = UNKNOWN
    """Policies in the newest document."""
    offered: datetime | None = None
    """When the newest document was offered first. None: it was not."""
    applied_revision: int = 0
    applied_desired: Desired | None = None
    """What the document wants that the device applied. None: it applied none, or one that is not known here."""
    applied_bundle: Bundle = UNKNOWN
    """Policies in the document that the device applied; unknown where that is not known here."""
    rejected_revision: int = 0
    rejections: tuple[str, ...] = ()
    put_off: datetime | None = None
    """When the device refused the newest document for a cause of its own that passes. None: it did not."""
    confirmed: datetime | None = None
    """When the device last answered or was confirmed. None: never."""
    lost: datetime | None = None
    """When settings policies ceased to apply. None: they apply, or never did."""
    stream: str = ""
    """The newest stream; empty: it was closed."""
    seen: datetime | None = None
    """When a process last held the stream. None: never."""
    runs: tuple[str, ...] = ()
    """The last runs of the agent that said hello, the newest one last; empty in the last place: one that did not tell."""
    key_ids: tuple[str, ...] = ()
    """Keys by which the device verifies policy, as its last hello told, or the last offer that it applied since."""
    life: datetime | None = None
    """When the device had enrolled last, when this was learnt. None: it is not known."""

    @property
    def state(self) -> DeliveryState:
        """Say how far the newest document has come."""
        return delivery_state(
            self.revision,
            offered=self.offered is not None,
            applied=self.applied_revision,
            rejected=self.rejected_revision,
        )

    @property
    def connected(self) -> bool:
        """Tell whether a stream is open; those of a process that is gone are closed by another."""
        return bool(self.stream)

    def outlives(self, life: datetime | None) -> bool:
        """Tell whether this is of a newer life of the device than the one that enrolled then: the directory is behind."""
        return life is not None and self.life is not None and self.life > life

    def in_life(self, life: datetime | None) -> "Delivery":
        """Return what counts of this for the device that enrolled then: nothing but the revision, if this is of an older life."""
        if life is None or life == self.life or self.outlives(life):
            return self
        return replace(self, life=life) if self.life is None else Delivery(self.device_id, self.revision, life=life)

    def alternates(self, run_id: str) -> bool:
        """Tell whether a hello of this run comes after one of a newer run: then two agents live under one identity."""
        return run_id in self.runs[:-1]

    def acknowledged(self, desired: Desired) -> bool:
        """Tell whether the device applied a document that wants this."""
        return self.applied_desired is desired

    def loses(self, desired: Desired) -> bool:
        """Tell whether this wish would take away settings that the device may have, for the first time."""
        held = self.desired is not Desired.NONE or (self.applied_revision and self.applied_desired is not Desired.NONE)
        return desired is Desired.NONE and self.lost is None and bool(held)

    def regains(self, desired: Desired) -> bool:
        """Tell whether it is noted still that settings policies had ceased to apply, though they do again."""
        return self.lost is not None and desired is not Desired.NONE

    def losing(self, now: datetime) -> "Delivery":
        """Note that settings policies have ceased to apply, unless that is known."""
        return replace(self, lost=self.lost or now)

    def opened(self, stream: str, *, revision: int, sha256: bytes, now: datetime) -> "Delivery":
        """Begin a stream of a device that holds this revision and digest (0 and empty: none)."""
        begun = replace(self, stream=stream, seen=now)
        if revision and (revision, sha256) == (self.revision, self.sha256):
            return begun.applied(revision, self.desired, now, bundle=self.bundle)
        if revision >= max(self.revision, 1):
            # The device is ahead: these data were restored from an older state. Nobody here knows what it holds.
            begun = replace(begun, revision=revision, sha256=b"", desired=Desired.NONE, bundle=UNKNOWN, offered=None)
        elif revision == self.applied_revision:
            return begun
        return replace(begun, applied_revision=revision, applied_desired=None, applied_bundle=UNKNOWN)

    def introduced(self, run_id: str, key_ids: tuple[str, ...]) -> "Delivery":
        """Note which run of the agent speaks, empty if it does not tell, and the keys that it verifies policy by.

        Two lines of life are seen anew each time that they alternate: what led there is forgotten, so that a device of
        which only one line is left is under no suspicion. Who does not tell is another run than those that did, until one
        tells again: a copy hides in no silence, and an agent may give way to one of an older version.
        """
        if self.alternates(run_id):
            return replace(self, runs=(run_id,), key_ids=key_ids)
        if run_id in self.runs or not (run_id or self.runs):
            return replace(self, key_ids=key_ids)
        sha256 = b"" if self.state is DeliveryState.REJECTED else self.sha256
        told = tuple(run for run in self.runs if run)
        return replace(self, runs=(*told, run_id)[-MOST_RUNS:], key_ids=key_ids, sha256=sha256)

    def introduced_to(self, key_ids: tuple[str, ...]) -> "Delivery":
        """Note the keys that a manifest told of which the device accepted; one that does not tell its keys takes none up."""
        told = tuple(sorted(key_ids))
        return replace(self, key_ids=told) if self.key_ids and self.key_ids != told else self

    def is_due(self, now: datetime, wait: timedelta) -> bool:
        """Tell whether what the device put off is to be offered again; where a clock was set back, nobody waits for it."""
        if self.put_off is None or self.state is not DeliveryState.REJECTED:
            return False
        return not timedelta() <= now - self.put_off < wait

    def renewed(self, now: datetime, wait: timedelta) -> "Delivery":
        """Let the next document be another one than the newest, if that is due to be offered again."""
        return replace(self, sha256=b"", put_off=None) if self.is_due(now, wait) else self

    def retried(self) -> "Delivery":
        """Forget that the newest document was refused: it may be offered again."""
        return replace(self, rejected_revision=0, rejections=(), put_off=None)

    def prepared(
        self, sha256: bytes, desired: Desired, bundle: Bundle = UNKNOWN, *, offered: datetime | None = None
    ) -> "Delivery":
        """Make the document with this digest the newest one, under a new revision if it is another one than before.

        The same document may be made of other policies than before: who holds it holds those then. `offered` is when another
        one is offered, if that is now; it spares whoever prepares many of them a second step.
        """
        lost = None if self.regains(desired) else self.lost
        if self.revision and sha256 == self.sha256:
            holds = self.applied_revision == self.revision
            return replace(self, bundle=bundle, applied_bundle=bundle if holds else self.applied_bundle, lost=lost)
        return replace(
            self,
            revision=self.revision + 1,
            sha256=sha256,
            desired=desired,
            bundle=bundle,
            offered=offered,
            rejections=(),
            put_off=None,
            lost=lost,
        )

    def sent(self, now: datetime) -> "Delivery":
        """Note that the newest document is being offered."""
        if self.offered is not None or self.state is not DeliveryState.PENDING:
            return self
        return replace(self, offered=now)

    def applied(self, revision: int, desired: Desired, now: datetime, *, bundle: Bundle = UNKNOWN) -> "Delivery":
        """Note that the device holds this revision, made of these policies when it was offered."""
        holds = self.bundle if revision == self.revision else bundle
        known = self.retried() if revision == self.rejected_revision else self
        return replace(known, applied_revision=revision, applied_desired=desired, applied_bundle=holds, confirmed=now)

    def rejected(
        self, revision: int, reasons: tuple[str, ...], now: datetime, *, temporary: bool = False
    ) -> "Delivery":
        """Note that the device refused this revision, perhaps for a cause that passes."""
        refused = replace(self, rejected_revision=revision, confirmed=now)
        if revision != self.revision:
            return refused
        told = (reason.replace("\0", "")[:LONGEST_REASON] for reason in reasons[:MOST_REASONS])
        kept = tuple(reason for reason in told if reason.strip()) or (NO_REASON,)
        return replace(refused, rejections=kept, put_off=now if temporary else None)

    def given_up(self, reason: str) -> "Delivery":
        """Count the newest document as refused, for a reason of ours: the device has said nothing."""
        return replace(self, rejected_revision=self.revision, rejections=(reason,), put_off=None)

    def held(self, stream: str, now: datetime, *, confirmed: datetime | None) -> "Delivery":
        """Note that the stream is open still, and when it confirmed the document, if it did since it was noted last."""
        if self.stream != stream:
            return self
        return replace(self, seen=now, confirmed=confirmed or self.confirmed)

    def closed(self, stream: str, now: datetime, *, confirmed: datetime | None = None) -> "Delivery":
        """End the stream, unless a newer one has begun. What the device holds stays as it was."""
        return replace(self.held(stream, now, confirmed=confirmed), stream="") if self.stream == stream else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Tell that a stream is open still."""

    device_id: str
    stream: str
    seen: datetime
    confirmed: datetime | None
    """When the document was confirmed, if it was since this was told last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsState:
    """Tell what settings policies want of a device, and whether the device applied a document that says so."""

    device_id: str
    desired: Desired
    acknowledged: bool
    revision: int
    """Revision of what is authored that this was worked out from."""
    scope: ReportingScope
    """The widest by which anything may be reported from the device."""
    lost: datetime | None = None
    """When settings policies ceased to apply. None: they apply, or never did."""
    life: datetime | None = None
    """When the device enrolled last, as far as it is known here."""
