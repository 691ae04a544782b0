"""The verbs of consumers: how far each is, set one to a time, forget one. Everybody has their own."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services._chassis.errors import InvalidError, NotFoundError, Problem
from services._chassis.paging import Page, page_request
from services.reporting.model.live import ConsumerState, is_name
from services.reporting.ports import Consumers, Positions


@dataclass(frozen=True, slots=True)
class ConsumerDesk:
    """Look after consumers; `end` ends the streams of one that is no more where it was."""

    consumers: Consumers
    positions: Positions
    end: Callable[[tuple[str, str]], None]
    now: Callable[[], datetime]

    async def listed(
        self, principal: str, tags: frozenset[str] | None, *, page_size: int, page_token: str
    ) -> Page[ConsumerState]:
        """Return a principal's consumers by name; `tags` say of which devices attempts may be seen."""
        page = page_request(page_size=page_size, page_token=page_token, question="consumers")
        return await self.consumers.listed(principal, page, tags)

    async def rewind(
        self, principal: str, name: str, received_from: datetime | None, *, tags: frozenset[str] | None
    ) -> ConsumerState:
        """Set a consumer to a time. Raises InvalidError with all problems, and NotFoundError."""
        now = self.now()
        if received_from is None:
            problem = "must be a time between the years 1 and 9999; say from when the consumer wants events"
            raise InvalidError([Problem("received_from", problem)])
        if received_from > now:
            raise InvalidError([Problem("received_from", "must not be in the future; nothing is stored there yet")])
        _named(name)
        cursor = await self.positions.since(received_from)
        await self.consumers.rewind(principal, name, cursor, now)
        self.end((principal, name))
        state = await self.consumers.state(principal, name, tags)
        if state is None:
            raise _missing()
        return state

    async def delete(self, principal: str, name: str) -> None:
        """Forget a consumer. Raises NotFoundError."""
        _named(name)
        await self.consumers.delete(principal, name, self.now())
        self.end((principal, name))


def _named(name: str) -> None:
    if not is_name(name):
        raise _missing()


def _missing() -> NotFoundError:
    return NotFoundError("you have no consumer of this name; list the consumers for those there are")
