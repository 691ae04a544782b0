"""Background work that must not die: each worker runs in a supervised loop."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger

log = get_logger("workers")


@dataclass(frozen=True, slots=True)
class Worker:
    """Name a coroutine function that runs as long as the service does; one that returns is done."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Wait a random time, up to a bound that doubles with every failure in a row (full jitter)."""

    base: float = 0.5
    cap: float = 30.0
    choose: Callable[[float, float], float] = random.uniform

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row."""
        return self.choose(0.0, min(self.cap, self.base * 2 ** min(failures, 16)))


def _never() -> bool:
    return False


async def supervise(
    worker: Worker,
    *,
    backoff: Backoff = Backoff(),
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    healthy_after: float = 60.0,
    ending: Callable[[], bool] = _never,
) -> None:
    """Run the worker until it returns or is cancelled; start it again whenever it fails.

    Once the process is `ending`, a peer that is away is no news: in one process all services end together.
    """
    clock = asyncio.get_running_loop().time
    failures = 0
    while True:
        started = clock()
        try:
            await worker.run()
        except Exception as error:  # noqa: BLE001 - the supervised loop: a worker must not die of a surprise
            failures = 0 if clock() - started >= healthy_after else failures + 1
            if not (ending() and isinstance(error, UnavailableError)):
                _report(worker.name, error, failures)
            await pause(backoff.delay(failures))
        else:
            return


def _report(name: str, error: Exception, failures: int) -> None:
    if isinstance(error, UnavailableError):
        log.warning("worker_waits", worker=name, error=str(error), failures=failures)
    else:
        log.error("worker_failed", worker=name, failures=failures, exc_info=error)
