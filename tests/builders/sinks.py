"""A sink in the tests' own process: what the service's writer does in a process of its own, in a thread instead."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from sqlalchemy.engine import URL

from services._chassis.logging import get_logger
from services.reporting.model.backlog import not_stored
from services.reporting.model.events import Batch, Rejection
from services.reporting.store.driver import Driver, LostError
from services.reporting.store.drivers import driver_of
from services.reporting.store.transactions import Transactions

Done = TypeVar("Done")

log = get_logger("reporting.sink")


class DurableSink:
    """Store events on a raw driver, in a thread of its own; `announce` is told the number of what was stored last."""

    def __init__(self, driver: Driver, announce: Callable[[int], None] = lambda _stored: None) -> None:
        self._driver = driver
        self._announce = announce
        self._transactions = Transactions(driver)
        self._thread = InOrder("reporting-sink")

    @classmethod
    def on(cls, url: URL, announce: Callable[[int], None] = lambda _stored: None) -> "DurableSink":
        """Return the sink for the database at this URL."""
        return cls(driver_of(url), announce)

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        """Commit the batches as one and return what was rejected of each.

        Raises UnavailableError where not everything is durable; what is nevertheless is passed over when it comes again.
        """
        try:
            answers = await self._thread.do(partial(self._transactions.store, batches))
        except LostError as error:
            log.error("events_not_stored", batches=len(batches), cause=str(error))  # noqa: TRY400 - the cause is not ours
            raise not_stored() from error
        self._announce(self._transactions.stored)
        return answers

    async def close(self) -> None:
        """Wait for the transaction that is running and close the connection."""
        await self._thread.end(self._driver.close)


class InOrder:
    """A thread for what must keep its order.

    INVARIANT: where a piece fails, none is begun that was handed over before whoever hands over could know of that.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._failures = 0
        """How many pieces failed: the thread's count."""
        self._known = 0
        """How many of those are known where pieces are handed over."""

    async def do(self, work: Callable[[], Done]) -> Done:
        """Do the work and return what it does. Raises what it raises; LostError where it was not begun."""
        loop, known = asyncio.get_running_loop(), self._known

        def in_turn() -> Done:
            if known != self._failures:
                raise LostError("what was handed over before failed")
            with ExitStack() as failing:
                # Before the failure itself is told, and whether or not anybody still waits for it.
                failing.callback(self._failed, loop)
                done = work()
                failing.pop_all()
            return done

        return await loop.run_in_executor(self._thread, in_turn)

    async def end(self, work: Callable[[], None]) -> None:
        """Do the last piece of work, whatever failed before."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown()

    def _failed(self, loop: asyncio.AbstractEventLoop) -> None:
        self._failures += 1
        loop.call_soon_threadsafe(self._learn, self._failures)

    def _learn(self, failures: int) -> None:
        self._known = failures
