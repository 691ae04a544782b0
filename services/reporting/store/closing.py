"""Close days when they are over, one after the other, and make what is kept of the spans that end with them.

- What is made is read in one state of the data and written in short transactions, while events go on coming in; a reader does not
  look at it yet. What came late meanwhile is added, the last of it in the transaction that closes the day, which is as short:
  it alone holds the lock under which the sink counts. From then on the sink itself adds what comes late.
- INVARIANT: a day is closed only if as many attempts were counted of its spans as were read and added: whatever went wrong,
  nothing is closed that is not true.
- Whoever begins a closing takes its number; whoever finds another number than his own leaves off. So of several processes one
  alone writes, and what another one left is removed before.
- Nothing is closed while the wall clock has run ahead of the time that really passed: what comes late is dearer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from services._chassis.db import Database
from services._chassis.logging import get_logger
from services.reporting.model.events import microseconds
from services.reporting.model.rollups import SPANS, Run, day_of, ending, next_closed
from services.reporting.store.closed import MAKERS, Maker, Step
from services.reporting.store.driver import Driver, LostError
from services.reporting.store.drivers import driver_of
from services.reporting.store.retention import MOST_AHEAD
from services.reporting.store.rows import Row
from services.reporting.store.setmaking import COLUMNS, FEW, fold, overdue
from services.reporting.store.unbroken import unbroken

log = get_logger("reporting.closing")
OVER = timedelta(hours=2)
"""How long a day is over when it is closed: by then most of what happened on it has come."""
STEP = 2000
"""Rows of one transaction."""
BREATH = 0.05
"""Seconds between two steps, in which whoever waits for the database has their turn."""
LOCK_TIMEOUT = 2.0
"""Seconds to wait for who holds a lock on PostgreSQL: the end of a service waits for the step that is under way. The next try is
made some minutes later."""
MOST_ROUNDS = 10
FEW_TRANSACTIONS = 3
"""How many transactions that stored events are looked through under the sink's lock."""

_KEYS = ", ".join(COLUMNS[2:-1])
_HOLD = "UPDATE reporting_revision SET value = value WHERE id = 1"
_NEWEST = "SELECT value FROM reporting_revision WHERE id = 1"
# Locked: whoever waits here for another one's closing to end has to find closed what that one closed.
_HORIZON = "UPDATE reporting_horizon SET closings = closings WHERE id = 1 RETURNING closed_before, counts_before"
_COUNTED = "SELECT MIN(start) FROM reporting_count_by_decision WHERE span = 1 AND start >= ?"
_BEGIN = "UPDATE reporting_horizon SET closings = closings + 1 WHERE id = 1 RETURNING closings"
_MINE = "UPDATE reporting_horizon SET closings = closings WHERE id = 1 AND closings = ?"
_CLOSE = "UPDATE reporting_horizon SET closed_before = ? WHERE id = 1"
_TOTAL = (
    "SELECT CAST(COALESCE(SUM(attempts), 0) AS BIGINT) FROM reporting_count_by_decision"
    " WHERE span = 1 AND start >= ? AND start < ?"
)
# Found by the numbers of their transactions: an index by days is none for what is not named as it is.
_LATE = (
    f"SELECT 1, day, {_KEYS}, COUNT(*) FROM reporting_attempt"  # noqa: S608 - our own names
    f" WHERE stored > ? AND day + 0 >= ? AND day + 0 < ? GROUP BY day, {_KEYS}"
)
Done = TypeVar("Done")


class _LeftError(Exception):
    """Say that a closing cannot be ended, and is left to whoever begins the next."""


@dataclass(slots=True)
class _Making:
    """What is made of a span, and of what: everything that was stored up to a transaction."""

    maker: Maker
    run: Run
    as_of: int = 0
    attempts: int = 0

    def clear(self, driver: Driver, step: int) -> int:
        """Remove some of what was left of the span, and return how much that was."""
        table = self.maker.table.name
        keys = ", ".join(column.name for column in self.maker.table.primary_key)
        some = f"SELECT {keys} FROM {table} WHERE span = ? AND start = ? LIMIT ?"  # noqa: S608 - our own names
        statement = f"DELETE FROM {table} WHERE ({keys}) IN ({some})"  # noqa: S608 - our own names
        return driver.run(statement, [(self.run.span, self.run.first, step)])

    def gather(self, driver: Driver, closed: int, step: int) -> Sequence[Step]:
        """Read everything, and return the steps that write it."""
        self.as_of, self.attempts = _newest(driver), self._counted(driver)
        return list(self.maker.gather(driver, self.run, closed, step))

    def late(self, driver: Driver) -> list[Row]:
        """Read what was stored since, and know that it is in from now on."""
        counts = driver.fetch(_LATE, (self.as_of, self.run.first, self.run.before))
        self.as_of = _newest(driver)
        self.attempts += sum(int(str(row[-1])) for row in counts)
        return counts

    def add(self, driver: Driver, counts: Sequence[Row]) -> None:
        """Write what came late."""
        if counts:
            self.maker.add(driver, {self.run: counts})

    def whole(self, driver: Driver) -> bool:
        """Tell whether everything is in that is counted."""
        return self.attempts == self._counted(driver)

    def _counted(self, driver: Driver) -> int:
        return int(str(driver.fetch(_TOTAL, (self.run.first, self.run.before))[0][0]))


@dataclass(frozen=True, slots=True)
class _Closing:
    """The days up to `before` are closed, as those before `closed` are."""

    number: int
    closed: int
    before: int
    makings: Sequence[_Making] = field(default=())


class SqlClosing:
    """Close days on SQLite or PostgreSQL."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        *,
        ahead: Callable[[], timedelta] = timedelta,
        step: int = STEP,
        few: int = FEW,
        lock_timeout: float = LOCK_TIMEOUT,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._now = now
        self._ahead = ahead
        self._size = step
        self._few = few
        self._lock_timeout = lock_timeout
        self._pause = pause

    async def close(self) -> None:
        """Close all days that are over. Raises UnavailableError."""
        if self._ahead() > MOST_AHEAD:
            return
        most = day_of(microseconds(self._now() - OVER))
        driver = driver_of(self._database.url, lock_timeout=self._lock_timeout)
        try:
            while (closing := await self._write(driver, lambda: _begun(driver, most))) is not None:
                await self._make(driver, closing)
                await self._pause(BREATH)
            await self._fold(driver)
        except _LeftError as error:
            log.warning("closing_left", cause=str(error))
        except LostError as error:
            raise self._database.unavailable(str(error)) from error
        finally:
            driver.close()

    async def _fold(self, driver: Driver) -> None:
        for span, start in await _read(driver, partial(overdue, driver, self._few)):
            await self._write(driver, partial(fold, driver, span, start))
            await self._pause(BREATH)

    async def _make(self, driver: Driver, closing: _Closing) -> None:
        for making in closing.makings:
            while await self._step(driver, closing, partial(making.clear, step=self._size)) == self._size:
                await self._pause(BREATH)
            steps = await _read(driver, partial(making.gather, driver, closing.closed, self._size))
            for step in steps:
                await self._step(driver, closing, step)
                await self._pause(BREATH)
        await self._catch_up(driver, closing)
        await self._write(driver, lambda: _ended(driver, closing))
        log.info("days_closed", before=closing.before)

    async def _catch_up(self, driver: Driver, closing: _Closing) -> None:
        """Add what came late, until little is left for the last transaction."""
        for _ in range(MOST_ROUNDS):
            for making in closing.makings:
                counts = await _read(driver, partial(making.late, driver))
                await self._step(driver, closing, partial(making.add, counts=counts))
            newest = await _read(driver, lambda: _newest(driver))
            if all(newest - making.as_of <= FEW_TRANSACTIONS for making in closing.makings):
                return

    async def _step(self, driver: Driver, closing: _Closing, step: Callable[[Driver], Done]) -> Done:
        def fenced() -> Done:
            _assert_mine(driver, closing)
            return step(driver)

        return await self._write(driver, fenced)

    @unbroken
    async def _write(self, driver: Driver, work: Callable[[], Done]) -> Done:
        async with self._database.alone():
            return await asyncio.to_thread(_committed, driver, work)


@unbroken
async def _read(driver: Driver, work: Callable[[], Done]) -> Done:
    """Read in one state of the data."""
    return await asyncio.to_thread(_committed, driver, work, snapshot=True)


def _committed(driver: Driver, work: Callable[[], Done], *, snapshot: bool = False) -> Done:
    committed = False
    try:
        driver.begin(snapshot=snapshot)
        done = work()
        driver.commit()
        committed = True
    finally:
        if not committed:
            driver.rollback()
    return done


def _begun(driver: Driver, most: int) -> _Closing | None:
    """Begin to close what is next; None where nothing is."""
    closed, kept = (int(str(number)) for number in driver.fetch(_HORIZON, ())[0])
    before = _next(driver, closed)
    if before is None or before > most:
        return None
    number = int(str(driver.fetch(_BEGIN, ())[0][0]))
    # Of a span that begins before what is kept a part is gone, or about to go: nobody reads it.
    makings = [
        _Making(maker, run)
        for run in ending(before, SPANS)
        for maker in MAKERS
        if run.span in maker.spans and run.first >= kept
    ]
    return _Closing(number, closed, before, makings)


def _next(driver: Driver, closed: int) -> int | None:
    counted = driver.fetch(_COUNTED, (closed,))[0][0]
    return next_closed(closed, None if counted is None else int(str(counted)))


def _ended(driver: Driver, closing: _Closing) -> None:
    driver.run(_HOLD, [()])
    _assert_mine(driver, closing)
    if _next(driver, closing.closed) != closing.before:
        raise _LeftError("something came of a day that was passed over")
    for making in closing.makings:
        making.add(driver, making.late(driver))
        if not making.whole(driver):
            raise _LeftError("other attempts are counted than were read")
    driver.run(_CLOSE, [(closing.before,)])


def _assert_mine(driver: Driver, closing: _Closing) -> None:
    if not driver.run(_MINE, [(closing.number,)]):
        raise _LeftError("another process closes the same days")


def _newest(driver: Driver) -> int:
    return int(str(driver.fetch(_NEWEST, ())[0][0]))
