"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class FakeClock:
    """Tell the time that the test says."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """Return the test's wall clock."""
        return self._now

    def monotonic(self) -> float:
        """Return the test's monotonic clock."""
        return self._monotonic

    def advance(self, by: timedelta) -> None:
        """Let time pass on both clocks."""
        self._now += by
        self._monotonic += by.total_seconds()

    def jump(self, by: timedelta) -> None:
        """Set the wall clock, while no time passes."""
        self._now += by
