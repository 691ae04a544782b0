"""How many questions about policies are worked on at once: few of one caller, and not many in all.

Each may bring a draft of megabytes and take seconds, beside the streams of all devices. Who asks too much at once is told
to wait; nobody else is.
"""

from contextlib import AbstractContextManager
from datetime import timedelta

from services._chassis.guests import Full, Places

OF_ONE_CALLER = 4
OF_ALL = 16
_A_WHILE = timedelta(seconds=1)


class Turns:
    """Count what is worked on."""

    def __init__(self, *, of_one: int = OF_ONE_CALLER, of_all: int = OF_ALL, about: str = "policies") -> None:
        rest = f"about {about} are being answered; ask again when one of them is"
        full = Full(
            reason="TOO_MANY_QUESTIONS",
            of_all=f"{of_all} questions {rest}",
            of_one=f"{of_one} questions of yours {rest}",
            retry_after=_A_WHILE,
        )
        self._places = Places(of_all, of_one, full)

    def taken(self, caller: str) -> AbstractContextManager[None]:
        """Take a turn for the time of a block. Raises LimitError where the caller, or all together, have too many."""
        return self._places.entered(caller)
