"""Hand files of reports over: as fast as the caller takes them, and in bounded memory.

- One piece is read ahead while another is written; then everything waits for the caller. Nothing is held in the database
  meanwhile, and encoding runs in a thread, so that a caller that hangs costs the memory of two reads and no intake.
- Only so many exports run at a time, and fewer for one principal. A caller that takes nothing for a minute is sent away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from services._chassis.errors import InvalidError, Problem, UnavailableError
from services._chassis.guests import Full, Places
from services._chassis.ordering import read_order
from services.reporting.reportexport.ahead import ahead
from services.reporting.reportexport.forms import Form, form_of
from services.reporting.reportexport.walks import Order, Piece, Walk
from services.reporting.usecases import problems_of

MOST_EXPORTS = 4
"""Exports of one process."""

MOST_OF_ONE = 2
"""Exports of one principal."""

PATIENCE = 60.0
"""Seconds that a caller may take over one message."""

LARGEST_MESSAGE = 1024 * 1024
"""Bytes of a file in one message."""


@dataclass(frozen=True, slots=True)
class Portion:
    """A piece of a file, and how far the file is with it."""

    data: bytes
    written: int
    total: int


Write = Callable[[Portion], Awaitable[object]]


class ReportExports:
    """Write reports as files for several callers."""

    def __init__(
        self,
        walks: Mapping[str, Walk],
        *,
        most: int = MOST_EXPORTS,
        most_of_one: int = MOST_OF_ONE,
        patience: float = PATIENCE,
    ) -> None:
        self._walks = walks
        self._patience = patience
        full = Full(
            reason="TOO_MANY_EXPORTS",
            of_all=f"{most} exports run already; try again when one of them has ended",
            of_one=f"you have {most_of_one} exports running already; try again when one of them has ended",
        )
        self._places = Places(most, most_of_one, full)
        self.guests = self._places.guests
        self._closed = False

    async def close(self) -> None:
        """Send everybody away, because this process ends."""
        self._closed = True

    async def serve(self, principal: str, order: Order, write: Write) -> None:
        """Hand a file over.

        Raises InvalidError with everything that is wrong with the order; LimitError; DeniedError once the right is gone; UnavailableError
        where the caller takes nothing, and where this process ends.
        """
        walk = self._checked(order)
        with self._places.entered(principal):
            file = await asyncio.to_thread(form_of, order.form, walk.fields)
            total = 0
            async with aclosing(walk.pieces(order)) as pieces, aclosing(ahead(pieces)) as read:
                async for piece in read:
                    self._stay()
                    total = piece.total
                    data = await asyncio.to_thread(_written, file, piece)
                    order.tags()
                    await self._hand_over(data, file.written, total, write)
            await self._hand_over(await asyncio.to_thread(file.end), file.written, total, write)

    def _checked(self, order: Order) -> Walk:
        """Return how to walk over the report that is asked for. Raises InvalidError with everything that is wrong."""
        walk = self._walks.get(order.report)
        problems = [*order.problems, *problems_of(order.question)]
        asked = None if walk is None else read_order(order.order_by, walk.orders)
        if isinstance(asked, Problem):
            problems.append(asked)
        if walk is None or problems:
            raise InvalidError(problems)
        return walk

    async def _hand_over(self, data: bytes, written: int, total: int, write: Write) -> None:
        for start in range(0, max(len(data), 1), LARGEST_MESSAGE):
            portion = Portion(data[start : start + LARGEST_MESSAGE], written, total)
            try:
                async with asyncio.timeout(self._patience):
                    await write(portion)
            except TimeoutError as error:
                told = "the caller takes nothing any more; export again"
                raise UnavailableError(told, reason="EXPORT_STALLED") from error

    def _stay(self) -> None:
        if self._closed:
            raise UnavailableError("the server is about to end; export again", reason="DRAINING")


def _written(file: Form, piece: Piece) -> bytes:
    return file.write(piece.read())
