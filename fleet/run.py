"""Run a fleet: processes with equal shares, one picture of all of them, and a summary at the end."""

import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Protocol

from fleet.model import AgentReport, Planned, Progress, Tally, Violation
from fleet.worker import CALM, GO, STOP, Share, work

LOOK_EVERY = 0.2
END_PATIENCE = 30.0
"""Seconds that a process may take to end after it was told to."""


class RunError(Exception):
    """A process of the fleet broke; its own traceback stands above on standard error."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to run."""

    state_dir: Path
    numbers: tuple[int, ...]
    faithful: int
    planned: tuple[Planned, ...]
    calm_after: timedelta
    duration: timedelta
    processes: int
    ramp: timedelta
    longest_wait: timedelta
    seed: int
    check_in: bool


@dataclass(slots=True)
class Picture:
    """How the whole fleet is."""

    elapsed: float = 0.0
    agents: int = 0
    connected: int = 0
    calm: bool = False
    revisions: Counter[int] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    violations: list[Violation] = field(default_factory=list)
    reports: list[AgentReport] = field(default_factory=list)


class Screen(Protocol):
    """Where a run shows how it is."""

    def show(self, picture: Picture) -> None:
        """Show the fleet as it is; called several times a second."""
        ...


def run(order: Order, screen: Screen) -> Picture:
    """Run until the duration is over or a signal comes: SIGUSR1 ends the faults, SIGTERM and SIGINT the run."""
    words: list[str] = []
    with _signals(words), _processes(order) as (workers, ears):
        fleet = _Fleet(ears)
        fleet.hear_from_all(workers)
        fleet.say(GO)
        began = time.monotonic()
        while STOP not in words and (elapsed := time.monotonic() - began) < order.duration.total_seconds():
            fleet.hear(LOOK_EVERY)
            _check(workers)
            if CALM in words:
                words.remove(CALM)
                fleet.say(CALM)
            screen.show(fleet.picture(elapsed))
        fleet.say(STOP)
        fleet.hear_the_last(workers)
        return fleet.picture(time.monotonic() - began)


class _Fleet:
    """The processes, as the one hears them that started them."""

    def __init__(self, ears: Sequence[Connection]) -> None:
        self._ears = list(ears)
        self._newest: dict[Connection, Progress] = {}
        self._violations: list[Violation] = []

    def say(self, word: str) -> None:
        for ear in self._ears:
            ear.send(word)

    def hear(self, patience: float) -> None:
        for ear in wait(self._ears, patience):
            if isinstance(ear, Connection):
                self._take(ear)

    def hear_from_all(self, workers: Sequence[BaseProcess]) -> None:
        while len(self._newest) < len(self._ears):
            self.hear(LOOK_EVERY)
            _check(workers)

    def hear_the_last(self, workers: Sequence[BaseProcess]) -> None:
        end = time.monotonic() + END_PATIENCE
        while not all(progress.reports for progress in self._newest.values()):
            self.hear(LOOK_EVERY)
            if time.monotonic() > end:
                raise RunError("a process of the fleet did not tell how it ended")
            _check(workers)

    def picture(self, elapsed: float) -> Picture:
        whole = Picture(elapsed=elapsed, violations=list(self._violations), calm=True)
        for progress in self._newest.values():
            whole.agents += progress.agents
            whole.connected += progress.connected
            whole.calm = whole.calm and progress.calm
            whole.revisions.update(progress.revisions)
            whole.tally.add(progress.tally)
            whole.reports += progress.reports
        whole.reports.sort(key=lambda report: report.name)
        return whole

    def _take(self, ear: Connection) -> None:
        try:
            progress = ear.recv()
        except EOFError:
            self._ears.remove(ear)
            return
        if isinstance(progress, Progress):
            self._newest[ear] = progress
            self._violations += progress.violations


def _check(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        if worker.exitcode:
            raise RunError(f"a process of the fleet ended with {worker.exitcode}")


@contextmanager
def _processes(order: Order) -> Iterator[tuple[list[BaseProcess], list[Connection]]]:
    # gRPC does not live on in a forked process.
    context = multiprocessing.get_context("spawn")
    workers: list[BaseProcess] = []
    ears: list[Connection] = []
    try:
        for part in range(min(order.processes, len(order.numbers))):
            ear, mouth = context.Pipe()
            worker: BaseProcess = context.Process(target=work, args=(_share(order, part), mouth), daemon=True)
            worker.start()
            mouth.close()
            workers.append(worker)
            ears.append(ear)
        yield workers, ears
    finally:
        for ear in ears:
            ear.close()
        for worker in workers:
            worker.join(END_PATIENCE)
            if worker.is_alive():
                worker.kill()


def _share(order: Order, part: int) -> Share:
    numbers = order.numbers[part :: order.processes]
    own = frozenset(numbers)
    return Share(
        state_dir=order.state_dir,
        numbers=numbers,
        faithful=order.faithful,
        planned=tuple(planned for planned in order.planned if planned.agent in own),
        calm_after=order.calm_after.total_seconds(),
        ramp=order.ramp.total_seconds(),
        longest_wait=order.longest_wait.total_seconds(),
        seed=order.seed,
        check_in=order.check_in,
    )


@contextmanager
def _signals(words: list[str]) -> Iterator[None]:
    def note(number: int, frame: FrameType | None) -> None:
        del frame
        words.append(CALM if number == signal.SIGUSR1 else STOP)

    before = {number: signal.signal(number, note) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
