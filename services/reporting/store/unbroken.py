"""Finish short work with the database though whoever asked for it has gone: what is cut off there leaves its connection open."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def unbroken(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a cancellation of this work wait until it is done."""

    @wraps(work)
    async def whole(*arguments: P.args, **named: P.kwargs) -> T:
        task = asyncio.ensure_future(work(*arguments, **named))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    return whole
