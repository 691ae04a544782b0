"""How all policy streams of a process are held."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from services._chassis.clock import Clock
from services._chassis.logging import Logger, get_logger
from services.policy.codec.agent import Speaker
from services.policy.model.delivery import Delivery
from services.policy.usecases.requests.post import Mail, NoMail

HEARTBEAT = timedelta(minutes=5)
SHORTEST_HEARTBEAT = timedelta(seconds=1)
HEARTBEATS_BEFORE_STALE = 3
JITTER = 0.25
"""Part of a heartbeat by which streams that began together come apart."""

log = get_logger("policy.streams")


async def _nobody_waits() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """Say how all streams of a process are held."""

    speaker: Speaker
    clock: Clock
    on_answer: Callable[[Delivery], None]
    """Hears what the answers of devices led to, after it is durable."""
    on_clone: Callable[[str], None]
    """Hears of the devices under whose identity two lines of life alternate."""
    mail: Mail = field(default_factory=NoMail)
    """Knows what devices are to hear of their requests."""
    calm: Callable[[], Awaitable[bool]] = _nobody_waits
    """Waits while others have more urgent things to say than that all is as it was; tells whether it did."""
    heartbeat: timedelta = HEARTBEAT
    log: Logger = field(default_factory=log.bind)
    """Made once, for what is said so often and mostly written nowhere."""
    chance: Callable[[], float] = random.random
    """Gives a number from 0 to 1."""

    def silence(self, stale_after: timedelta | None) -> float:
        """Return for how many seconds a stream may say nothing, if its document counts for so long unconfirmed."""
        longest = self.heartbeat
        if stale_after is not None:
            longest = min(longest, max(stale_after / HEARTBEATS_BEFORE_STALE, SHORTEST_HEARTBEAT))
        return longest.total_seconds() * (1 - JITTER * self.chance())
