"""Promises of a writer that commits in groups: kept after the commit, or broken for everyone in the group."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from services._chassis.errors import UnavailableError

Kept = TypeVar("Kept")


async def keep(
    promises: Sequence["asyncio.Future[Kept]"], commit: Awaitable[Sequence[Kept | Exception]], broken: UnavailableError
) -> None:
    """Keep the promises with what the commit returns, in its order; an error breaks that promise alone.

    INVARIANT: none is kept before the commit. UnavailableError goes to everyone who waits; after any other failure they are
    told `broken`, and it is raised.
    """
    try:
        answers = await commit
    except UnavailableError as error:
        break_all(promises, error)
    except BaseException:
        break_all(promises, broken)
        raise
    else:
        for promise, answer in zip(promises, answers, strict=True):
            if promise.done():
                continue
            if isinstance(answer, Exception):
                promise.set_exception(answer)
            else:
                promise.set_result(answer)


def break_all(promises: Iterable["asyncio.Future[Kept]"], error: UnavailableError) -> None:
    """Tell everyone who still waits that nothing was kept."""
    for promise in promises:
        if not promise.done():
            promise.set_exception(error)
