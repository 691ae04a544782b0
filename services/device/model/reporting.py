"""What may be reported from a device, as the policy service tells, and until when more might be.

- `until` remembers, for each scope wider than the one that stands, when it or a wider one was told for the last time to stand
  no more: a device that was away tells later of what it did before then.
- The first scope that is told narrows nothing: what was allowed before is not known.
"""

from dataclasses import dataclass
from datetime import datetime

from elevation.model import ReportingScope

SCOPES = tuple(ReportingScope)
"""From the narrowest to the widest."""


@dataclass(frozen=True, slots=True)
class Reported:
    """Hold the scope that stands, and until when wider ones stood."""

    scope: ReportingScope | None = None
    """None: not told yet."""
    until: tuple[tuple[ReportingScope, datetime], ...] = ()
    """Wider scopes, from the narrowest to the widest."""

    def told(self, scope: ReportingScope | None, now: datetime) -> "Reported":
        """Return what stands after a scope was told; None tells nothing."""
        if scope is None or scope is self.scope:
            return self
        if self.scope is None:
            return Reported(scope)
        until = dict(self.until) | dict.fromkeys(SCOPES[: SCOPES.index(self.scope) + 1], now)
        wider = SCOPES[SCOPES.index(scope) + 1 :]
        return Reported(scope, tuple((each, until[each]) for each in wider if each in until))
