"""The errors that handlers raise; one interceptor turns them into answers.

Messages are lower-case, without a period, and name the field and the remedy. Anything that is not one of these reaches the
caller as "internal error".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """Name one thing that is wrong with an input, by the path of its field."""

    field: str
    message: str


_NONE: Mapping[str, str] = {}


class ServiceError(Exception):
    """Carry a message for the caller, and for programs a stable UPPER_SNAKE reason with details by name."""

    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, *, reason: str | None = None, details: Mapping[str, str] = _NONE) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.details = dict(details)


class InvalidError(ServiceError):
    """Refuse an input with all of its problems at once."""

    default_reason = "INVALID_INPUT"

    def __init__(self, problems: Iterable[Problem], *, reason: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in self.problems), reason=reason)


class NotFoundError(ServiceError):
    """Say that a thing is not there, or not visible to the caller: both look the same."""

    default_reason = "NOT_FOUND"


class ConflictError(ServiceError):
    """Refuse to make a thing that exists, or to change one that somebody else has changed."""

    default_reason = "ALREADY_EXISTS"

    def __init__(
        self, message: str, *, reason: str | None = None, stale: bool = False, details: Mapping[str, str] = _NONE
    ) -> None:
        super().__init__(message, reason=reason or ("STALE_ETAG" if stale else None), details=details)
        self.stale = stale


class StateError(ServiceError):
    """Refuse what the present state of things does not allow."""

    default_reason = "FAILED_PRECONDITION"


class DeniedError(ServiceError):
    """Refuse a caller who is known and may not."""

    default_reason = "PERMISSION_DENIED"


class UnauthenticatedError(ServiceError):
    """Refuse a caller who has not proved who they are."""

    default_reason = "UNAUTHENTICATED"


class LimitError(ServiceError):
    """Refuse what goes beyond a limit; `retry_after` says when it is worth trying again, where that is known."""

    default_reason = "LIMIT_EXCEEDED"

    def __init__(self, message: str, *, reason: str | None = None, retry_after: timedelta | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class UnavailableError(ServiceError):
    """Say that something this call needs cannot be reached now; trying again may help."""

    default_reason = "UNAVAILABLE"
