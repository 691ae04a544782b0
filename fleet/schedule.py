"""Draw from a script what goes wrong when, and give out what is due. The same seed draws the same faults."""

import random
from collections.abc import Iterable, Iterator
from datetime import timedelta

from fleet.model import FAITHFUL_ONLY, Planned
from fleet.script import Line, Script


def plan(script: Script, *, agents: int, faithful: int, duration: timedelta, seed: int) -> tuple[Planned, ...]:
    """Draw the faults of a run with `agents` agents, the first `faithful` of which have a disk, in order of time."""
    end = min(script.until or duration, duration).total_seconds()
    drawn = [
        planned
        for number, line in enumerate(script.lines)
        for planned in _drawn(line, _chosen(line, agents, faithful), end, random.Random(f"{seed}/{number}"))  # noqa: S311 - a die, not a secret
    ]
    return tuple(sorted(drawn, key=lambda planned: (planned.at, planned.agent)))


def without_targets(script: Script, *, agents: int, faithful: int) -> list[str]:
    """Name the lines of a script that can befall none of these agents."""
    return [
        f"faults[{number}].agents: none of the {agents} agents ({faithful} of them faithful) can have {line.fault.kind.value}"
        for number, line in enumerate(script.lines)
        if not _chosen(line, agents, faithful)
    ]


class Schedule:
    """Give out planned faults as time goes by."""

    def __init__(self, planned: Iterable[Planned]) -> None:
        self._rest = list(reversed(list(planned)))

    def due(self, elapsed: float) -> Iterator[Planned]:
        """Give what is due `elapsed` seconds after the start, once."""
        while self._rest and self._rest[-1].at <= elapsed:
            yield self._rest.pop()


def _chosen(line: Line, agents: int, faithful: int) -> list[int]:
    able = range(1, (faithful if line.fault.kind in FAITHFUL_ONLY else agents) + 1)
    return [number for number in able if line.agents is None or number in line.agents]


def _drawn(line: Line, chosen: list[int], end: float, die: random.Random) -> Iterator[Planned]:
    if not chosen:
        return
    for time in line.at:
        if time.total_seconds() <= end:
            yield from (Planned(time.total_seconds(), agent, line.fault) for agent in chosen)
    if not line.rate:
        return
    at = die.expovariate(line.rate / 60)
    while at <= end:
        yield Planned(at, die.choice(chosen), line.fault)
        at += die.expovariate(line.rate / 60)
