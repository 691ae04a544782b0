"""Keep the requests of the device's users on its disk, with what became of them, until each was shown.

INVARIANT: what was confirmed to the server is on the disk. A state is news until its user was shown it, and a final state
is never replaced: outcomes come again after a lost confirmation, the older ones among them too.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from agent_stub.files import StateError
from agent_stub.notes import note, read_note
from agent_stub.requests.model import Request, RequestState
from agent_stub.requests.reading import as_news, noted_request, read_request, request_in
from epm.policy.v1 import agent_pb2

log = structlog.get_logger()

BOOK = "requests.json"
KEPT = timedelta(days=30)
MOST = 1000
MOST_OF_A_USER = 100
"""So that nobody pushes out what others are to be told, or makes the book so long that writing it holds up elevations."""
_ORDER: Final = {RequestState.UNKNOWN: 0, RequestState.PENDING: 1, RequestState.APPROVED: 2}
_FINAL = 3

Replace = Callable[[Path, bytes], None]
"""Puts a whole file in place of another, durably; raises OSError, after which the old one stands."""


class RequestBook:
    """The requests of one device: at most `most`, and `of_a_user` of each user."""

    def __init__(self, folder: Path, write: Replace, *, most: int = MOST, of_a_user: int = MOST_OF_A_USER) -> None:
        self._path = folder / BOOK
        self._write = write
        self._most = most
        self._of_a_user = of_a_user
        self._requests: dict[str, Request] = {}
        self._changed = asyncio.Event()

    def load(self) -> list[str]:
        """Take up what was kept; say what could not be. Raise StateError where the disk does not give it out."""
        try:
            fields = read_note(self._path)
            self._requests = {found.id: found for found in map(request_in, fields["requests"])}
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            return [set_aside(self._path)]
        except OSError as error:
            raise unreadable(self._path, error) from error
        return []

    def keep_outcome(self, outcome: agent_pb2.RequestOutcome, now: datetime) -> None:
        """Keep what became of a request, durably; raise OSError where that fails."""
        found = read_request(outcome.request)
        known = self._requests.get(found.id)
        if known is not None and _ORDER.get(known.state, _FINAL) >= _ORDER.get(found.state, _FINAL):
            return
        self._keep({found.id: as_news(found)}, now)
        log.info("request_outcome_kept", request_id=found.id, state=found.state.name)

    def keep(self, request: Request, now: datetime) -> None:
        """Keep a request whose user is told by other words; where that fails, until the agent stops."""
        known = self._requests.get(request.id)
        if known is not None and known.state.is_final:
            return
        try:
            self._keep({request.id: request}, now)
        except OSError as error:
            self._requests[request.id] = request
            log.warning("request_not_kept", request_id=request.id, error=error.strerror)

    def of(self, user: str) -> list[Request]:
        """Give a user's requests, newest first."""
        own = [request for request in self._requests.values() if request.user == user]
        return sorted(own, key=lambda request: (request.submitted, request.id), reverse=True)

    def shown(self, requests: Iterable[Request], now: datetime) -> None:
        """Note that a user was shown them; where that cannot be kept, a restart of the agent shows them once more."""
        seen = {request.id: replace(request, news=False) for request in requests if request.news}
        if not seen:
            return
        try:
            self._keep(seen, now)
        except OSError as error:
            self._requests |= seen
            log.warning("requests_shown_not_kept", error=error.strerror)

    def next_change(self) -> asyncio.Event:
        """Give an event that is set at the next change."""
        return self._changed

    def look_again(self) -> None:
        """Let everybody who waits look again, as something else changed that counts for requests."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _keep(self, more: dict[str, Request], now: datetime) -> None:
        requests = self._remaining(self._requests | more, now)
        self._write(self._path, note({"requests": [noted_request(request) for request in requests.values()]}))
        self._requests = requests
        self.look_again()

    def _remaining(self, requests: dict[str, Request], now: datetime) -> dict[str, Request]:
        """Leave away what is over for long, and the oldest beyond what is kept: of a user, and of all."""
        young = [request for request in requests.values() if now - max(request.submitted, _last_time(request)) < KEPT]
        kept: list[Request] = []
        of_users: Counter[str] = Counter()
        for request in sorted(young, key=lambda request: (not request.state.is_final, request.submitted), reverse=True):
            of_users[request.user] += 1
            if of_users[request.user] <= self._of_a_user:
                kept.append(request)
        return {request.id: request for request in kept[: self._most]}


def set_aside(path: Path) -> str:
    """Move a damaged note out of the way and say so; raise StateError where that fails."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        raise StateError(f"{path}: is damaged and cannot be set aside ({error.strerror}); move it away") from error
    log.warning("note_damaged", kept_as=str(aside))
    return f"{path.name} was damaged; it is kept as {aside.name}"


def unreadable(path: Path, error: OSError) -> StateError:
    """Say that a note cannot be read, and the remedy."""
    return StateError(f"{path}: cannot be read ({error.strerror}); repair the disk, or move the file away")


def _last_time(request: Request) -> datetime:
    return request.review_deadline if request.access is None else request.access.until
