"""What the reporting scope of a device's settings lets be taken from it: the check that every agent makes, made again here.

- Scopes are ordered; each kind of event takes one that is wide enough. What is of no known kind takes the widest: nobody can
  tell what it holds.
- The scope that stands now counts. What occurred while a wider one stood may still come: the device was away.
- Of a device of which nothing is told, everything is taken.
"""

from dataclasses import dataclass
from enum import Enum

from elevation.model import ReportingScope

_RANKS = {scope: rank for rank, scope in enumerate(ReportingScope)}


class EventKind(Enum):
    """Say what an event tells, as far as a scope asks for it; the value is the narrowest scope that lets it leave a device."""

    HEALTH = ReportingScope.DIAGNOSTIC
    MANAGED = ReportingScope.MANAGED
    """A managed attempt, or how one ended."""
    ANYTHING = ReportingScope.ALL
    """An unmanaged attempt, or what cannot be told."""


@dataclass(frozen=True, slots=True)
class Reported:
    """Hold the scope that stands, and until when wider ones stood, in microseconds since 1970."""

    scope: ReportingScope | None = None
    """None: it was not told."""
    until: tuple[tuple[ReportingScope, int], ...] = ()

    @property
    def takes_all(self) -> bool:
        """Tell whether nothing needs a look."""
        return self.scope in (None, ReportingScope.ALL)

    def takes(self, kind: EventKind, occurred: int | None) -> bool:
        """Tell whether an event of this kind is taken; one that says no time is of now."""
        if self.scope is None or _RANKS[self.scope] >= _RANKS[kind.value]:
            return True
        return occurred is not None and any(
            _RANKS[scope] >= _RANKS[kind.value] and occurred < until for scope, until in self.until
        )

    def refusal(self) -> str:
        """Say to a device why an event of it is not taken."""
        scope = self.scope.value if self.scope else "none"
        return f"the reporting scope of the device is {scope}; the event was not kept"
