"""The nouns of support approvals, as the device knows them."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class RequestState(Enum):
    """State of an elevation request. The last five are final."""

    UNKNOWN = "UNKNOWN"
    """A state that this agent does not know: a newer server named it."""
    PENDING = "PENDING"
    APPROVED = "APPROVED"
    DENIED = "DENIED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"
    COMPLETED = "COMPLETED"

    @property
    def is_final(self) -> bool:
        """Tell whether no other state follows."""
        return self not in {RequestState.UNKNOWN, RequestState.PENDING, RequestState.APPROVED}


@dataclass(frozen=True, slots=True)
class Access:
    """What an approval gives."""

    until: datetime
    max_uses: int
    """0: many."""
    any_arguments: bool


@dataclass(frozen=True, slots=True)
class Request:
    """An elevation request of one of the device's users."""

    id: str
    user: str
    state: RequestState
    file: str
    arguments: tuple[str, ...]
    justification: str
    submitted: datetime
    review_deadline: datetime
    reason: str = ""
    """The approver's."""
    access: Access | None = None
    """None: nothing was granted."""
    end_reason: str = ""
    """Why it ended, where it did otherwise than by a denial."""
    news: bool = False
    """Whether its user has not been shown the present state yet."""


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a grant, kept until the server has taken it in."""

    grant_id: str
    attempt_id: str
    used: datetime
