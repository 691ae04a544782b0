"""Messages to approvers that were not delivered: see them, and have them sent again."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol

from services._chassis.errors import InvalidError, Problem
from services._chassis.paging import Page, PageRequest, page_request
from services._chassis.permits import Permit
from services.policy.model.notices import Undelivered
from services.policy.model.requests import OfDevice

MOST_RETRIED = 100
"""Messages that one call names."""

Sees = Callable[[Permit], Callable[[OfDevice], bool]]


class UndeliveredNotices(Protocol):
    """Know the messages that receivers do not have."""

    async def page(
        self, request: PageRequest, matches: Callable[[Undelivered], bool], *, given_up: bool
    ) -> Page[Undelivered]:
        """Return messages before the key in `request`, those of the newest requests first; `given_up` leaves the others out.

        A page holds fewer, or none, with a token, where many were looked through.
        """
        ...

    async def retry(self, ids: Collection[str], matches: Callable[[Undelivered], bool], now: datetime) -> int:
        """Have those of the messages that were given up be sent again; return how many, and write each into the audit log."""
        ...


class UndeliveredDesk:
    """Let administrators see and retry messages of the requests that they may see."""

    def __init__(self, messages: UndeliveredNotices, *, sees: Sees) -> None:
        self._messages = messages
        self._sees = sees

    async def page(self, permit: Permit, *, given_up: bool, page_size: int, page_token: str) -> Page[Undelivered]:
        """Return a page of messages. Raises InvalidError, UnavailableError."""
        question = f"undelivered notices\n{given_up}"
        asked = page_request(page_size=page_size, page_token=page_token, question=question, shape=(str, str))
        return await self._messages.page(asked, self._visible(permit), given_up=given_up)

    async def retry(self, ids: Sequence[str], permit: Permit, now: datetime) -> int:
        """Have those that were given up be sent again; return how many. Raises InvalidError, UnavailableError."""
        if not 1 <= len(ids) <= MOST_RETRIED:
            raise InvalidError([Problem("ids", f"must be 1 to {MOST_RETRIED}")])
        return await self._messages.retry(frozenset(ids), self._visible(permit), now)

    def _visible(self, permit: Permit) -> Callable[[Undelivered], bool]:
        sees = self._sees(permit)
        return lambda message: sees(message.notice.request)
