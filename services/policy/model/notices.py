"""What is told of a request for approval, to whom, and when: notices of changes, and the channels that carry them.

- A notice states the request as the change left it; it is kept in the transaction of the change.
- INVARIANT: a channel hears only of requests of devices that it would see as a role assignment with its scope tags.
- A request that waits is told of once more, if that is wanted; the reminder goes when the request waits no longer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services._chassis.permits import Permit, Scope


class NoticeEvent(StrEnum):
    """Name what became of a request, as receivers and the notices file spell it."""

    SUBMITTED = "submitted"
    REMINDER = "reminder"
    APPROVED = "approved"
    DENIED = "denied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REVOKED = "revoked"
    COMPLETED = "completed"


WAITING = frozenset({NoticeEvent.SUBMITTED, NoticeEvent.REMINDER})
"""The events of a request that somebody may still decide."""

ALL_EVENTS = frozenset(NoticeEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticedRequest:
    """State a request as a change left it; texts are as the device and the approver wrote them."""

    request_id: str
    device_id: str
    device_name: str
    user: str
    justification: str
    file_name: str
    sha256: str
    submitted: datetime
    review_deadline: datetime
    publisher: str = ""
    policy: str = ""
    rule: str = ""
    reviewer: str = ""
    """Principal who decided; empty: nobody did."""
    reason: str = ""
    """Why it was decided so, or how it ended."""
    access_until: datetime | None = None
    """Until when an approval holds. None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Tell of one change of a request; receivers drop doubles by the identifier, a UUIDv7."""

    id: str
    event: NoticeEvent
    recorded: datetime
    request: NoticedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Say of which requests a channel hears, and what."""

    channel: str
    scope_tags: frozenset[str] = frozenset()
    """None: of all devices."""
    events: frozenset[NoticeEvent] = ALL_EVENTS

    def covers(self, notice: Notice, device_tags: frozenset[str] | None) -> bool:
        """Tell whether the channel hears of the notice; of a device that nobody knows any longer only those who see all do."""
        if notice.event not in self.events:
            return False
        if device_tags is None:
            return not self.scope_tags
        return Permit(scopes=(Scope(tags=self.scope_tags),)).sees(device_tags)


@dataclass(frozen=True, slots=True)
class Route:
    """Say which channels hear of a notice, and whether they are reminded later."""

    channels: tuple[str, ...] = ()
    reminder: Notice | None = None


@dataclass(frozen=True, slots=True)
class Parcel:
    """Hold a message that was taken to be sent: by which lease, and for the how manieth time."""

    notice: Notice
    channel: str
    lease: str
    tries: int


def channels_for(
    notice: Notice, interests: Iterable[Interest], device_tags: frozenset[str] | None, *, now: datetime
) -> tuple[str, ...]:
    """Return the channels that hear of the notice: none of a reminder that comes when nobody can decide any longer."""
    if notice.event is NoticeEvent.REMINDER and now >= notice.request.review_deadline:
        return ()
    return tuple(interest.channel for interest in interests if interest.covers(notice, device_tags))


def reminder_of(notice: Notice, after: timedelta | None, new_id: str) -> Notice | None:
    """Return the reminder that follows a notice, recorded for when it is due; None where none does.

    One that would come when nobody can decide any longer is left out.
    """
    if after is None or notice.event is not NoticeEvent.SUBMITTED:
        return None
    due = notice.request.submitted + after
    if due >= notice.request.review_deadline:
        return None
    return replace(notice, id=new_id, event=NoticeEvent.REMINDER, recorded=due)
