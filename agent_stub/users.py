"""Tell which users are on the device: those who may log in, and those who have asked the agent for something.

The server binds them to the device only where its operator allows reported users (D23).
"""

import pwd
from collections.abc import Callable, Iterable

from elevation.texts import check_name

USERS_LIMIT = 100
_PEOPLE = range(1000, 60000)
_NO_LOGIN = ("nologin", "false", "sync")


class SeenUsers:
    """The users of one device. Whoever asked last is named first where there are too many to report."""

    def __init__(self, accounts: Callable[[], Iterable[str]]) -> None:
        self._accounts = accounts
        self._seen: dict[str, None] = {}

    def saw(self, user: str) -> None:
        """Note that a user asked."""
        self._seen.pop(user, None)
        self._seen[user] = None
        if len(self._seen) > USERS_LIMIT:
            del self._seen[next(iter(self._seen))]

    def report(self) -> list[str]:
        """Name the users, sorted, at most as many as a report may hold."""
        known = dict.fromkeys([*reversed(self._seen), *self._accounts()])
        return sorted([name for name in known if not any(check_name("users", name))][:USERS_LIMIT])


def login_accounts() -> list[str]:
    """Name the accounts of people that the system's own database lists."""
    return [
        entry.pw_name for entry in pwd.getpwall() if entry.pw_uid in _PEOPLE and not entry.pw_shell.endswith(_NO_LOGIN)
    ]
