"""How many requests are taken within an hour: of one device, and of one of its users. One user who floods costs the others of the device nothing."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services._chassis.errors import LimitError

PERIOD = timedelta(hours=1)
OF_ONE_DEVICE = 60
OF_ONE_USER = 20


@dataclass(frozen=True, slots=True)
class Submission:
    """Know of a request who asked and when."""

    user: str
    submitted: datetime


def counting(now: datetime) -> tuple[datetime, datetime]:
    """Return between which times, both exclusive, a request counts; what is farther ahead was dated by a clock that was set back."""
    return now - PERIOD, now + PERIOD


def refuse_too_many(recent: Iterable[Submission], user: str, now: datetime) -> None:
    """Let one more of a user pass, beside those of the device that count. Raises LimitError, with the time until it does."""
    after, before = counting(now)
    counted = [each for each in recent if after < each.submitted < before]
    for whose, most, times in (
        ("user", OF_ONE_USER, [each.submitted for each in counted if each.user == user]),
        ("device", OF_ONE_DEVICE, [each.submitted for each in counted]),
    ):
        if len(times) >= most:
            wait = min(sorted(times)[-most] - after, PERIOD)
            seconds = max(1, math.ceil(wait.total_seconds()))
            message = f"this {whose} asked for {most} approvals within an hour, and more are not taken; ask again in {seconds} s"
            raise LimitError(message, reason="TOO_MANY_REQUESTS", retry_after=wait)
