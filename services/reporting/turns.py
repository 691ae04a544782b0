"""How many questions about attempts are worked on at once: few of one principal, and not many in all.

Each may read for seconds and takes a connection to the database for that time; others need connections too. Who asks too much
at once waits for a while, and is told to come back where that does not help; nobody else is.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import wraps
from typing import Any, Protocol, TypeVar

import grpc.aio

from services._chassis.caller import current_caller
from services._chassis.errors import LimitError
from services._chassis.guests import Full, Places

OF_ALL = 10
"""Half the connections that a process has at most."""

OF_ONE = 4
"""A console asks a few questions for one page."""

PATIENCE = 5.0
"""Seconds that a question waits for its turn: most reports take less."""


class Turns:
    """Count what is worked on."""

    def __init__(self, *, of_all: int = OF_ALL, of_one: int = OF_ONE, patience: float = PATIENCE) -> None:
        full = Full(
            reason="TOO_MANY_QUESTIONS",
            of_all=f"{of_all} questions about attempts are being answered; ask again when one of them is",
            of_one=f"{of_one} questions of yours about attempts are being answered; ask again when one of them is",
            retry_after=timedelta(seconds=1),
        )
        self._places = Places(of_all, of_one, full)
        self._patience = patience
        self._left = asyncio.Event()

    @asynccontextmanager
    async def taken(self, principal: str) -> AsyncIterator[None]:
        """Have a turn for the time of a block. Raises LimitError where none comes in time."""
        try:
            with ExitStack() as held:
                await self._wait(held, principal)
                yield
        finally:
            self._left.set()
            self._left = asyncio.Event()

    async def _wait(self, held: ExitStack, principal: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while True:
                    with suppress(LimitError):
                        held.enter_context(self._places.entered(principal))
                        return
                    await self._left.wait()
        held.enter_context(self._places.entered(principal))


class InTurns(Protocol):
    """A servicer whose questions wait for their turn."""

    turns: Turns


Servicer = TypeVar("Servicer", bound=InTurns)
Request = TypeVar("Request")
Answer = TypeVar("Answer")
Context = grpc.aio.ServicerContext[Any, Any]


def in_turn(
    answer: Callable[[Servicer, Request, Context], Awaitable[Answer]],
) -> Callable[[Servicer, Request, Context], Coroutine[Any, Any, Answer]]:
    """Let the caller of a method have a turn before it is answered."""

    @wraps(answer)
    async def answered(self: Servicer, request: Request, context: Context) -> Answer:
        async with self.turns.taken(current_caller().principal):
            return await answer(self, request, context)

    return answered
