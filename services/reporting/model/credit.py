"""How many events a device may have in flight: low at first, more while the server keeps up, less while it does not.

- A credit rises only where it is used, doubling with each acknowledgement, and never above the stream's share of the backlog.
  Few streams may have more than many: one group is read while another one is committed, and both must be large.
- It falls while what waits for the disk crowds the backlog. It is never below `LEAST` and never above `MOST`; where a
  service begins lower than `LEAST`, that is the least.
- Once every stream that sends has heard an acknowledgement of a crowded backlog, all their credits together fit the
  backlog, or are the least that each must have.
- A device may not know that credits change: it keeps that of its welcome, which is why that one is small but not one.
"""

from dataclasses import dataclass, replace

START = 100
LEAST = 10
USUALLY, MOST = 1000, 2000
BUSY = 8000
"""Events in flight that keep a database busy, and those who read meanwhile; of more, most only wait longer."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How much the backlog takes, how much of that waits, and how many streams have something in flight."""

    capacity: int
    waiting: int
    sending: int

    @property
    def crowded(self) -> bool:
        """Tell whether half of what the backlog takes is there."""
        return self.waiting * 2 >= self.capacity

    @property
    def full(self) -> bool:
        """Tell whether so much is there that streams will soon have to wait."""
        return self.waiting * 4 >= self.capacity * 3

    @property
    def share(self) -> int:
        """Return an equal part of the backlog for each stream that sends."""
        return self.capacity // max(self.sending, 1)

    @property
    def most(self) -> int:
        """Return the most that the credit of a stream may rise to."""
        return min(max(USUALLY, min(MOST, BUSY // max(self.sending, 1))), self.share)


@dataclass(frozen=True, slots=True)
class Ramp:
    """The credit of one stream."""

    credit: int
    least: int

    @classmethod
    def welcoming(cls, start: int, pressure: Pressure) -> "Ramp":
        """Begin with the start, or with a share of the backlog where many streams send."""
        least = min(LEAST, start)
        return cls(max(least, min(start, pressure.share)), least)

    def acknowledged(self, used: int, pressure: Pressure) -> "Ramp":
        """Go on after an acknowledgement; `used` is the most that was in flight since the one before."""
        if pressure.crowded:
            fitting = min(self.credit // 2 if pressure.full else self.credit, pressure.share)
            return replace(self, credit=max(self.least, fitting))
        if used * 2 < self.credit:
            return self
        return replace(self, credit=max(self.credit, min(self.credit * 2, pressure.most)))
