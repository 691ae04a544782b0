"""Calls that write, known again by what they ask for."""

import hashlib
from typing import Protocol, Self

from services.policy.usecases.calls import Call


class WritingRequest(Protocol):
    """A request of a method that writes."""

    request_id: str
    validate_only: bool

    def __init__(self) -> None: ...

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # noqa: N802 - the name that messages have
        """Return its bytes."""
        ...

    def CopyFrom(self, other: Self, /) -> None:  # noqa: N802 - same
        """Become like another one."""
        ...


def call_from_proto(request: WritingRequest) -> Call:
    """Read under which identifier a call is made; a call and its rehearsal ask for the same."""
    if not request.request_id:
        return Call()
    asked = type(request)()
    asked.CopyFrom(request)
    asked.request_id, asked.validate_only = "", False
    words = asked.SerializeToString(deterministic=True)
    return Call(request.request_id, hashlib.sha256(f"{type(request).__name__}\n".encode() + words).digest())
