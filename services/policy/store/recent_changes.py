"""What changed of requests lately, for everybody who follows: one reading of each revision is enough for all of them.

The reader of policies reads requests that changed anyway, and hands them over; whoever asks for what is not remembered, such as
a watch that was away for long, is answered from the database.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from services._chassis.changes import ChangeFeed
from services.policy.model.told_requests import Outcome, Place, Told
from services.policy.usecases.requests.ports import Outcomes, RequestChanges

MOST = 500
"""Changes that are remembered."""

LAST_ID = "f" * 36
"""Behind the identifier of every request."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Hold what changed behind one revision and up to another: requests by their places, and what devices are to hear."""

    after: int
    revision: int
    told: tuple[Told, ...] = ()
    outcomes: tuple[tuple[str, Outcome], ...] = ()


class RecentChanges:
    """Remember the newest changes.

    INVARIANT: between `_from` and `revisions.revision` nothing is missing. `revisions` moves once what it tells of is here.
    """

    def __init__(self, changes: RequestChanges, outcomes: Outcomes, *, most: int = MOST) -> None:
        self.revisions = ChangeFeed(changes.newest, None, "")
        self._changes = changes
        self._outcomes = outcomes
        self._most = most
        self._from = 0
        self._told: dict[str, Told] = {}
        """By request, in the order of their changes."""
        self._heard: deque[tuple[int, str, Outcome]] = deque()
        """By the revision up to which it was read, and the device."""
        self._of_device: dict[str, list[Outcome]] = {}

    def take(self, changed: Changed) -> None:
        """Take up what was read; where something is missing before it, all of before is forgotten."""
        if changed.after != self.revisions.revision:
            self._told.clear()
            self._heard.clear()
            self._of_device.clear()
            self._from = changed.after
        for told in changed.told:
            self._told.pop(told.request.request_id, None)
            self._told[told.request.request_id] = told
        for device_id, outcome in changed.outcomes:
            self._heard.append((changed.revision, device_id, outcome))
            before = self._of_device.get(device_id, [])
            follows = before and before[-1].sequence == outcome.sequence - 1
            self._of_device[device_id] = [*before, outcome] if follows else [outcome]
        self._forget()
        self.revisions.announce(changed.revision)

    async def newest(self) -> int:
        """Return the newest revision of the service."""
        return await self._changes.newest()

    async def pending(self, after: Place, most: int) -> Sequence[Told]:
        """Read requests that wait."""
        return await self._changes.pending(after, most)

    async def changed(self, after: Place, most: int) -> Sequence[Told]:
        """Return requests that changed behind a place, up to the newest revision that was told here at least."""
        if after < (self._from, LAST_ID):
            return await self._changes.changed(after, most)
        found: list[Told] = []
        for told in reversed(self._told.values()):
            if told.place <= after:
                break
            found.append(told)
        return found[::-1][:most]

    async def waiting(self, after: int) -> tuple[frozenset[str], int]:
        """Return who has something to hear."""
        if after < self._from or not self.revisions.revision:
            return await self._outcomes.waiting(after)
        found: set[str] = set()
        for revision, device_id, _ in reversed(self._heard):
            if revision <= after:
                break
            found.add(device_id)
        return frozenset(found), self.revisions.revision

    async def of_device(self, device_id: str, after: int) -> Sequence[Outcome]:
        """Return what a device is to hear behind a number.

        Numbers of one device have no gaps: where the next one is here, no older one is missing.
        """
        known = self._of_device.get(device_id, ())
        if not known or not known[0].sequence - 1 <= after <= known[-1].sequence:
            return await self._outcomes.of_device(device_id, after)
        return [outcome for outcome in known if outcome.sequence > after]

    async def keep(self, device_id: str, sequence: int) -> None:
        """Note what a device keeps, and forget it here."""
        await self._outcomes.keep(device_id, sequence)
        self._drop(device_id, sequence)

    def _drop(self, device_id: str, sequence: int) -> None:
        left = [outcome for outcome in self._of_device.pop(device_id, ()) if outcome.sequence > sequence]
        if left:
            self._of_device[device_id] = left

    def _forget(self) -> None:
        """Forget the oldest changes where there are too many; those of one revision together."""
        while len(self._told) > self._most:
            oldest = next(iter(self._told.values()))
            self._from = max(self._from, oldest.changed)
            del self._told[oldest.request.request_id]
        while len(self._heard) > self._most:
            revision, device_id, outcome = self._heard.popleft()
            self._drop(device_id, outcome.sequence)
            self._from = max(self._from, revision)
