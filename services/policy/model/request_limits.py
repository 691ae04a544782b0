"""How much is taken within an hour and within a day: of one device, and of one of its users.

One user who floods costs the others of the device nothing. What was taken counts for its whole time, whatever became of it:
it is kept for the retention of requests.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from services._chassis.errors import LimitError
from services.policy.model.requests import RequestedFile

PERIOD = timedelta(hours=1)
OF_ONE_DEVICE = 60
OF_ONE_USER = 20

DAY = timedelta(days=1)
OF_ONE_DEVICE_A_DAY = 200
OF_ONE_USER_A_DAY = 50

EVIDENCE_OF_ONE_DEVICE_A_DAY = 4 << 20
"""Bytes of texts, arguments and certificates."""
EVIDENCE_OF_ONE_USER_A_DAY = 1 << 20
"""Room for ten requests of the largest size."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Know of a request who asked and when, and how many bytes of evidence came with it."""

    user: str
    submitted: datetime
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Limit:
    """Say how much of one user, or of one device, is taken within a time."""

    whose: str
    most: int
    period: timedelta
    words: str
    weight: Callable[[Submission], int]

    def wait(self, recent: Iterable[Submission], asked: Submission, now: datetime) -> timedelta | None:
        """Return how long it takes until there is room for what is asked. None: there is."""
        after, before = now - self.period, now + self.period
        counted = [each for each in recent if after < each.submitted < before]
        if self.whose == _USER:
            counted = [each for each in counted if each.user == asked.user]
        room = self.most - self.weight(asked)
        for each in sorted(counted, key=lambda each: each.submitted, reverse=True):
            room -= self.weight(each)
            if room < 0:
                return min(each.submitted - after, self.period)
        return None


def _one(_submission: Submission) -> int:
    return 1


def _size(submission: Submission) -> int:
    return submission.size


_USER, _DEVICE = "user", "device"
_AN_HOUR, _A_DAY = "asked for {} approvals within an hour", "asked for {} approvals within a day"
_EVIDENCE = "sent {} bytes of evidence within a day"
_LIMITS = (
    _Limit(_USER, OF_ONE_USER, PERIOD, _AN_HOUR, _one),
    _Limit(_DEVICE, OF_ONE_DEVICE, PERIOD, _AN_HOUR, _one),
    _Limit(_USER, OF_ONE_USER_A_DAY, DAY, _A_DAY, _one),
    _Limit(_DEVICE, OF_ONE_DEVICE_A_DAY, DAY, _A_DAY, _one),
    _Limit(_USER, EVIDENCE_OF_ONE_USER_A_DAY, DAY, _EVIDENCE, _size),
    _Limit(_DEVICE, EVIDENCE_OF_ONE_DEVICE_A_DAY, DAY, _EVIDENCE, _size),
)


def size_of(file: RequestedFile, justification: str, arguments: Iterable[str], certificates: Iterable[bytes]) -> int:
    """Count the bytes of evidence of a request; what is not counted is bounded and small."""
    texts = (*asdict(file).values(), justification, *arguments)
    return sum(len(text.encode()) for text in texts) + sum(map(len, certificates))


def counting(now: datetime) -> tuple[datetime, datetime]:
    """Return between which times, both exclusive, a request counts; what is farther ahead was dated by a clock that was set back."""
    return now - DAY, now + DAY


def refuse_too_many(recent: Iterable[Submission], asked: Submission, now: datetime) -> None:
    """Let one more pass, beside those of the device that count. Raises LimitError, with the time until it does."""
    recent = tuple(recent)
    for limit in _LIMITS:
        if (wait := limit.wait(recent, asked, now)) is not None:
            seconds = max(1, math.ceil(wait.total_seconds()))
            did = f"this {limit.whose} {limit.words.format(limit.most)}"
            message = f"{did}, and more is not taken; ask again in {seconds} s"
            raise LimitError(message, reason="TOO_MANY_REQUESTS", retry_after=wait)
