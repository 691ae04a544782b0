"""What the server has to say to a device on its policy stream."""

from dataclasses import dataclass
from datetime import timedelta

from services.policy.model.delivery import Delivery, GoAwayReason
from services.policy.model.manifest import Manifest

COME_BACK = timedelta(seconds=60)
"""Within which the older of two lines of life is asked back, so that they alternate, and are seen; and whoever was taken for gone."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Propose a document."""

    nonce: bytes
    manifest: Manifest
    document: bytes


@dataclass(frozen=True, slots=True)
class UpToDate:
    """Confirm the document that the device holds."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class GoAway:
    """Ask the device to close the stream; `reconnect_within` None: and not to come back."""

    reason: GoAwayReason
    reconnect_within: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """Ask the device to come back later: too many come at once."""

    retry_after: timedelta


Saying = Offer | UpToDate | GoAway | Throttle


def superseded(run_id: str, newer: str) -> GoAway:
    """Send a stream away because a newer one was opened; another run than the newer one's is asked to come back."""
    return GoAway(GoAwayReason.SUPERSEDED, COME_BACK if run_id != newer else None)


def lost_to(found: Delivery, run_id: str) -> GoAway:
    """Send a stream away that is the device's newest no more; one that was taken for gone, by nobody newer, is to come back."""
    if not found.stream:
        return GoAway(GoAwayReason.DRAINING, COME_BACK)
    return superseded(run_id, found.runs[-1] if found.runs else "")
