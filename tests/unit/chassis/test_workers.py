"""Background work that does not die."""

import asyncio
from collections.abc import Callable

import pytest
import structlog

from services._chassis.errors import UnavailableError
from services._chassis.workers import Backoff, Worker, supervise

SURE = Backoff(base=1.0, cap=30.0, choose=lambda _low, high: high)


class Pauses:
    """Note how long a supervisor would have waited."""

    def __init__(self) -> None:
        self.lengths: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.lengths.append(seconds)


def failing(times: int, error: Callable[[], Exception]) -> Worker:
    """Return a worker that fails so often and then is done."""
    left = times

    async def run() -> None:
        nonlocal left
        if left:
            left -= 1
            raise error()

    return Worker("test", run)


async def test_a_worker_that_returns_is_done() -> None:
    pauses = Pauses()
    await supervise(failing(0, RuntimeError), pause=pauses)
    assert pauses.lengths == []


async def test_a_worker_that_fails_is_started_again_after_ever_longer_pauses() -> None:
    pauses = Pauses()
    await supervise(failing(7, RuntimeError), backoff=SURE, pause=pauses)
    assert pauses.lengths == [2, 4, 8, 16, 30, 30, 30]


async def test_a_worker_that_ran_well_for_a_while_starts_with_short_pauses_again() -> None:
    pauses = Pauses()
    await supervise(failing(3, RuntimeError), backoff=SURE, pause=pauses, healthy_after=0.0)
    assert pauses.lengths == [1, 1, 1]


async def test_cancelling_ends_a_worker() -> None:
    started = asyncio.Event()

    async def run() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(supervise(Worker("test", run)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_peer_that_is_away_is_a_warning_and_a_surprise_an_error_with_its_traceback() -> None:
    with structlog.testing.capture_logs() as logs:
        await supervise(failing(1, lambda: UnavailableError("away")), pause=Pauses())
        await supervise(failing(1, lambda: RuntimeError("odd")), pause=Pauses())
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("worker_waits", "warning"),
        ("worker_failed", "error"),
    ]
    assert isinstance(logs[1]["exc_info"], RuntimeError)


async def test_a_process_that_ends_does_not_warn_of_peers_that_end_with_it() -> None:
    with structlog.testing.capture_logs() as logs:
        await supervise(failing(1, lambda: UnavailableError("away")), pause=Pauses(), ending=lambda: True)
        await supervise(failing(1, lambda: RuntimeError("odd")), pause=Pauses(), ending=lambda: True)
    assert [line["event"] for line in logs] == ["worker_failed"]


def test_a_pause_is_chosen_at_random_up_to_a_bound_that_stays_finite() -> None:
    bounds: list[tuple[float, float]] = []

    def choose(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    backoff = Backoff(base=0.5, cap=30.0, choose=choose)
    assert [backoff.delay(failures) for failures in (0, 1, 3, 10_000)] == [0.0] * 4
    assert bounds == [(0.0, 0.5), (0.0, 1.0), (0.0, 4.0), (0.0, 30.0)]
