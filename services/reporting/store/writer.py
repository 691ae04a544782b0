"""The writer: a process of the service's own that stores events, started by `apart` and by nobody else.

- It holds the one connection that writes events. What it knows it knows from its database: it may die at any moment.
- It ends with the process that started it, however that ends: when nothing more comes, once what came is stored; and at once
  when the other end of its socket is gone, whatever it is doing then. What is not committed is rolled back by the database,
  and sent again by devices.
- It ignores the signals that ask the service to end: the service ends it when it has stored what it took in.
"""

import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from threading import Thread

from sqlalchemy.engine import make_url

from services._chassis import logging
from services._chassis.logging import get_logger
from services.reporting.model.events import Batch
from services.reporting.store.drivers import LostError
from services.reporting.store.sink import driver_of
from services.reporting.store.transactions import Transactions
from services.reporting.store.wire import Opening, Verdict, batches_unpacked, receive, send

COLLECTED_AT = (50_000, 20, 50)
"""New objects before a collection: a group alone is some ten thousands, none of which is part of a cycle."""

log = get_logger("reporting.writer")


def main() -> None:
    """Store groups of batches that come over the socket whose number is the one argument."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        Thread(target=_end_with, args=(connection,), daemon=True).start()
        opening = receive(connection)
        if opening is not None:
            gc.freeze()
            gc.set_threshold(*COLLECTED_AT)
            _serve(connection, Opening.unpacked(opening))


def _serve(connection: socket.socket, opening: Opening) -> None:
    os.environ.update(opening.environment)
    logging.configure(level=opening.log_level, as_json=opening.log_as_json)
    driver = driver_of(make_url(opening.url))
    transactions = Transactions(driver)
    while (group := receive(connection)) is not None:
        send(connection, _stored(transactions, group).packed())
    driver.close()


def _stored(transactions: Transactions, group: bytes) -> Verdict:
    batches: Sequence[Batch] = ()
    try:
        batches = batches_unpacked(group)
        rejected = transactions.store(batches)
    except LostError as error:
        log.error("events_not_stored", batches=len(batches), cause=str(error))  # noqa: TRY400 - the cause is not ours
        return Verdict(failure=str(error))
    except Exception:
        # It is this group's alone: were the writer to die of it, all others would wait until the next one has started.
        log.exception("events_not_stored", batches=len(batches))
        return Verdict(failure="internal error")
    return Verdict(transactions.stored, rejected)


def _end_with(connection: socket.socket) -> None:
    """End this process at once when the other end of the connection is gone."""
    gone = select.poll()
    gone.register(connection, 0)  # a hang-up is told unasked; what can be read is not
    gone.poll()
    os._exit(0)


if __name__ == "__main__":
    main()
