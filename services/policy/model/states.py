"""How far the policy of each device has come, as administrators see it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class DeliveryState(Enum):
    """Say how far the newest document of a device has come."""

    PENDING = "pending"
    OFFERED = "offered"
    APPLIED = "applied"
    REJECTED = "rejected"


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
