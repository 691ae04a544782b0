"""Calls that were refused, on their way into the audit record: every one is accounted for, and none is waited for.

- A refused call of a known caller makes the record `call_denied`; the same caller, method and reason again and again makes
  one more each minute, with a count.
- Calls without proof of who calls make one record `authentication_failed` for each origin and minute, with a count.
- What waits is bounded. Where there is no room left, calls are counted together with others: counts are never lost.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from services._chassis.audit import Act, AuditEntry

CALL_DENIED = "call_denied"
AUTHENTICATION_FAILED = "authentication_failed"
LONGEST_MESSAGE = 300
MINUTE = 60
Key = TypeVar("Key", bound=Hashable)
_Combination = tuple[str, str, str]
"""Caller, method and reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Say how much may wait to be written."""

    queue: int = 1000
    """Records that are ready."""
    apart: int = 10
    """Records a minute of the same caller, method and reason; what comes after is counted together."""
    callers: int = 1000
    """Combinations of caller, method and reason that are told apart in a minute."""
    origins: int = 1000
    """Origins of failed authentication that are told apart in a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One refused call: who, from where, in which call, which method, and why."""

    act: Act
    method: str
    reason: str
    message: str = ""
    at: datetime


@dataclass(slots=True)
class _Tally:
    """Count refused calls that share one record."""

    first: Refused
    last: Refused
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, refused: Refused) -> None:
        self.last = refused
        self.reasons[refused.reason] += 1


class _Tallies(Generic[Key]):
    """Keep a tally for each key, up to a bound; what comes beyond it shares the one of None."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tallies: dict[Key | None, _Tally] = {}

    def add(self, key: Key, refused: Refused) -> None:
        kept = key if key in self._tallies or len(self._tallies) < self._most else None
        self._tallies.setdefault(kept, _Tally(refused, refused)).add(refused)

    def pop(self) -> tuple[Key | None, _Tally]:
        """Take the oldest one away, with its key."""
        key = next(iter(self._tallies))
        return key, self._tallies.pop(key)

    def __len__(self) -> int:
        return len(self._tallies)


class RefusalLog:
    """Take in refused calls without waiting, and hand out the records that are to be written."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.arrived = asyncio.Event()
        """Set while records are ready."""
        self._bounds = bounds or Bounds()
        self._ready: deque[AuditEntry] = deque()
        self._apart: dict[_Combination, int] = {}
        self._denied = _Tallies[_Combination](self._bounds.callers)
        self._failed = _Tallies[str](self._bounds.origins)
        self._minute = 0

    @property
    def waiting(self) -> int:
        """Return how many records wait, ready or still counting."""
        return len(self._ready) + len(self._denied) + len(self._failed)

    def denied(self, refused: Refused) -> None:
        """Note the refused call of a caller who is known."""
        self._turn(refused.at)
        key = (refused.act.actor, refused.method, refused.reason)
        noted = self._apart.get(key, 0)
        told_apart = key in self._apart or len(self._apart) < self._bounds.callers
        if told_apart and noted < self._bounds.apart and self._has_room():
            self._apart[key] = noted + 1
            self._put(_denial(refused))
        else:
            self._denied.add(key, refused)

    def failed(self, origin: str, refused: Refused) -> None:
        """Note a call that did not prove who calls."""
        self._turn(refused.at)
        self._failed.add(origin, refused)

    def take(self, most: int, now: datetime) -> list[AuditEntry]:
        """Take away so many records that are ready; what was counted in minutes that are over is."""
        self._turn(now)
        return self._taken(most)

    def take_all(self, most: int) -> list[AuditEntry]:
        """Take away so many records, also of a minute that is not over."""
        self._close_tallies()
        return self._taken(most)

    def _taken(self, most: int) -> list[AuditEntry]:
        taken = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        if not self._ready:
            self.arrived.clear()
        return taken

    def _turn(self, now: datetime) -> None:
        """Close what was counted in another minute; while the queue is full it goes on counting."""
        minute = int(now.timestamp()) // MINUTE
        if minute != self._minute:
            self._minute = minute
            self._apart.clear()
            self._close_tallies()

    def _close_tallies(self) -> None:
        while self._has_room() and self._denied:
            self._put(_denials(*self._denied.pop()))
        while self._has_room() and self._failed:
            self._put(_failures(*self._failed.pop()))

    def _has_room(self) -> bool:
        return len(self._ready) < self._bounds.queue

    def _put(self, entry: AuditEntry) -> None:
        self._ready.append(entry)
        self.arrived.set()


def _denial(refused: Refused) -> AuditEntry:
    return AuditEntry(
        action=CALL_DENIED,
        target_kind="Method",
        target=refused.method,
        details={"count": "1", "reason": refused.reason, "message": _plain(refused.message)},
        act=refused.act,
        at=refused.at,
    )


def _denials(key: _Combination | None, tally: _Tally) -> AuditEntry:
    """Return the record of many refused calls; the ids are those of the last one."""
    last = tally.last
    message = {"message": _plain(last.message)} if key else {}
    return AuditEntry(
        action=CALL_DENIED,
        target_kind="Method",
        target=last.method if key else "",
        details={**_counted(tally), **message},
        act=last.act if key else None,
        at=last.at,
    )


def _failures(origin: str | None, tally: _Tally) -> AuditEntry:
    return AuditEntry(
        action=AUTHENTICATION_FAILED,
        target_kind="Origin",
        target=origin or "",
        details=_counted(tally),
        act=None if origin is None else tally.last.act,
        at=tally.last.at,
    )


def _plain(message: str) -> str:
    """Return the start of a message, which may repeat what a caller wrote: one that cannot be stored would hold up all others."""
    return "".join(letter if letter.isprintable() else "?" for letter in message[:LONGEST_MESSAGE])


def _counted(tally: _Tally) -> dict[str, str]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(tally.reasons.items()))
    return {
        "count": str(tally.reasons.total()),
        "reason": reasons if len(tally.reasons) > 1 else next(iter(tally.reasons)),
        "first": tally.first.at.isoformat(),
        "last": tally.last.at.isoformat(),
    }
