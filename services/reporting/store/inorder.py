"""Do work in a thread, one piece after the other, of which none is done behind one that failed."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from services.reporting.store.drivers import LostError

Done = TypeVar("Done")


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
