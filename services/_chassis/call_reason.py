"""The reason that an administrator gives for a call, for the audit record: metadata beside the request, of any method.

INVARIANT: it is never logged, nor repeated in an answer to the call; it may name people and cases. Whoever may see a history
that it stands in reads it there.
"""

from collections.abc import Sequence
from typing import Any, Final

from services._chassis.errors import InvalidError, Problem

REASON: Final = "epm-reason-bin"
"""Binary, as gRPC takes nothing but ASCII in other metadata."""

LONGEST_REASON: Final = 256
_FORM: Final = f"must be at most {LONGEST_REASON} printable characters, in UTF-8"


def given_reasons(metadata: Any) -> tuple[bytes, ...]:
    """Return what the metadata of a call holds under the key, unread."""
    return tuple(bytes(value) for key, value in metadata or () if key == REASON and not isinstance(value, str))


def read_reason(given: Sequence[bytes]) -> str:
    """Return the reason, empty if none was given. Raises InvalidError."""
    if len(given) > 1:
        raise _refused("must be given once")
    try:
        reason = b"".join(given).decode()
    except UnicodeDecodeError:
        raise _refused(_FORM) from None  # the error of the decoder would quote it
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise _refused(_FORM)
    return reason


def _refused(remedy: str) -> InvalidError:
    return InvalidError([Problem(REASON, remedy)])
