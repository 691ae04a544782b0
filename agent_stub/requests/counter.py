"""Show users their own requests, let them wait for what becomes of them, and take them back."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from agent_stub.identity import RefusedError
from agent_stub.model import Moment
from agent_stub.ports import Delays
from agent_stub.requests.book import RequestBook
from agent_stub.requests.desk import CancelError, RequestDesk
from agent_stub.requests.model import Request, RequestState
from agent_stub.requests.words import presented
from agent_stub.waits import pause_until

LONGEST_WAIT_SECONDS = 3600.0
GRANT_SECONDS = 30.0
"""How long an approval is waited for to arrive as a grant: the word of it may come before the document."""
WAITING_OF_A_USER = 4
WAITING_AT_ONCE = 32
"""Half of the callers that the control socket serves: whoever waits must not keep others from elevating."""


class Grants(Protocol):
    """What the device knows of the grants that approvals became."""

    def is_usable(self, grant_id: str) -> bool:
        """Tell whether a grant is there and counts."""
        ...

    def is_spent(self, grant_id: str) -> bool:
        """Tell whether the device has counted the last use of a grant."""
        ...


class RequestCounter:
    """What `epm-agent requests` speaks to. Whoever asks is who the operating system says, and sees nothing of others."""

    def __init__(
        self,
        book: RequestBook,
        desk: RequestDesk,
        *,
        grants: Grants,
        now: Callable[[], Moment],
        delays: Delays,
    ) -> None:
        self._book = book
        self._desk = desk
        self._grants = grants
        self._now = now
        self._delays = delays
        self._waiting: Counter[str] = Counter()

    def listed(self, user: str) -> list[dict[str, object]]:
        """Show all of a user's requests."""
        return self._show(self._book.of(user))

    def news(self, user: str) -> list[dict[str, object]]:
        """Show those of a user's requests whose state the user was not shown yet."""
        return self._show([request for request in self._book.of(user) if request.news])

    def shown(self, user: str, requests: Sequence[Mapping[str, object]]) -> None:
        """Note that a user was shown requests as they were then."""
        states = {request["id"]: request["state"] for request in requests}
        own = [request for request in self._book.of(user) if states.get(request.id) == request.state.name]
        self._book.shown(own, self._now().wall)

    async def awaited(self, user: str, request_id: str) -> list[dict[str, object]]:
        """Wait until a request is pending no more, or, without an id, until there is news; show that.

        An approved one is waited for until its grant can be used. Shows how
        things stand where nothing came for long. Raise RefusedError for a request that the user does not have.
        """
        if self._waiting[user] >= WAITING_OF_A_USER or self._waiting.total() >= WAITING_AT_ONCE:
            raise RefusedError("too many programs wait for requests; end one of them")
        self._waiting[user] += 1
        try:
            return self._show(await self._came(user, request_id))
        finally:
            self._waiting[user] -= 1

    async def cancel(self, user: str, request_id: str) -> list[dict[str, object]]:
        """Take a user's request back and show it; raise RefusedError."""
        request = self._own(user, request_id)
        try:
            return [self._presented(await self._desk.cancel(request), self._now())]
        except CancelError as error:
            raise RefusedError(f"request {request_id} was not cancelled: {error}") from error

    async def _came(self, user: str, request_id: str) -> list[Request]:
        end = self._seconds() + LONGEST_WAIT_SECONDS
        while True:
            change = self._book.next_change()
            if request_id:
                request = self._own(user, request_id)
                found = [] if self._is_awaited(request) else [request]
                if request.state is RequestState.APPROVED:
                    end = min(end, self._seconds() + GRANT_SECONDS)
            else:
                found = [request for request in self._book.of(user) if request.news]
            left = end - self._seconds()
            if found or left <= 0:
                return found or [request for request in self._book.of(user) if request.id == request_id]
            await pause_until(change, self._delays, left)

    def _is_awaited(self, request: Request) -> bool:
        if request.state is RequestState.APPROVED:
            return not self._grants.is_usable(request.id)
        return request.state is RequestState.PENDING

    def _seconds(self) -> float:
        return self._now().since_boot.total_seconds()

    def _own(self, user: str, request_id: str) -> Request:
        for request in self._book.of(user):
            if request.id == request_id:
                return request
        raise RefusedError(
            f"you have no request {request_id!r} that this device knows; `epm-agent requests` lists yours"
        )

    def _show(self, requests: list[Request]) -> list[dict[str, object]]:
        moment = self._now()
        return [self._presented(request, moment) for request in requests]

    def _presented(self, request: Request, moment: Moment) -> dict[str, object]:
        approved = request.state is RequestState.APPROVED
        usable = approved and self._grants.is_usable(request.id)
        spent = approved and not usable and self._grants.is_spent(request.id)
        return presented(request, moment, spent=spent) | {"usable": usable}
