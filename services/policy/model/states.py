"""How far the policy of each device has come, as administrators see it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from services.policy.model.conflicts import SettingsConflict


class DeliveryState(Enum):
    """Say how far the newest document of a device has come."""

    PENDING = "pending"
    OFFERED = "offered"
    APPLIED = "applied"
    REJECTED = "rejected"


def delivery_state(revision: int, *, offered: bool, applied: int, rejected: int) -> DeliveryState:
    """Say how far the document of this revision has come, by what the device applied and rejected last."""
    if revision == 0:
        return DeliveryState.PENDING
    if rejected == revision:
        return DeliveryState.REJECTED
    if applied == revision:
        return DeliveryState.APPLIED
    return DeliveryState.OFFERED if offered else DeliveryState.PENDING


def is_stale(
    stale_after: timedelta | None, state: DeliveryState, *, connected: bool, confirmed: datetime | None, now: datetime
) -> bool:
    """Tell whether a device has not been heard of for so long that the document it holds counts no more.

    A connected device that holds the newest document is confirmed at every heartbeat, of which the data tell later.
    """
    if stale_after is None or confirmed is None or (connected and state is DeliveryState.APPLIED):
        return False
    return now - confirmed >= stale_after


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePolicyState:
    """Show the policy of one device."""

    device_id: str
    device_name: str
    state: DeliveryState
    offered_revision: int = 0
    """0: no document was made."""
    applied_revision: int = 0
    """0: none was applied."""
    confirmed: datetime | None = None
    """None: the device never answered."""
    rejections: tuple[str, ...] = ()
    connected: bool = False
    offline_since: datetime | None = None
    """None: a stream is open, or none ever was."""
    stale: bool = False
    conflicts: tuple[SettingsConflict, ...] = ()
    key_ids: tuple[str, ...] = ()
    """Keys by which the device verifies policy, as its last stream told."""
    sha256: bytes = b""
    """Digest of the newest document; empty: none was made, or it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatesWanted:
    """Say of which devices states are asked for."""

    visible: frozenset[str] | None
    """Tags of which a device must carry one. None: whatever it carries."""
    device: str = ""
    """Identifier or name. Empty: all."""
    conflicting_only: bool = False
