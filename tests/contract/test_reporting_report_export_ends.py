"""Exports of reports end where they must, and hold nobody up: on both databases."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.snapshots import MOST_LARGE, SqlSnapshots
from tests.builders.publishing import Publisher, attempts, publishing, rest
from tests.builders.refusals import refusal_of
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, decided

LARGE = "x" * 200_000


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Publisher]:
    async with publishing(database_url, tmp_path) as made:
        yield made


async def test_a_right_that_is_lost_ends_the_file(office: Publisher) -> None:
    await office.sink.store([batch([decided(number, reason=LARGE) for number in range(1, 101)])])
    call = office.begin(office.reader("leaver"))
    await call.read()
    office.access.take_away("user:leaver")
    refusal = await refusal_of(rest(call))
    assert refusal.code == "PERMISSION_DENIED"


async def test_only_so_many_exports_run_at_once_and_fewer_for_one(office: Publisher) -> None:
    await office.sink.store([batch([decided(number, reason=LARGE) for number in range(1, 101)])])
    one, other = office.reader("one"), office.reader("other")
    running = [office.begin(one), office.begin(one)]
    for call in running:
        await call.read()
    refusal = await refusal_of(rest(office.begin(one)))
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_EXPORTS")
    running.append(office.begin(other))
    await running[-1].read()
    assert (await refusal_of(rest(office.begin(office.reader("third"))))).reason == "TOO_MANY_EXPORTS"
    for call in running:
        call.cancel()
    await office.files.guests.idle()
    assert len(attempts(b"".join(piece.data for piece in await rest(office.begin(one))))) == 100


async def test_a_caller_that_takes_nothing_is_sent_away_and_holds_nobody_up(database_url: str, tmp_path: Path) -> None:
    async with publishing(database_url, tmp_path, patience=0.5) as office:
        await _taking_nothing(office)


async def _taking_nothing(office: Publisher) -> None:
    await office.sink.store([batch([decided(number, reason=LARGE) for number in range(1, 101)])])
    hung = office.begin(office.reader())
    await hung.read()
    assert office.files.guests.number == 1
    await office.sink.store([batch([decided(200)], device="d2")])
    await office.files.guests.idle()
    assert office.files.guests.number == 0
    assert (await refusal_of(rest(hung))).reason == "EXPORT_STALLED"


async def test_a_caller_that_hangs_holds_no_transaction_open(office: Publisher) -> None:
    await office.sink.store([batch([decided(number, reason=LARGE) for number in range(1, 101)])])
    hung = office.begin(office.reader())
    await hung.read()
    await office.sink.store([batch([decided(200)], device="d2")])
    if office.database.on_postgresql:
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        await _until(office.database, asked, (0,))
    else:
        # Nobody reads an old state of the data: the log can be written back whole, and emptied.
        await _until(office.database, "PRAGMA wal_checkpoint(TRUNCATE)", (0, 0, 0))
    assert office.files.guests.number == 1
    hung.cancel()


async def _until(database: Database, statement: str, expected: tuple[int, ...]) -> None:
    """Ask again until the answer is as expected: the export has come to wait for its caller."""
    async with asyncio.timeout(20), database.engine.connect() as connection:
        own = await connection.execution_options(isolation_level="AUTOCOMMIT")
        while tuple((await own.exec_driver_sql(statement)).one()) != expected:
            pass


async def test_large_attempts_are_read_few_at_a_time(database_url: str) -> None:
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    sink = DurableSink.on(database.url)
    await sink.store([batch([decided(number, reason=LARGE) for number in range(1, 1301)])])
    snapshots = SqlSnapshots(database)
    asked = Question(ElevationFilter(), None)
    begun = await snapshots.begin(asked)
    sizes, after = [], None
    while page := await snapshots.page(asked, begun, after, newest_first=False):
        sizes.append(len(page.body))
        assert all(len(body) > len(LARGE) for body in page.body)
        after = page
    assert sum(sizes) == begun.total == 1300
    assert max(sizes) == MOST_LARGE
    await sink.close()
    await database.close()


async def test_the_end_of_the_process_sends_everybody_away(office: Publisher) -> None:
    await office.sink.store([batch([decided(number, reason=LARGE) for number in range(1, 101)])])
    call = office.begin(office.reader())
    await call.read()
    await office.files.close()
    refusal = await refusal_of(rest(call))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DRAINING")
