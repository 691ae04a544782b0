"""Show a rollout while it happens: a bar that is drawn over and over on a terminal, a line for each change elsewhere."""

import shutil
from types import TracebackType
from typing import Final, Self

import click

from epm.policy.v1 import rollouts_pb2
from epmctl.output import to_json, whole_seconds
from epmctl.plain import to_plain

_BAR: Final = 30


class RolloutDisplay:
    """Print one rollout after the other; on a terminal (`live`) each takes the place of the one before."""

    def __init__(self, *, output: str, live: bool) -> None:
        self._json = output == "json"
        self._live = live and not self._json
        self._shown = ""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last bar standing on a line of its own."""
        if self._live and self._shown:
            click.echo()

    def show(self, rollout: rollouts_pb2.Rollout) -> None:
        """Print a rollout."""
        if self._json:
            click.echo(to_json(to_plain(rollout)))
        elif self._live:
            width = shutil.get_terminal_size().columns - 1
            line = f"{bar(rollout)} {counts(rollout)}"[:width]
            click.echo(f"\r{line:<{len(self._shown)}}", nl=False)
            self._shown = line
        elif (line := counts(rollout)) != self._shown:
            self._shown = line
            click.echo(f"{whole_seconds(rollout.time.ToJsonString())} revision {rollout.subject.revision}: {line}")


def bar(rollout: rollouts_pb2.Rollout) -> str:
    """Draw how much is done: `#` applied, `!` rejected, `>` offered, `.` pending; whatever there is gets a mark."""
    parts = (("#", rollout.applied), ("!", rollout.rejected), (">", rollout.offered), (".", rollout.pending))
    total = max(rollout.targeted, 1)
    marks = {mark: max(count * _BAR // total, 1 if count else 0) for mark, count in parts}
    largest = max(marks, key=lambda mark: marks[mark])
    marks[largest] += (_BAR if rollout.targeted else 0) - sum(marks.values())
    return f"[{''.join(mark * number for mark, number in marks.items()):<{_BAR}}]"


def counts(rollout: rollouts_pb2.Rollout) -> str:
    """Say in a line how many devices are how far."""
    others = ("pending", "offered", "rejected", "stale", "offline", "leaving")
    said = [f"{rollout.applied} of {rollout.targeted} applied"]
    said += [f"{number} {name}" for name in others if (number := getattr(rollout, name))]
    return ", ".join(said)


def shortfall(rollout: rollouts_pb2.Rollout) -> str:
    """Say what is missing until every device has applied the policy; empty: nothing."""
    waiting = rollout.pending + rollout.offered
    said = [f"{rollout.rejected} rejected it"] if rollout.rejected else []
    said += [f"{waiting} not there yet"] if waiting else []
    return f"{rollout.targeted} devices, {', '.join(said)}" if said else ""
