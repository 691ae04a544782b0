"""What the verbs about elevation requests need from the outside."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from services._chassis.paging import Page, PageRequest
from services.policy.model.requests import ElevationRequest
from services.policy.model.told_requests import GrantUse, Outcome, Place, Told

Now: TypeAlias = "Callable[[], datetime]"
"""Tells the time when it is asked."""

RequestStep: TypeAlias = "Callable[[ElevationRequest, datetime], ElevationRequest]"
"""Takes a request as it stands at a time to what it is to be; the same one changes nothing. What it raises is raised, and nothing kept."""


@dataclass(frozen=True, slots=True)
class RequestsWanted:
    """Say which requests a list holds: those that are visible and match; none of `since` that are older and wait for nobody."""

    matches: Callable[[ElevationRequest], bool]
    since: datetime | None = None
    """None: from the first on."""
    equal: Mapping[str, str] = field(default_factory=dict)
    """Columns that have to have a value, whatever else is asked for: state, user, device, deviceId, sha256."""


class ElevationRequests(Protocol):
    """Keep elevation requests."""

    async def submit(self, request: ElevationRequest, certificates: Sequence[bytes], now: datetime) -> Told:
        """Keep a new request, and return it; or the one that there is of the same attempt, or of the same file and arguments.

        Of the latter only one that waits still. Raises LimitError where device or user asked for too many lately.
        """
        ...

    async def find(self, request_id: str) -> Told | None:
        """Return a request as it is kept; None where there is none."""
        ...

    async def of_attempt(self, device_id: str, attempt_id: str) -> Told | None:
        """Return the request of an attempt."""
        ...

    async def certificates(self, request_id: str) -> Sequence[bytes]:
        """Return the certificates that came with a request."""
        ...

    async def page(self, request: PageRequest, wanted: RequestsWanted) -> Page[Told]:
        """Return requests before the identifier in `request`, newest first.

        A page holds fewer, or none, with a token, where many were looked through.
        """
        ...

    async def change(self, request_ids: Sequence[str], step: RequestStep, clock: Now) -> Sequence[Told]:
        """Take each of the requests one step on, all or none, and return them; those that there are not are left out.

        The time is that at which nobody else changes anything any more. Device and audit log are told by the same transaction.
        """
        ...

    async def due(self, now: datetime, most: int) -> Sequence[str]:
        """Return requests whose state time has ended, longest ago first."""
        ...


class OldRequests(Protocol):
    """Know requests that are over and old."""

    def over(self, before: datetime) -> AsyncIterator[Sequence[str]]:
        """Give those that ended before a time, a few at once, and none where of a few that were looked at none did."""
        ...

    async def delete(self, request_ids: Collection[str], before: datetime) -> None:
        """Delete requests that are over, with their uses and outcomes; and uses of before that time of no known request."""
        ...


class RequestChanges(Protocol):
    """Read requests in the order in which they changed."""

    async def newest(self) -> int:
        """Return the newest revision."""
        ...

    async def pending(self, after: Place, most: int) -> Sequence[Told]:
        """Return requests that wait, from a place on, in the order in which they changed."""
        ...

    async def changed(self, after: Place, most: int) -> Sequence[Told]:
        """Return requests that changed behind a place, in this order."""
        ...


class GrantUses(Protocol):
    """Count uses of grants."""

    async def take_in(self, device_id: str, uses: Sequence[GrantUse], clock: Now) -> None:
        """Count those of the uses that are new, and complete requests of which none is left; the time is as with `change`."""
        ...


class Outcomes(Protocol):
    """Keep what devices are to hear of their requests."""

    async def waiting(self, after: int) -> tuple[frozenset[str], int]:
        """Return the devices that have something to hear from after a revision on, and up to which revision that is."""
        ...

    async def of_device(self, device_id: str, after: int) -> Sequence[Outcome]:
        """Return what a device has not confirmed, behind a number, in order; a bounded number of them."""
        ...

    async def keep(self, device_id: str, sequence: int) -> None:
        """Note that the device keeps everything up to a number."""
        ...
