"""Show a run: a live table on a terminal, a line now and then elsewhere, and the summary at the end."""

import sys
from typing import Self, TextIO

from fleet.model import AgentReport
from fleet.run import Picture

LINE_EVERY = 5.0
REVISIONS_SHOWN = 4
VIOLATIONS_SHOWN = 20


class LineScreen:
    """Prints a line every few seconds, one when a fault came for the first time, and one when the faults are over."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last = -LINE_EVERY
        self._calm = False
        self._came: set[str] = set()

    def show(self, picture: Picture) -> None:
        """Show the fleet as it is."""
        for name in sorted(set(picture.tally.faults) - self._came):
            self._came.add(name)
            print(f"{picture.elapsed:6.1f} s: the first {name}", file=self._out, flush=True)
        if picture.calm and not self._calm:
            self._calm = True
            print("the faults are over", file=self._out, flush=True)
        if picture.elapsed - self._last >= LINE_EVERY:
            self._last = picture.elapsed
            shown = ", ".join(f"{name} {value}" for name, value in figures(picture))
            print(f"{picture.elapsed:6.1f} s: {shown}", file=self._out, flush=True)


class TableScreen:
    """Keeps a table up to date on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - a terminal alone needs it
        from rich.live import Live  # noqa: PLC0415 - same

        self._live = Live(console=Console(file=sys.stderr), refresh_per_second=4)
        self._before = (0.0, 0)

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        self._live.stop()

    def show(self, picture: Picture) -> None:
        """Show the fleet as it is."""
        from rich.table import Table  # noqa: PLC0415 - a terminal alone needs it

        table = Table(title=f"{picture.agents} agents, {picture.elapsed:.0f} s", show_header=False)
        elapsed, acks = self._before
        if picture.elapsed - elapsed >= 1:
            self._before = (picture.elapsed, picture.tally.acks)
        rate = (picture.tally.acks - acks) / max(picture.elapsed - elapsed, 1)
        for name, value in (*figures(picture), ("acks a second", f"{rate:.0f}")):
            table.add_row(name, value)
        self._live.update(table)


def figures(picture: Picture) -> list[tuple[str, str]]:
    """Give the figures of a run, by name."""
    tally = picture.tally
    common = picture.revisions.most_common(REVISIONS_SHOWN)
    held = " ".join(f"r{revision}:{count}" for revision, count in common)
    return [
        ("connected", f"{picture.connected}/{picture.agents}"),
        ("holding", held + (" ..." if len(picture.revisions) > REVISIONS_SHOWN else "")),
        ("offers", str(tally.offers)),
        ("acks", str(tally.acks)),
        ("nacks", str(tally.nacks)),
        ("confirmations", str(tally.confirmations)),
        ("streams", str(tally.streams)),
        ("sent away", str(tally.farewells)),
        ("throttled", str(tally.throttles)),
        ("faults", str(sum(tally.faults.values()))),
        ("violations", str(len(picture.violations))),
    ]


def summary_lines(picture: Picture, seed: int) -> list[str]:
    """Say in words how a run went."""
    faults = ", ".join(f"{name} {count}" for name, count in sorted(picture.tally.faults.items())) or "none"
    lines = [f"{name:<14} {value}" for name, value in figures(picture)]
    lines += [f"{'faults done':<14} {faults}", f"{'seed':<14} {seed}"]
    broken = [f"{one.agent} broke the law that {one.law.value}: {one.detail}" for one in picture.violations]
    rest = len(broken) - VIOLATIONS_SHOWN
    return lines + broken[:VIOLATIONS_SHOWN] + ([f"and {rest} more"] if rest > 0 else [])


def summary_json(picture: Picture, seed: int) -> dict[str, object]:
    """Give everything that is known at the end of a run."""
    tally = picture.tally
    return {
        "seed": seed,
        "seconds": round(picture.elapsed, 3),
        "totals": {
            "agents": picture.agents,
            "connected": picture.connected,
            "streams": tally.streams,
            "welcomes": tally.welcomes,
            "offers": tally.offers,
            "acks": tally.acks,
            "nacks": tally.nacks,
            "confirmations": tally.confirmations,
            "farewells": tally.farewells,
            "throttles": tally.throttles,
            "faults": dict(sorted(tally.faults.items())),
        },
        "violations": [{"agent": one.agent, "law": one.law.name, "detail": one.detail} for one in picture.violations],
        "agents": [_agent(report) for report in picture.reports],
    }


def _agent(report: AgentReport) -> dict[str, object]:
    return {
        "name": report.name,
        "deviceId": report.device_id,
        "grade": report.grade,
        "connected": report.connected,
        "revision": report.holding.revision,
        "sha256": report.holding.sha256.hex(),
        "problem": report.problem,
        "faults": dict(sorted(report.faults.items())),
    }
