"""Wait until something happens or enough time has passed, whichever comes first."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from agent_stub.ports import Delays

T = TypeVar("T")


async def pause_until(event: asyncio.Event, delays: Delays, seconds: float) -> None:
    """Pause that long, or until the event is set."""
    await within(event.wait(), delays, seconds)


async def within(awaited: Awaitable[T], delays: Delays, seconds: float) -> T | None:
    """Give what is awaited; None, and give it up, where it takes longer than that."""
    task = asyncio.ensure_future(awaited)
    pause = asyncio.create_task(delays.pause(seconds))
    try:
        await asyncio.wait({task, pause}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, pause):
            one.cancel()
        await asyncio.gather(task, pause, return_exceptions=True)
