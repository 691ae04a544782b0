"""The offer that is under way to a device: its answer has to name it."""

from dataclasses import dataclass

from services._chassis.errors import InvalidError, Problem
from services.policy.model.bundle import Bundle
from services.policy.model.delivery import Desired


@dataclass(frozen=True, slots=True)
class Offered:
    """Remember what was offered, until it is answered."""

    nonce: bytes
    revision: int
    desired: Desired
    bundle: Bundle


def answered(
    offered: Offered | None, answer: str, *, nonce: bytes, revision: int, unread: int | None = None
) -> Offered:
    """Return the offer that an answer names; `unread` is the revision of one that the device could not read. Raises InvalidError."""
    if offered is None or offered.nonce != nonce:
        problem = Problem(f"{answer}.nonce", "names no offer that waits for an answer; echo the offer's nonce")
        raise InvalidError([problem], reason="OFFER_UNKNOWN")
    if revision not in (offered.revision, unread):
        raise InvalidError([Problem(f"{answer}.revision", f"must be {offered.revision}, the revision of the offer")])
    return offered
