"""Read scripts: which faults, how often, to whom."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import yaml

from fleet.model import Fault, FaultKind

_DURATION = re.compile(r"(-?)(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LASTING = {
    FaultKind.SLOW_READER: timedelta(seconds=3),
    FaultKind.STOP_READING: timedelta(seconds=10),
    FaultKind.CLOCK: timedelta(seconds=5),
    FaultKind.CLONE: timedelta(seconds=2),
}
"""How long the kinds last that last, where the script does not say."""

_NAMES = {kind.value: kind for kind in FaultKind}
_RANGE = re.compile(r"(\d+)-(\d+)")
_MOST_AGENTS = 1_000_000
_HIGHEST_RATE = 1e6


class ScriptError(Exception):
    """A script cannot be followed; `problems` holds all that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of fault: either `rate` times a minute, each time to one of the agents, or to all of them at each time of `at`."""

    fault: Fault
    rate: float = 0.0
    at: tuple[timedelta, ...] = ()
    agents: frozenset[int] | None = None
    """Numbers of agents; None: all."""


@dataclass(frozen=True, slots=True)
class Script:
    """What goes wrong in a run."""

    lines: tuple[Line, ...] = ()
    seed: int | None = None
    """None: the run draws one, and tells it."""
    until: timedelta | None = None
    """When the faults end, from the start of the run; None: with the run."""


def read_duration(text: str) -> timedelta:
    """Read a duration such as `90s`, `1.5m` or `-365d`; raise ValueError for anything else."""
    if not (found := _DURATION.fullmatch(text)):
        raise ValueError(text)
    try:
        length = float(found[2]) * _UNITS[found[3]]
    except OverflowError as error:
        raise ValueError(text) from error
    return -length if found[1] else length


def read_script(text: str) -> Script:
    """Read a script; raise ScriptError with all that is wrong."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScriptError([f"the script is no YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(content, dict):
        raise ScriptError(["the script: must be a mapping with `faults`"])
    reader = _Reader()
    script = reader.script(content)
    if reader.problems:
        raise ScriptError(reader.problems)
    return script


class _Reader:
    """Read as much as can be read, and gather what is wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def script(self, content: Mapping[object, object]) -> Script:
        """Read the whole."""
        self._strangers(content, ("seed", "until", "faults"), "")
        seed = content.get("seed")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            self.problems.append("seed: must be a whole number")
            seed = None
        until = self._duration(content["until"], "until") if "until" in content else None
        faults = content.get("faults")
        if not isinstance(faults, list) or not faults:
            self.problems.append("faults: must be a list with at least one fault")
            faults = []
        lines = [line for number, one in enumerate(faults) for line in self._line(one, f"faults[{number}]")]
        return Script(tuple(lines), seed, until)

    def _line(self, content: object, place: str) -> Iterator[Line]:
        if not isinstance(content, dict):
            self.problems.append(f"{place}: must be a mapping with `fault` and `rate` or `at`")
            return
        self._strangers(content, ("fault", "rate", "at", "agents", "for", "by"), f"{place}.")
        kind = _NAMES.get(str(content.get("fault")))
        if kind is None:
            self.problems.append(f"{place}.fault: must be one of {', '.join(_NAMES)}")
        fault = self._fault(kind, content, place)
        rate, at = self._times(content, place)
        agents = self._agents(content.get("agents", "all"), f"{place}.agents")
        if fault is not None:
            yield Line(fault, rate, at, agents)

    def _fault(self, kind: FaultKind | None, content: Mapping[object, object], place: str) -> Fault | None:
        lasts = self._duration(content["for"], f"{place}.for") if "for" in content else None
        shift = self._duration(content["by"], f"{place}.by", signed=True) if "by" in content else None
        if kind is None:
            return None
        if "for" in content and kind not in _LASTING:
            self.problems.append(f"{place}.for: {kind.value} takes no time; leave it out")
        if ("by" in content) != (kind is FaultKind.CLOCK):
            wanted = "say how far the clock jumps, as -365d" if kind is FaultKind.CLOCK else "belongs to clock alone"
            self.problems.append(f"{place}.by: {wanted}")
        return Fault(kind, lasts or _LASTING.get(kind, timedelta()), shift or timedelta())

    def _times(self, content: Mapping[object, object], place: str) -> tuple[float, tuple[timedelta, ...]]:
        if ("rate" in content) == ("at" in content):
            self.problems.append(f"{place}: give either rate, in faults a minute, or at, with times")
        rate = content.get("rate", 0.0)
        if (
            not isinstance(rate, int | float)
            or isinstance(rate, bool)
            or ("rate" in content and not 0 < rate <= _HIGHEST_RATE)
        ):
            self.problems.append(f"{place}.rate: must be a number above 0, in faults a minute")
            rate = 0.0
        times = content.get("at", [])
        listed = times if isinstance(times, list) else [times]
        read = [self._duration(one, f"{place}.at") for one in listed]
        return float(rate), tuple(one for one in read if one is not None)

    def _agents(self, content: object, place: str) -> frozenset[int] | None:
        if content == "all":
            return None
        numbers: set[int] = set()
        for one in content if isinstance(content, list) else [content]:
            if isinstance(one, int) and not isinstance(one, bool) and 0 < one <= _MOST_AGENTS:
                numbers.add(one)
            elif (
                isinstance(one, str)
                and (found := _RANGE.fullmatch(one))
                and 0 < int(found[1]) <= int(found[2]) <= _MOST_AGENTS
            ):
                numbers.update(range(int(found[1]), int(found[2]) + 1))
            else:
                self.problems.append(f"{place}: {one!r} is neither `all`, a number from 1 on, nor a range as 10-20")
        return frozenset(numbers)

    def _duration(self, content: object, place: str, *, signed: bool = False) -> timedelta | None:
        try:
            length = read_duration(str(content))
        except ValueError:
            self.problems.append(f"{place}: {content!r} is no duration; write it as 90s, 1.5m, 2h or 365d")
            return None
        if not signed and length < timedelta():
            self.problems.append(f"{place}: must not be negative")
            return None
        return length

    def _strangers(self, content: Mapping[object, object], known: tuple[str, ...], prefix: str) -> None:
        self.problems += [
            f"{prefix}{name}: is not known; there are {', '.join(known)}" for name in content if name not in known
        ]
