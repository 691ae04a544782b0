"""Let people ask and approve, and put together what the clock said on both sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.distribution import Process
from benchmarks.requested.approver import Approver
from benchmarks.requested.crew import Asked

MILLI = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Say how users ask: so many, at a rate a second; 0: all at once, several times, and approved all at once."""

    name: str
    asked: int
    rate: float = 0
    times: int = 1


@dataclass(slots=True)
class Took:
    """Hold milliseconds of each request: the two that count, and the parts of the way."""

    visible: list[float] = field(default_factory=list)
    usable: list[float] = field(default_factory=list)
    submit_call: list[float] = field(default_factory=list)
    approve_call: list[float] = field(default_factory=list)
    offered: list[float] = field(default_factory=list)
    """From the approver's call to the document's coming to the device."""
    cpu: float = 0.0
    """What the server used for each, submitting and approving."""
    disk: list[float] = field(default_factory=list)
    """What the disk alone took meanwhile, to keep one page; not of the requests."""

    def add(self, one: "Sample") -> None:
        """Add what one request took."""
        self.visible.append((one.seen - one.asked.called) * MILLI)
        self.submit_call.append((one.asked.answered - one.asked.called) * MILLI)
        self.usable.append((one.usable - one.called) * MILLI)
        self.approve_call.append((one.answered - one.called) * MILLI)
        self.offered.append((one.offered - one.called) * MILLI)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Hold the times of one request."""

    asked: Asked
    seen: float
    called: float
    answered: float
    offered: float
    usable: float


@dataclass(frozen=True, slots=True)
class Trial:
    """Put users, an approver and a server together."""

    server: Process
    crew: Process
    approver: Approver
    disk: Process
    hurry: float = 1.0

    async def run(self, load: Load) -> Took:
        """Let users ask, and wait until each may elevate."""
        took, cpu = Took(), self.server.cpu
        await self.disk.ask("took")  # what was before
        self.approver.thinks = load.rate > 0
        for _ in range(load.times):
            asked: Mapping[str, Asked] = await self.crew.ask("ask", load.asked, load.rate * self.hurry)
            await self.approver.until(self.approver.seen, asked)
            if not load.rate:
                await self.approver.approve_all(list(asked))
            offered, usable, _ = await self.crew.ask("usable", list(asked))
            await self.approver.until(self.approver.answered, asked)  # a device may be faster than the answer
            for key, one in asked.items():
                took.add(self._sample(key, one, offered, usable))
        took.disk = await self.disk.ask("took")
        took.cpu = (self.server.cpu - cpu) / (load.asked * load.times) * MILLI
        return took

    def _sample(self, key: str, asked: Asked, offered: Mapping[str, float], usable: Mapping[str, float]) -> Sample:
        return Sample(
            asked=asked,
            seen=self.approver.seen[key],
            called=self.approver.called[key],
            answered=self.approver.answered[key],
            offered=offered[key],
            usable=usable[key],
        )


def part(values: Sequence[float], hundredths: int) -> float:
    """Return the value that so many of a hundred do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) * hundredths // 100, len(ordered) - 1)]
