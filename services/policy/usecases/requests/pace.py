"""How often a device may call about requests, whatever becomes of the calls: what is refused and what is repeated counts, too.

Each user of a device has a part of what it may ask, so that one who floods leaves the others theirs. This is a front, by
process and in memory: how much is kept, the limits in the database bound.
"""

from collections.abc import Callable
from datetime import timedelta

from services._chassis.errors import LimitError
from services._chassis.throttle import Throttle
from services.policy.model.directory import DirectoryDevice

PERIOD = timedelta(hours=1)
ASKS_OF_ONE_USER = 300
ASKS_OF_ONE_DEVICE = 900
REPORTS_OF_ONE_DEVICE = 3600
"""A call tells a hundred uses; an agent that is refused gathers more of them."""
MOST_NAMES = 100_000


class Pace:
    """Count calls of devices. All methods raise LimitError, with the time to wait."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        def throttle(times: int) -> Throttle:
            return Throttle(times=times, period=PERIOD, monotonic=monotonic, most_names=MOST_NAMES)

        self._users = throttle(ASKS_OF_ONE_USER)
        self._devices = throttle(ASKS_OF_ONE_DEVICE)
        self._reports = throttle(REPORTS_OF_ONE_DEVICE)

    def ask(self, device: DirectoryDevice, user: str) -> None:
        """Count that a device asks for a user, or takes a request back; whoever is not bound to it shares one part."""
        known = user if user in device.users else ""
        if wait := self._users.charge(f"{device.device_id}\0{known}"):
            raise _too_often("user", wait)
        if wait := self._devices.charge(device.device_id):
            raise _too_often("device", wait)

    def report(self, device: DirectoryDevice) -> None:
        """Count that a device tells of uses."""
        if wait := self._reports.charge(device.device_id):
            raise _too_often("device", wait)


def _too_often(whose: str, wait: timedelta) -> LimitError:
    seconds = max(1, -(-wait // timedelta(seconds=1)))
    message = f"this {whose} calls too often about requests; try again in {seconds} s"
    return LimitError(message, reason="TOO_MANY_REQUESTS", retry_after=wait)
