"""Elevation requests: what a user asks the support for, and what becomes of it.

- PENDING -> APPROVED, DENIED, CANCELLED or EXPIRED (at the review deadline); APPROVED -> REVOKED, EXPIRED (when the access
  window ends) or COMPLETED (when all uses are spent). INVARIANT: a final state never changes.
- Where the device or the user is gone, what waits is CANCELLED and what was granted is REVOKED.
- What time does, `at` works out; whoever decides decides about that.
- Uses are counted also after the end: a device that was away used the grant in time, or before it heard.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from elevation.model import FileEvidence, Grant, Platform, Signer
from services._chassis.errors import StateError
from services.policy.model.directory import DirectoryDevice

LONGEST_TEXT = 256
"""Characters of a justification and of a reason."""

DEFAULT_ACCESS = timedelta(days=1)
SHORTEST_ACCESS = timedelta(minutes=1)
MOST_USES = 1_000_000

NOBODY_DECIDED = "nobody decided before the review deadline"
WINDOW_ENDED = "the access window ended"
USES_SPENT = "all uses are spent"
DEVICE_GONE = "the device is enrolled no more"
DEVICE_ANEW = "the device enrolled anew"
USER_GONE = "the user was removed from the device"
TAKEN_BACK = "the requester took it back"
_GONE = frozenset({DEVICE_GONE, DEVICE_ANEW, USER_GONE})


class RequestState(enum.Enum):
    """Say how far a request is."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    DENIED = "DENIED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"
    COMPLETED = "COMPLETED"


OPEN = frozenset({RequestState.PENDING, RequestState.APPROVED})
"""States that something can follow."""

TOLD = frozenset({RequestState.APPROVED, RequestState.DENIED, RequestState.EXPIRED, RequestState.REVOKED})
"""States that a device hears of from the server. COMPLETED it brings about itself, and CANCELLED unless its user is gone."""

_LOST = {RequestState.PENDING: RequestState.CANCELLED, RequestState.APPROVED: RequestState.REVOKED}


class OfDevice(Protocol):
    """Is of a device, which carried these tags when it asked."""

    @property
    def device_id(self) -> str:
        """Return the device."""
        ...

    @property
    def scope_tags(self) -> frozenset[str]:
        """Return the tags that it carried."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedFile:
    """Hold what a device tells of a file; an empty text is a fact that is missing."""

    path: str
    sha256: str
    version: str = ""
    description: str = ""
    product_name: str = ""
    internal_name: str = ""
    company_name: str = ""
    publisher: str = ""
    publisher_fingerprint: str = ""

    def evidence(self, *, root_only_path: bool = False, signers: tuple[Signer, ...] = ()) -> FileEvidence:
        """Return it as the kernel takes a file; what no request tells is for the caller to say."""
        return FileEvidence(
            path=self.path,
            sha256=self.sha256,
            version=self.version,
            description=self.description,
            product_name=self.product_name,
            internal_name=self.internal_name,
            company_name=self.company_name,
            root_only_path=root_only_path,
            signers=signers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Say who decided, when and why."""

    reviewer: str
    reviewed: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Say what an approval gives: from a time, inclusive, until a time, exclusive."""

    begins: datetime
    until: datetime
    max_uses: int = 0
    """0: many."""
    any_arguments: bool = False
    uses: int = 0

    @property
    def spent(self) -> bool:
        """Tell whether no use is left."""
        return 0 < self.max_uses <= self.uses


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Say how a request ended otherwise than by a denial; `ended_by` is empty where no approver did."""

    ended: datetime
    reason: str
    ended_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElevationRequest:
    """Hold a request, and what became of it."""

    request_id: str
    device_id: str
    device_name: str
    user: str
    justification: str
    attempt_id: str
    submitted: datetime
    review_deadline: datetime
    platform: Platform
    file: RequestedFile
    arguments: tuple[str, ...] = ()
    policy: str = ""
    rule: str = ""
    scope_tags: frozenset[str] = frozenset()
    """Those of the device when it was submitted; they count where the device is no more."""
    life: datetime | None = None
    """When the device had enrolled. None: that was not told."""
    state: RequestState = RequestState.PENDING
    review: Review | None = None
    access: Access | None = None
    end: End | None = None

    @property
    def ends(self) -> datetime | None:
        """Return when time alone ends this. None: never."""
        if self.state is RequestState.PENDING:
            return self.review_deadline
        return self.access.until if self.access and self.state is RequestState.APPROVED else None

    def at(self, now: datetime) -> "ElevationRequest":
        """Return what time has made of this."""
        ends = self.ends
        if ends is None or now < ends:
            return self
        reason = NOBODY_DECIDED if self.state is RequestState.PENDING else WINDOW_ENDED
        return replace(self, state=RequestState.EXPIRED, end=End(ended=ends, reason=reason))

    def approved(self, review: Review, access: Access) -> "ElevationRequest":
        """Let the user elevate. Raises StateError where it does not wait for that."""
        self._need(RequestState.PENDING, review.reviewed)
        return replace(self, state=RequestState.APPROVED, review=review, access=access)

    def denied(self, review: Review) -> "ElevationRequest":
        """Say no. Raises StateError where it does not wait for that."""
        self._need(RequestState.PENDING, review.reviewed)
        return replace(self, state=RequestState.DENIED, review=review)

    def cancelled(self, now: datetime) -> "ElevationRequest":
        """Take it back; again changes nothing. Raises StateError where it is decided or expired."""
        if self.state is RequestState.CANCELLED:
            return self
        self._need(RequestState.PENDING, now)
        return replace(self, state=RequestState.CANCELLED, end=End(ended=now, reason=TAKEN_BACK))

    def revoked(self, end: End) -> "ElevationRequest":
        """Take the approval back. Raises StateError where there is none, or none any longer."""
        self._need(RequestState.APPROVED, end.ended)
        return replace(self, state=RequestState.REVOKED, end=end)

    def lost(self, end: End) -> "ElevationRequest":
        """End it because device or user is gone; what is over, by time too, stays as it is."""
        state = _LOST.get(self.at(end.ended).state)
        return self if state is None else replace(self, state=state, end=end)

    def used(self, uses: int, now: datetime) -> "ElevationRequest":
        """Count uses; the last one that was granted completes the request, unless time has ended it."""
        if self.access is None:
            return self
        present = self.at(now)
        counted = replace(present, access=replace(self.access, uses=self.access.uses + uses))
        if present.state is not RequestState.APPROVED or counted.access is None or not counted.access.spent:
            return counted
        return replace(counted, state=RequestState.COMPLETED, end=End(ended=now, reason=USES_SPENT))

    @property
    def told(self) -> bool:
        """Tell whether the device hears from the server that it is in this state."""
        return self.state in TOLD or (self.end is not None and self.end.reason in _GONE)

    def as_told(self, state: RequestState, uses: int | None = None) -> "ElevationRequest":
        """Return this as it was when it came into a state that it may have left; `uses` None: it is not known how many there were."""
        then = self if state is self.state else replace(self, state=state, end=None)
        if uses is None or then.access is None:
            return then
        return replace(then, access=replace(then.access, uses=uses))

    def grant(self, device_name: str) -> Grant | None:
        """Return what the device may decide by. None: nothing is approved."""
        access = self.access
        if access is None or self.state is not RequestState.APPROVED:
            return None
        return Grant(
            id=self.request_id,
            user=self.user,
            device=device_name,
            sha256=self.file.sha256,
            arguments=None if access.any_arguments else self.arguments,
            not_before=access.begins,
            expires=access.until,
            uses_left=max(access.max_uses - access.uses, 0) if access.max_uses else None,
        )

    def _need(self, state: RequestState, now: datetime) -> None:
        present = self.at(now)
        if present.state is not state:
            raise settled(present)


def gone(request: ElevationRequest, device: DirectoryDevice) -> str:
    """Say why nothing may be granted on the device as it is now; empty: there is no such reason."""
    if not device.enrolled:
        return DEVICE_GONE
    if request.life is not None and device.life is not None and request.life != device.life:
        return DEVICE_ANEW
    return "" if request.user in device.users else USER_GONE


def grants_on(device: DirectoryDevice, requests: Iterable[ElevationRequest]) -> tuple[Grant, ...]:
    """Return what the device may decide by, of what was approved there; sorted by identifier."""
    made = (request.grant(device.name) for request in requests if not gone(request, device))
    return tuple(sorted((grant for grant in made if grant is not None), key=lambda grant: grant.id))


def settled(request: ElevationRequest) -> StateError:
    """Say why nothing can be decided about a request any more, and who decided what and when."""
    details = {"state": request.state.value}
    words = request.state.value.lower()
    if request.review is not None:
        details |= {"reviewer": request.review.reviewer, "reviewed": _time(request.review.reviewed)}
        words += f", decided by {request.review.reviewer} at {_time(request.review.reviewed)}"
    if request.end is not None:
        details["ended"] = _time(request.end.ended)
        if request.end.ended_by:
            details["ended_by"] = request.end.ended_by
            words += f", ended by {request.end.ended_by} at {_time(request.end.ended)}"
    message = f"the request is {words}; read it again"
    return StateError(message, reason="REQUEST_SETTLED", details=details)


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
