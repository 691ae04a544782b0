"""What versions before have stored goes through the migrations whole: on SQLite and PostgreSQL."""

import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.migrate import differences, upgrade
from services._chassis.paging import PageRequest
from services.reporting.migrations.versions import m0006_star
from services.reporting.model.attempts import AttemptRecord
from services.reporting.model.events import Batch, datetime_of
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.model.rollups import DAY, start_of
from services.reporting.store import tables
from services.reporting.store.closing import SqlClosing
from services.reporting.store.dimensions import DIMENSIONS
from services.reporting.store.driver import LostError
from services.reporting.store.drivers import driver_of
from services.reporting.store.reports import SqlReports
from services.reporting.store.rollups import CLOSED, ROLLUPS
from tests.builders.counts import KINDS, attempt, check, check_closed, kept, stored
from tests.builders.obstaclesets import check_sets
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch

EVERYTHING = Question(ElevationFilter(), None)
OLD = (
    *("event_id", "attempt_id", "occurred", "user_name", "trigger", "outcome", "source", "managed", "elevation_type"),
    *(
        "policy",
        "rule",
        "result",
        "file_name",
        "internal_name",
        "version",
        "company_name",
        "sha256",
        "publisher",
        "body",
    ),
)
"""The columns of an attempt, before there were numbers for what they hold."""
DRAWN = [
    (user, letter, kind, device, hours)
    for user in "ab"
    for letter in "x\u00e4"
    for kind in KINDS
    for device in ("d1", "d2")
    for hours in (0, 30, 2000)
]


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(empty_database_url, service="reporting")
    yield opened
    await opened.close()


def batches() -> list[Batch]:
    return [batch([attempt(n, one)], device=one[3], first=n) for n, one in enumerate(DRAWN, 1)]


async def upgrade_to(database: Database, folder: Path, last: str) -> None:
    """Run the migrations up to this one."""
    copy_older(folder, last)
    await upgrade(database, versions=folder)


def copy_older(folder: Path, last: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in Path(m0006_star.__file__).parent.glob("*.py"):
        if path.name.removeprefix("m")[:4] <= last:
            shutil.copy(path, folder)


async def insert(database: Database, table: str, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    columns = [sa.column(name, sa.Boolean() if name == "managed" else None) for name in rows[0]]
    async with database.transaction() as tx:
        await tx.execute(sa.insert(sa.table(table, *columns)), rows)


async def stored_before(database: Database) -> None:
    """Store as versions without counts did."""
    sent = batches()
    devices = sorted({one.device_id for one in sent})
    journals = [
        {"journal_key": key, "device_id": device, "journal_id": "journal-1", "high_water": len(DRAWN)}
        for key, device in enumerate(devices, 1)
    ]
    await insert(database, "reporting_journal", journals)
    rows = []
    for one in sent:
        [record] = one.attempts
        about = {"device_id": one.device_id, "device_name": one.device_name, "received": one.received, "stored": 7}
        place = {"journal_key": 1 + devices.index(one.device_id), "seq": record.seq}
        rows.append({name: getattr(record, name) for name in OLD if name in AttemptRecord._fields} | about | place)
    await insert(database, "reporting_attempt", rows)
    async with database.transaction() as tx:
        await tx.raise_revision(6)


async def everything(database: Database) -> dict[str, Any]:
    """Return what is told of each attempt, by its id."""
    page = await SqlReports(database).elevations(EVERYTHING, PageRequest(1000))
    return {elevation.event_id: elevation for elevation in page.items}


async def test_what_was_stored_before_there_were_counts_and_numbers_is_told_as_if_it_came_today(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations" / "versions"
    await upgrade_to(database, folder, "0003")
    await stored_before(database)
    await upgrade_to(database, folder, "0005")
    await upgrade(database)
    assert await differences(database, tables.METADATA) == []
    await check(database)
    told = await everything(database)
    assert {event_id: one.body for event_id, one in told.items()} == {
        one.attempts[0].event_id: one.attempts[0].body for one in batches()
    }
    assert {(one.device_id, one.device_name) for one in told.values()} == {("d1", "name-of-d1"), ("d2", "name-of-d2")}
    attempts = {row["event_id"]: row for row in await stored(database)}
    for sent in batches():
        [record] = sent.attempts
        row = attempts[record.event_id]
        assert {name: row[name] for name in record._fields if name in row} == {
            name: getattr(record, name) for name in record._fields if name in row
        }
        assert row["administrator"] == (not record.managed)


async def test_whoever_counts_on_after_the_migration_counts_with_what_is_there(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations" / "versions"
    await upgrade_to(database, folder, "0003")
    await stored_before(database)
    await upgrade_to(database, folder, "0005")
    await upgrade(database)
    sink = DurableSink.on(database.url)
    more = [attempt(1000 + n, one) for n, one in enumerate([*DRAWN, ("new", "new", "denied", "d1", 2000)])]
    assert await sink.store([batch(more, first=1000), *batches()]) == [()] * (1 + len(DRAWN))
    await sink.close()
    await check(database)
    for dimension in DIMENSIONS:
        async with database.read() as tx:
            digests = (await tx.execute(sa.select(dimension.table.c.digest))).scalars().all()
        assert len(digests) == len(set(digests))


@pytest.mark.parametrize(("version", "asked_for"), [("0007", "names_epoch"), ("0008", "numbers_epoch")])
async def test_a_writer_of_an_older_version_stores_nothing_beside_newer_ones(
    database: Database, tmp_path: Path, version: str, asked_for: str
) -> None:
    asked = f"SELECT {asked_for} FROM reporting_horizon WHERE id = 1"  # noqa: S608 - our own names
    await upgrade_to(database, tmp_path / "migrations" / "versions", version)
    driver = driver_of(database.url)
    driver.begin()
    assert driver.fetch(asked, ()) == [(0,)]
    driver.rollback()
    await upgrade(database)
    driver.begin()
    with pytest.raises(LostError):
        driver.fetch(asked, ())
    driver.rollback()
    driver.close()


async def test_the_days_of_an_older_version_are_closed_one_by_one(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "migrations" / "versions"
    await upgrade_to(database, folder, "0003")
    await stored_before(database)
    await upgrade_to(database, folder, "0008")
    await upgrade(database)
    assert await check_closed(database) == set()
    last = max(one.attempts[0].occurred for one in batches()) // DAY
    await SqlClosing(database, lambda: datetime_of((last + 65) * DAY)).close()
    first = min(one.attempts[0].occurred for one in batches()) // DAY
    assert {start for span, start in await check_closed(database) if span == CLOSED.spans[-1]} == {
        start_of(day, CLOSED.spans[-1]) for day in (first, last)
    }


async def test_days_that_were_closed_before_there_were_sets_are_closed_again(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations" / "versions"
    await upgrade_to(database, folder, "0003")
    await stored_before(database)
    await upgrade_to(database, folder, "0009")
    last = max(one.attempts[0].occurred for one in batches()) // DAY
    async with database.transaction() as tx:
        await tx.execute(sa.update(tables.HORIZON).values(closed_before=last + 1))
    await upgrade(database)
    assert await check_sets(database) == set()
    await SqlClosing(database, lambda: datetime_of((last + 2) * DAY)).close()
    assert (1, last) in await check_sets(database)


async def test_counts_of_days_whose_events_are_gone_stay_and_tell_of_no_rule(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations" / "versions"
    await upgrade_to(database, folder, "0003")
    await stored_before(database)
    await upgrade_to(database, folder, "0005")
    days = sorted({one.attempts[0].occurred // DAY for one in batches()})
    async with database.transaction() as tx:
        await tx.execute(sa.delete(tables.ATTEMPT).where(tables.ATTEMPT.c.occurred < (days[0] + 1) * DAY))
    await upgrade(database)
    whole = await kept(database, ROLLUPS[-1])
    by_day: Counter[int] = Counter()
    rules: dict[int, set[str]] = {day: set() for day in days}
    names = [name for dimension in ROLLUPS[-1].dimensions for name in dimension.columns]
    for cell, attempts in whole.items():
        by_day[cell[1]] += attempts
        rules[cell[1]].add(cell[2 + names.index("rule")])
    assert by_day == Counter(one.attempts[0].occurred // DAY for one in batches())
    assert rules == {days[0]: {""}, days[1]: {"", "setup"}, days[2]: {"", "setup"}}
    assert (await SqlReports(database).summary(EVERYTHING)).total == len(DRAWN)
    for rollup in ROLLUPS[:-1]:
        if not rollup.unmanaged_only:
            assert (await kept(database, rollup)).total() == len(rollup.spans) * len(DRAWN)
