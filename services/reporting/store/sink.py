"""Store events from where nothing may wait: in a thread of this process, or in a process of its own (`writer`, by `apart`)."""

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy.engine import URL

from services._chassis.logging import get_logger
from services.reporting.model.backlog import not_stored
from services.reporting.model.events import Batch, Rejection
from services.reporting.store.drivers import Driver, LostError, PostgresDriver, SqliteDriver
from services.reporting.store.inorder import InOrder
from services.reporting.store.transactions import Transactions

log = get_logger("reporting.sink")


def driver_of(url: URL) -> Driver:
    """Return the driver for the database at this URL."""
    return PostgresDriver(url) if url.get_backend_name() == "postgresql" else SqliteDriver(url.database or "")


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
