"""What one device can make grow: each certificate and each change of its facts writes rows that stay.

A device is held to these by each process that serves it. None of it is refused that a device needs to be seen alive.
"""

import math
from collections.abc import Callable
from datetime import timedelta

from services._chassis.errors import LimitError
from services._chassis.throttle import Throttle

HOUR = timedelta(hours=1)
RENEWALS = 10
"""Certificates of a device in an hour."""

LIVES = 2.5
"""Lives of a certificate in which so many renewals are in order, where that is less than an hour: half a life lasts each."""

CHANGES = 30
"""Changes of a device's facts in an hour."""

MOST_DEVICES = 100_000
"""Devices that are remembered at once, until they have paid back what they took."""


class Bounds:
    """Hold each device to its bounds; `monotonic` tells the time in seconds."""

    def __init__(self, *, monotonic: Callable[[], float], certificate_lifetime: timedelta) -> None:
        def throttle(times: int, period: timedelta = HOUR) -> Throttle:
            return Throttle(times=times, period=period, monotonic=monotonic, most_names=MOST_DEVICES)

        self._renewals = throttle(RENEWALS, min(HOUR, certificate_lifetime * LIVES))
        self._changes = throttle(CHANGES)
        self._notices = throttle(1)

    def renews(self, device_id: str) -> None:
        """Count a renewal. Raises LimitError where it is one too many."""
        if (wait := self._renewals.charge(device_id)) is not None:
            seconds = max(1, math.ceil(wait.total_seconds()))
            raise LimitError(
                f"this device renewed its certificate too often; try again in {seconds} s",
                reason="TOO_MANY_RENEWALS",
                retry_after=wait,
            )

    def may_change(self, device_id: str) -> bool:
        """Count a change of the device's facts; tell whether it is not one too many."""
        return self._changes.charge(device_id) is None

    def passes_over(self, device_id: str) -> bool:
        """Tell whether the next change of the device's facts would be one too many, and that was said; count nothing."""
        return self._changes.exhausted(device_id) and self._notices.exhausted(device_id)

    def is_news(self, device_id: str) -> bool:
        """Tell whether it is to be said that the device's facts change too often: once an hour."""
        return self._notices.charge(device_id) is None
