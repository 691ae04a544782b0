"""The writer: a process of the service's own that stores events, started by `apart` and by nobody else.

- It holds the one connection that writes events. What it knows it knows from its database: it may die at any moment.
- While a group is stored the next one is received, read and prepared: the database never waits for that.
- INVARIANT: where a group is not stored, none is that was sent before the service heard of it.
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
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Thread

from sqlalchemy.engine import make_url

from services._chassis import logging
from services._chassis.logging import get_logger
from services.reporting.store.driver import LostError
from services.reporting.store.drivers import driver_of
from services.reporting.store.transactions import Prepared, Transactions
from services.reporting.store.wire import Group, Opening, Verdict, receive, send

COLLECTED_AT = (50_000, 20, 50)
"""New objects before a collection: a group alone is some ten thousands, none of which is part of a cycle."""

INTERPRETER_HELD = 0.0005
"""Seconds for which a thread keeps the interpreter that another one wants: whoever prepares the next group must not hold up the
one that stores, which gives the interpreter away in every statement."""

Work = tuple[Group, Future[Prepared | None]]
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
            sys.setswitchinterval(INTERPRETER_HELD)
            _serve(connection, Opening.unpacked(opening))


def _serve(connection: socket.socket, opening: Opening) -> None:
    os.environ.update(opening.environment)
    logging.configure(level=opening.log_level, as_json=opening.log_as_json)
    driver = driver_of(make_url(opening.url), of_writer=True)
    transactions, failures = Transactions(driver), 0
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as preparing:
        upcoming = reading.submit(_read, connection, transactions, preparing)
        while (work := upcoming.result()) is not None:
            upcoming = reading.submit(_read, connection, transactions, preparing)
            verdict = _verdict(transactions, *work, failures)
            failures = verdict.failures
            send(connection, verdict.packed())
    driver.close()


def _read(connection: socket.socket, transactions: Transactions, preparing: Executor) -> Work | None:
    """Read the next group and have it prepared; None where no more comes."""
    content = receive(connection)
    if content is None:
        return None
    group = Group.unpacked(content)
    return group, preparing.submit(transactions.prepare, group.batches)


def _verdict(transactions: Transactions, group: Group, prepared: Future[Prepared | None], failures: int) -> Verdict:
    if group.failures != failures:
        return Verdict(failure="what was handed over before failed", failures=failures)
    try:
        rejected = transactions.store(group.batches, prepared.result())
    except LostError as error:
        log.error("events_not_stored", batches=len(group.batches), cause=str(error))  # noqa: TRY400 - the cause is not ours
        return Verdict(failure=str(error), failures=failures + 1)
    except Exception:
        # Whether it came up when the group was prepared or now, it is this group's alone: were the writer to die of it, all
        # others would wait until the next one has started.
        log.exception("events_not_stored", batches=len(group.batches))
        return Verdict(failure="internal error", failures=failures + 1)
    return Verdict(transactions.stored, rejected, failures=failures)


def _end_with(connection: socket.socket) -> None:
    """End this process at once when the other end of the connection is gone."""
    gone = select.poll()
    gone.register(connection, 0)  # a hang-up is told unasked; what can be read is not
    gone.poll()
    os._exit(0)


if __name__ == "__main__":
    main()
