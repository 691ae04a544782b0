"""All that is kept of elevation requests, on a database, with what tests do to it again and again."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from services._chassis.db import Database
from services._chassis.paging import PageRequest
from services.policy.model.requests import Access, ElevationRequest, Review
from services.policy.store.elevation_requests import SqlElevationRequests
from services.policy.store.request_outcomes import SqlGrantUses, SqlOutcomes
from services.policy.usecases.requests.ports import RequestsWanted
from tests.builders.requests import request
from tests.fakes.clock import NOW

HOUR = timedelta(hours=1)


class Shelf:
    """Everything that is kept of requests."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.requests = SqlElevationRequests(database)
        self.outcomes = SqlOutcomes(database)
        self.uses = SqlGrantUses(database)

    async def put(self, *numbers: int, **values: object) -> list[ElevationRequest]:
        """Keep new requests."""
        return [(await self.requests.submit(request(number, **values), [], NOW)).request for number in numbers]

    async def approve(self, of: ElevationRequest, *, max_uses: int = 0) -> ElevationRequest:
        """Approve a request."""
        review = Review(reviewer="user:carol", reviewed=NOW, reason="checked")
        access = Access(begins=NOW, until=NOW + HOUR, max_uses=max_uses)
        [told] = await self.requests.change(
            [of.request_id], lambda old, _now: old.approved(review, access), lambda: NOW
        )
        return told.request

    async def deny(self, of: ElevationRequest) -> ElevationRequest:
        """Deny a request."""
        review = Review(reviewer="user:carol", reviewed=NOW, reason="no")
        [told] = await self.requests.change([of.request_id], lambda old, _now: old.denied(review), lambda: NOW)
        return told.request

    async def found(self, of: ElevationRequest) -> ElevationRequest:
        """Return a request as it is kept."""
        told = await self.requests.find(of.request_id)
        assert told is not None
        return told.request

    async def page(
        self,
        size: int = 10,
        matches: Callable[[ElevationRequest], bool] = lambda _: True,
        *,
        equal: Mapping[str, str] | None = None,
        **wanted: Any,
    ) -> list[str]:
        """Return a page of identifiers."""
        page = await self.requests.page(PageRequest(size), RequestsWanted(matches, equal=equal or {}, **wanted))
        return [told.request.request_id for told in page.items]
