"""Fill a database with a past, day by day: the rows and counts that the sink would make of it, in little time.

The driver, the numbers of names and the counts are the sink's own. What it does for each batch is left out, since all is known
to be new; and indexes are made when the rows are there.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter

import sqlalchemy as sa
from sqlalchemy.engine import URL

from benchmarks.reported.past import (
    APPLICATIONS,
    DEVICES,
    FATES,
    JOURNAL,
    USERS_OF_A_DEVICE,
    Drawn,
    Past,
    body_of,
    device_of,
    file_of,
    rule_of,
    user_of,
)
from services._chassis.db import Database
from services.reporting.store.dimensions import DECISION, DEVICE, FILE, RULE, USER
from services.reporting.store.driver import Driver
from services.reporting.store.known import Known
from services.reporting.store.postgres_driver import PostgresDriver
from services.reporting.store.rollups import COUNTED, Counts
from services.reporting.store.rows import ATTEMPTS, JOURNALS, Row
from services.reporting.store.sqlite_driver import SqliteDriver
from services.reporting.store.tables import ATTEMPT

_COUNTED = itemgetter(*map(ATTEMPTS.columns.index, COUNTED))
_HASTE = ("PRAGMA synchronous=OFF", "PRAGMA cache_size=-2000000")
_RETURNED = "PRAGMA synchronous=FULL"


class _Rows:
    """Turn attempts into rows: every name is known by its number beforehand."""

    def __init__(self, known: Known, journals: Sequence[int]) -> None:
        tools = range(APPLICATIONS + 1)
        self._journals = journals
        self._devices = known.keys_of(DEVICE, [device_of(device) for device in range(DEVICES)])
        self._users = known.keys_of(USER, [(user_of(user),) for user in range(DEVICES * USERS_OF_A_DEVICE)])
        files = [file_of(tool) for tool in tools]
        self._files = known.keys_of(FILE, [tuple(file[name] for name in FILE.columns) for file in files])
        members = [tuple(getattr(fate, name) for name in DECISION.columns) for fate in FATES]
        self._decisions = dict(zip(FATES, known.keys_of(DECISION, members), strict=True))
        self._rules = {fate: known.keys_of(RULE, [rule_of(tool, fate) for tool in tools]) for fate in FATES}
        self._bodies = [body_of(tool) for tool in tools]

    def of(self, day: int, attempts: Sequence[Drawn], stored: int) -> Iterator[Row]:
        """Yield the rows of the attempts of a day."""
        for event_id, time, device, seq, user, tool, fate in attempts:
            place = (self._journals[device], seq, event_id, event_id, time, time, stored, day, self._devices[device])
            keys = (self._users[user], self._files[tool], self._decisions[fate], self._rules[fate][tool])
            yield (*place, *keys, self._bodies[tool])


async def fill(database: Database, past: Past) -> None:
    """Store a past in an empty database."""
    async with without_indexes(database):
        _store(driver_of(database.url), past)


@asynccontextmanager
async def without_indexes(database: Database) -> AsyncIterator[None]:
    """Make the indexes of attempts when what is stored meanwhile is there."""
    async with database.transaction() as tx:
        await tx.connection.run_sync(_indexes, make=False)
    yield
    async with database.transaction() as tx:
        await tx.connection.run_sync(_indexes, make=True)


def driver_of(url: URL) -> Driver:
    """Return the driver with which the sink writes to a database."""
    return PostgresDriver(url) if url.get_backend_name() == "postgresql" else SqliteDriver(url.database or "")


def _indexes(connection: sa.Connection, *, make: bool) -> None:
    for index in ATTEMPT.indexes:
        if make:
            index.create(connection)
        else:
            index.drop(connection)


def _store(driver: Driver, past: Past) -> None:
    if isinstance(driver, SqliteDriver):
        for pragma in _HASTE:
            driver.fetch(pragma, ())
    driver.begin()
    known = Known(driver)
    driver.insert(JOURNALS, [(device_of(device)[0], JOURNAL, 0) for device in range(DEVICES)])
    found = {
        row[0]: int(str(row[1])) for row in driver.fetch("SELECT device_id, journal_key FROM reporting_journal", ())
    }
    rows = _Rows(known, [found[device_of(device)[0]] for device in range(DEVICES)])
    driver.commit()
    counts = Counts(driver, known)
    sent: dict[int, int] = {}
    for number, attempts in enumerate(past.days()):
        driver.begin()
        stored = int(str(driver.fetch("UPDATE reporting_revision SET value = value + 1 RETURNING value", ())[0][0]))
        made = list(rows.of(past.first + number, attempts, stored))
        driver.insert(ATTEMPTS, made)
        counted = sorted(map(_COUNTED, made), key=_BY_USER)
        counts.add(counts.additions(list(zip(*counted, strict=True))))
        driver.commit()
        sent |= {int(str(row[0])): int(str(row[1])) for row in made}
    driver.begin()
    driver.run("UPDATE reporting_journal SET high_water = ? WHERE journal_key = ?", [(v, k) for k, v in sent.items()])
    driver.commit()
    if isinstance(driver, SqliteDriver):
        driver.fetch(_RETURNED, ())
    driver.close()


_BY_USER = itemgetter(COUNTED.index(USER.key), COUNTED.index(FILE.key))
