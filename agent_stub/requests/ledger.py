"""Count what grants are used for, and tell what is left of each now.

INVARIANT: a use is on the disk before the file is started, and only once. What is left of a grant is the lesser of what the
document says and of what the device has counted itself: the document may know a use later than the device, never sooner.

A grant ends at the earliest of two deadlines: the wall clock's, and that of the clock that nobody sets. The latter is noted
when the grant is first seen, and goes on over a restart of the agent. A restart of the machine ends it; from then on no more
is left than was left when it was last noted, nor more than since the server last signed something.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from agent_stub.files import StateError, write_private
from agent_stub.model import Moment
from agent_stub.notes import note, read_note
from agent_stub.requests.book import Replace, unreadable
from agent_stub.requests.model import Use
from agent_stub.requests.reading import noted_use, use_in
from elevation.model import Grant

log = structlog.get_logger()

LEDGER = "grants.json"
MOST_WAITING = 5000
"""Uses that may wait for the server: the file is written whole at each."""
FORGOTTEN_AFTER = timedelta(days=1)
NEVER = datetime.min.replace(tzinfo=UTC)


class UseError(Exception):
    """A grant cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class _Entry:
    expires: datetime
    deadline: timedelta
    """Since the machine started."""
    left: int | None
    """None: the device has not counted a use of it, or it may be used as often as wanted."""


class GrantLedger:
    """The grants of one device, and their uses."""

    def __init__(self, folder: Path, write: Replace, boot_id: str, now: Callable[[], Moment]) -> None:
        self._path = folder / LEDGER
        self._write = write
        self._boot_id = boot_id
        self._now = now
        self._entries: dict[str, _Entry] = {}
        self._uses: tuple[Use, ...] = ()
        self._distrusted = NEVER
        self._listener: Callable[[], None] = _nobody

    @property
    def waiting(self) -> Sequence[Use]:
        """Give the uses that the server has not taken in, oldest first."""
        return self._uses

    def on_use(self, listener: Callable[[], None]) -> None:
        """Call the listener whenever a use was written."""
        self._listener = listener

    def load(self) -> list[str]:
        """Take up what was kept; say what could not be. Raise StateError where the disk does not give it out.

        Where uses were lost with a damaged file, grants of that time with a number of uses count as used up.
        """
        now = self._now()
        try:
            fields = read_note(self._path)
            self._distrusted = datetime.fromisoformat(fields["distrusted"])
            self._uses = tuple(map(use_in, fields["uses"]))
            same_boot = fields["boot"] == self._boot_id
            self._entries = {name: _entry(one, now, same_boot=same_boot) for name, one in fields["grants"].items()}
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return [self._begin_distrustful(now)]
        except OSError as error:
            raise unreadable(self._path, error) from error
        return []

    def _begin_distrustful(self, now: Moment) -> str:
        """Begin anew, and let that be on the disk before the damaged file goes: a start without either would trust."""
        self._distrusted, self._uses, self._entries = now.wall, (), {}
        aside = self._path.with_name(f"{self._path.name}.damaged")
        try:
            write_private(aside, self._path.read_bytes())
            self._save({}, ())
        except OSError as error:
            problem = f"{self._path}: is damaged and cannot be set aside ({error.strerror})"
            raise StateError(f"{problem}; make room or repair the disk, then start again") from error
        log.warning("note_damaged", kept_as=str(aside))
        return (
            f"{self._path.name} was damaged; it is kept as {aside.name}; grants with a number of uses count as used up"
        )

    def effective(self, grants: Iterable[Grant], issued: datetime) -> tuple[Grant, ...]:
        """Give what counts now of a document's grants. `issued`: when the server last signed something for the device.

        What has begun by the server's clock has begun: a device whose clock is slow waits for nothing.
        """
        moment = self._now()
        found: list[Grant] = []
        for grant in grants:
            entry = self._seen(grant, moment, issued)
            doubtful = grant.uses_left is not None and grant.not_before <= self._distrusted
            if moment.since_boot < entry.deadline and not doubtful:
                begun = min(grant.not_before, moment.wall) if grant.not_before <= issued else grant.not_before
                found.append(replace(grant, not_before=begun, uses_left=_less(grant.uses_left, entry.left)))
        return tuple(found)

    def policy_changed(self, grants: Sequence[Grant], issued: datetime) -> None:
        """Note the deadlines of new grants, and forget those that are over for long."""
        before = dict(self._entries)
        self.effective(grants, issued)
        kept = {grant.id for grant in grants} | {use.grant_id for use in self._uses}
        now = self._now().wall
        self._entries = {
            name: entry
            for name, entry in self._entries.items()
            if name in kept or now - entry.expires < FORGOTTEN_AFTER
        }
        if self._entries != before:
            self.rest()

    def use(self, grants: Iterable[Grant], grant_id: str, attempt_id: str, issued: datetime) -> None:
        """Count one use durably, before anything is started; raise UseError, after which nothing may start."""
        moment = self._now()
        grant = next((grant for grant in self.effective(grants, issued) if grant.id == grant_id), None)
        if grant is None or grant.uses_left == 0 or moment.wall >= grant.expires:
            raise UseError("the approval is used up or over")
        if len(self._uses) >= MOST_WAITING:
            raise UseError(f"{MOST_WAITING} uses of approvals wait for the server; connect the device")
        left = None if grant.uses_left is None else grant.uses_left - 1
        entries = self._entries | {grant.id: replace(self._entries[grant.id], left=left)}
        uses = (*self._uses, Use(grant.id, attempt_id, moment.wall))
        try:
            self._save(entries, uses)
        except OSError as error:
            problem = (error.strerror or "input/output error").lower()
            raise UseError(f"its use of the approval cannot be kept ({problem})") from error
        self._entries, self._uses = entries, uses
        self._listener()

    def counts_down(self) -> bool:
        """Tell whether there is a grant whose time runs."""
        now = self._now().since_boot
        return any(now < entry.deadline for entry in self._entries.values())

    def is_spent(self, grant_id: str) -> bool:
        """Tell whether the device has counted the last use of a grant."""
        entry = self._entries.get(grant_id)
        return entry is not None and entry.left == 0

    def taken_in(self, attempt_ids: Iterable[str]) -> None:
        """Forget uses that the server knows; where that cannot be kept, a restart of the agent tells them once more."""
        known = set(attempt_ids)
        self._uses = tuple(use for use in self._uses if use.attempt_id not in known)
        self.rest()

    def rest(self) -> None:
        """Save what is known now, as far as the disk lets it."""
        try:
            self._save(self._entries, self._uses)
        except OSError as error:
            log.warning("grants_not_kept", error=error.strerror)

    def _seen(self, grant: Grant, moment: Moment, issued: datetime) -> _Entry:
        known = self._entries.get(grant.id)
        left = known.left if known is not None else None
        if known is None or known.expires != grant.expires:
            deadline = moment.since_boot + (grant.expires - max(moment.wall, issued))
            known = self._entries[grant.id] = _Entry(grant.expires, deadline, left)
        elif (latest := moment.since_boot + (grant.expires - issued)) < known.deadline:
            # The server's own time is ahead of the clock by which the deadline was noted.
            known = self._entries[grant.id] = replace(known, deadline=latest)
        return known

    def _save(self, entries: dict[str, _Entry], uses: Sequence[Use]) -> None:
        since_boot = self._now().since_boot
        fields = {
            "boot": self._boot_id,
            "distrusted": self._distrusted.isoformat(),
            "grants": {name: _noted(entry, since_boot) for name, entry in entries.items()},
            "uses": [noted_use(use) for use in uses],
        }
        self._write(self._path, note(fields))


def _noted(entry: _Entry, since_boot: timedelta) -> dict[str, object]:
    return {
        "expires": entry.expires.isoformat(),
        "deadline": entry.deadline.total_seconds(),
        "remaining": (entry.deadline - since_boot).total_seconds(),
        "left": entry.left,
    }


def _entry(fields: Any, now: Moment, *, same_boot: bool) -> _Entry:
    expires = datetime.fromisoformat(fields["expires"])
    left = fields["left"]
    if not (left is None or isinstance(left, int)):
        raise ValueError("left is no number")
    if same_boot:
        return _Entry(expires, timedelta(seconds=fields["deadline"]), left)
    remaining = min(timedelta(seconds=fields["remaining"]), expires - now.wall)
    return _Entry(expires, now.since_boot + remaining, left)


def _less(said: int | None, counted: int | None) -> int | None:
    """Give the lesser number of uses; None: many."""
    return said if said is None or counted is None else min(said, counted)


def _nobody() -> None:
    """Listen to nothing."""
