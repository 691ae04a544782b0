"""How often something may happen to each of many: a token bucket for each name, all of them within a bound.

Origins that fail to prove who they are have one. Nobody is locked out by it: a caller whose proof is known to be good is
never asked what others of the same origin did.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from services._chassis.errors import LimitError

TOO_MANY_FAILURES = "TOO_MANY_AUTHENTICATION_FAILURES"
MOST_NAMES = 10_000
MINUTE = timedelta(minutes=1)
_OTHERS = ""


def too_many_failures(wait: timedelta) -> LimitError:
    """Return what a caller is told in place of why the proof was refused: no more may be learned by trying."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    return LimitError(
        f"too many calls from this address did not prove who calls; try again in {seconds} s with a good token",
        reason=TOO_MANY_FAILURES,
        retry_after=wait,
    )


@dataclass(slots=True)
class _Bucket:
    """Hold what is left, as it was at a time."""

    left: float
    at: float


class Throttle:
    """Let each name have so many times in a period, all at once or spread; `monotonic` tells the time in seconds.

    INVARIANT: no more than `most_names` are remembered. While all of them have times to pay back, new ones share one
    bucket.
    """

    def __init__(
        self,
        *,
        times: int,
        period: timedelta = MINUTE,
        monotonic: Callable[[], float],
        most_names: int = MOST_NAMES,
    ) -> None:
        self._capacity = float(times)
        self._each = period.total_seconds() / times
        self._monotonic = monotonic
        self._most = most_names
        self._buckets: dict[str, _Bucket] = {}
        self._swept = monotonic()

    def exhausted(self, name: str) -> bool:
        """Tell whether the next time of this name would be one too many."""
        bucket = self._buckets.get(self._known(name))
        return bucket is not None and self._refilled(bucket) < 1.0

    def charge(self, name: str) -> timedelta | None:
        """Count a time; return how long to wait where it is one too many, which costs nothing more."""
        now = self._monotonic()
        bucket = self._bucket(name, now)
        left = self._refilled(bucket)
        if left < 1.0:
            return timedelta(seconds=(1.0 - left) * self._each)
        bucket.left, bucket.at = left - 1.0, now
        return None

    def __len__(self) -> int:
        return len(self._buckets)

    def _known(self, name: str) -> str:
        return name if name in self._buckets or len(self._buckets) < self._most else _OTHERS

    def _bucket(self, name: str, now: float) -> _Bucket:
        if name not in self._buckets and len(self._buckets) >= self._most:
            self._sweep(now)
        return self._buckets.setdefault(self._known(name), _Bucket(self._capacity, now))

    def _sweep(self, now: float) -> None:
        """Forget the names that have paid back everything; at most once a second, for it looks at all of them."""
        if now - self._swept >= 1.0:
            self._swept = now
            kept = {name: each for name, each in self._buckets.items() if self._refilled(each) < self._capacity}
            self._buckets = kept

    def _refilled(self, bucket: _Bucket) -> float:
        return min(self._capacity, bucket.left + (self._monotonic() - bucket.at) / self._each)
