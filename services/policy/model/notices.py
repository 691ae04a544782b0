"""What is told of a request for approval, to whom, and when: notices of changes, and the channels that carry them.

- A notice states the request as the change left it; it is kept in the transaction of the change.
- INVARIANT: a channel hears only of requests of devices that a role assignment with its scope tags would see.
- A request that waits is told of once more, if that is wanted; the reminder goes when the request waits no longer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services._chassis.permits import Permit, Scope
from services.policy.model.requests import ElevationRequest, RequestState


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

_EVENTS = {
    RequestState.PENDING: NoticeEvent.SUBMITTED,
    RequestState.APPROVED: NoticeEvent.APPROVED,
    RequestState.DENIED: NoticeEvent.DENIED,
    RequestState.CANCELLED: NoticeEvent.CANCELLED,
    RequestState.EXPIRED: NoticeEvent.EXPIRED,
    RequestState.REVOKED: NoticeEvent.REVOKED,
    RequestState.COMPLETED: NoticeEvent.COMPLETED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticedRequest:
    """State a request as a change left it; texts are as the device and the approver wrote them."""

    request_id: str
    device_id: str
    device_name: str
    user: str
    justification: str
    file_path: str
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
    scope_tags: frozenset[str] = frozenset()
    """Those of the device when it asked; they count where the device is no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Tell of one change of a request."""

    event: NoticeEvent
    recorded: datetime
    request: NoticedRequest

    @property
    def id(self) -> str:
        """Return by what receivers drop doubles: no request comes into a state twice, or is reminded of twice."""
        return f"{self.request.request_id}-{self.event.value}"

    def late(self, now: datetime) -> bool:
        """Tell whether this reminds of what nobody can decide any longer."""
        return self.event is NoticeEvent.REMINDER and now >= self.request.review_deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Say of which requests a channel hears, and what."""

    channel: str
    scope_tags: frozenset[str] = frozenset()
    """None: of all devices."""
    events: frozenset[NoticeEvent] = ALL_EVENTS

    def covers(self, notice: Notice, device_tags: frozenset[str]) -> bool:
        """Tell whether the channel hears of the notice."""
        return notice.event in self.events and Permit(scopes=(Scope(tags=self.scope_tags),)).sees(device_tags)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """Hold a message that its receiver does not have."""

    notice: Notice
    channel: str
    tries: int
    error: str
    due: datetime
    given_up: datetime | None
    """None: it is tried still."""

    @property
    def id(self) -> str:
        """Return by what administrators name it."""
        return f"{self.notice.id}/{self.channel}"


def notice_of(request: ElevationRequest, now: datetime) -> Notice:
    """Tell of the state that a request came into."""
    review, access, end = request.review, request.access, request.end
    return Notice(
        event=_EVENTS[request.state],
        recorded=now,
        request=NoticedRequest(
            request_id=request.request_id,
            device_id=request.device_id,
            device_name=request.device_name,
            user=request.user,
            justification=request.justification,
            file_path=request.file.path,
            sha256=request.file.sha256,
            submitted=request.submitted,
            review_deadline=request.review_deadline,
            publisher=request.file.publisher,
            policy=request.policy,
            rule=request.rule,
            reviewer=review.reviewer if review else "",
            reason=end.reason if end else review.reason if review else "",
            access_until=access.until if access else None,
            scope_tags=request.scope_tags,
        ),
    )


def channels_for(
    notice: Notice, interests: Iterable[Interest], device_tags: frozenset[str] | None, *, now: datetime
) -> tuple[str, ...]:
    """Return the channels that hear of the notice: none of a reminder that comes when nobody can decide any longer.

    The tags are those of the device today. None: it is no more.
    """
    if notice.late(now):
        return ()
    tags = notice.request.scope_tags if device_tags is None else device_tags
    return tuple(interest.channel for interest in interests if interest.covers(notice, tags))


def reminder_of(notice: Notice, after: timedelta | None) -> Notice | None:
    """Return the reminder that follows a notice, recorded for when it is due; None where none does.

    One that would come when nobody can decide any longer is left out.
    """
    if after is None or notice.event is not NoticeEvent.SUBMITTED:
        return None
    reminder = replace(notice, event=NoticeEvent.REMINDER, recorded=notice.request.submitted + after)
    return None if reminder.late(reminder.recorded) else reminder
