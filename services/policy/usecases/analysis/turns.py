"""How many questions about policies are worked on at once: few of one caller, and not many in all.

Each may bring a draft of megabytes and take seconds, beside the streams of all devices. Who asks too much at once is told
to wait; nobody else is.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from services._chassis.errors import LimitError

OF_ONE_CALLER = 4
OF_ALL = 16
_A_WHILE = timedelta(seconds=1)


class Turns:
    """Count what is worked on."""

    def __init__(self, *, of_one: int = OF_ONE_CALLER, of_all: int = OF_ALL, about: str = "policies") -> None:
        self._of_one = of_one
        self._of_all = of_all
        self._about = about
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, caller: str) -> Iterator[None]:
        """Take a turn for the time of a block. Raises LimitError where the caller, or all together, have too many."""
        if self._taken[caller] >= self._of_one:
            raise self._too_many(f"{self._of_one} questions of yours")
        if self._taken.total() >= self._of_all:
            raise self._too_many(f"{self._of_all} questions")
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]

    def _too_many(self, what: str) -> LimitError:
        message = f"{what} about {self._about} are being answered; ask again when one of them is"
        return LimitError(message, reason="TOO_MANY_QUESTIONS", retry_after=_A_WHILE)
