"""A sink with a process of its own promises what every sink does: the same suite, and what becomes of that process."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import types
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from services._chassis.clock import SystemClock
from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services.reporting.model.events import Batch
from services.reporting.store import tables
from services.reporting.store.apart import LEAST_REST, SinkApart
from tests.builders.locks import waiting_for_a_lock
from tests.builders.reporting_database import reporting_database
from tests.builders.writers import opening_of, shown, sink_on, wait_for_end, writers_of
from tests.contract.test_reporting_sink import *  # noqa: F403 - each of its tests is one here
from tests.fakes.reporting import batch, decided
from tests.postgres import Cluster

STARTED_BY_ANOTHER = """
import asyncio, sys
from sqlalchemy.engine import make_url
from services._chassis import logging
from tests.builders.writers import sink_on
from tests.fakes.reporting import batch, decided

async def main():
    sink = sink_on(make_url(sys.argv[1]))
    await sink.store([batch([decided(1)])])
    print("stored", flush=True)
    await asyncio.Event().wait()

logging.configure()
asyncio.run(main())
"""


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Let the suite run on SQLite alone: what the process does is the same, and starting one takes a while."""
    return f"sqlite:///{tmp_path / 'reporting.db'}"


@pytest.fixture
async def sink(database: Database) -> AsyncIterator[SinkApart]:
    opened = sink_on(database.url)
    yield opened
    await opened.close()


async def counted(database: Database) -> tuple[int, int]:
    """Return how many attempts are stored, and how many are counted."""
    async with database.read() as tx:
        stored = (await tx.execute(sa.select(sa.func.count()).select_from(tables.ATTEMPT))).scalar_one()
        told = (await tx.execute(sa.select(sa.func.sum(tables.COUNT.c.attempts)))).scalar_one()
    return stored, told


async def resent(sink: SinkApart, one: Batch) -> int:
    """Store a batch, again and again until it is; return how often it was not."""
    failed = 0
    while True:
        try:
            await sink.store([one])
        except UnavailableError:
            failed += 1
        else:
            return failed


async def killed_while_storing(database: Database) -> None:
    sink = sink_on(database.url)
    events = [batch([decided(number), decided(number + 1)], first=number) for number in range(1, 400, 2)]
    failed = 0
    for wave in range(0, 200, 50):
        storing = [asyncio.create_task(resent(sink, one)) for one in events[wave : wave + 50]]
        await asyncio.wait(storing, return_when=asyncio.FIRST_COMPLETED)
        (writer,) = writers_of(os.getpid())
        os.kill(writer, signal.SIGKILL)
        failed += sum(await asyncio.gather(*storing))
    assert failed >= 4
    assert await counted(database) == (400, 400)
    await sink.close()


async def test_a_writer_that_is_killed_under_load_loses_nothing_and_stores_nothing_twice(database: Database) -> None:
    await killed_while_storing(database)


async def test_a_writer_that_is_killed_on_postgresql_loses_nothing_and_stores_nothing_twice(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        async with reporting_database(url) as database:
            await killed_while_storing(database)


async def test_a_writer_ends_with_the_service_that_is_killed(database: Database) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220 - it ends in this test
        [sys.executable, "-c", STARTED_BY_ANOTHER, str(database.url)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with parent:
        assert parent.stdout is not None
        assert await asyncio.to_thread(parent.stdout.readline) == b"stored\n"
        (writer,) = writers_of(parent.pid)
        descriptor = os.pidfd_open(writer)
        parent.kill()
    assert await asyncio.to_thread(wait_for_end, descriptor)
    os.close(descriptor)


async def test_a_writer_ends_at_once_in_the_middle_of_a_group_when_the_service_is_killed(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        async with reporting_database(url) as database, database.transaction() as tx:
            await tx.execute(sa.text("LOCK TABLE reporting_revision"))  # no group can be stored until this ends
            parent = subprocess.Popen(  # noqa: ASYNC220 - it ends in this test
                [sys.executable, "-c", STARTED_BY_ANOTHER, url],
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            with parent:
                await waiting_for_a_lock(database)
                (writer,) = writers_of(parent.pid)
                descriptor = os.pidfd_open(writer)
                parent.kill()
            assert await asyncio.to_thread(wait_for_end, descriptor)
            os.close(descriptor)


async def test_what_a_writer_is_told_stands_neither_in_its_arguments_nor_in_its_environment(database: Database) -> None:
    url = make_url(f"{database.url}?cached_statements=4711")
    sink = sink_on(url, PGPASSWORD="hunter2")
    await sink.store([batch([decided(1)])])
    (writer,) = writers_of(os.getpid())
    told = shown(writer, "cmdline") + shown(writer, "environ")
    assert "PYTHONPATH" in told
    assert "4711" not in told
    assert "hunter2" not in told
    await sink.close()


async def test_a_writer_that_cannot_store_says_so_and_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'later' / 'reporting.db'}"
    sink = sink_on(make_url(url))
    with pytest.raises(UnavailableError):
        await sink.store([batch([decided(1)])])
    before = writers_of(os.getpid())
    (tmp_path / "later").mkdir()
    async with reporting_database(url) as database:
        assert await sink.store([batch([decided(1)])]) == [()]
        assert await counted(database) == (1, 1)
    assert writers_of(os.getpid()) == before
    await sink.close()


async def test_a_sink_that_is_closed_has_no_writer(database: Database) -> None:
    sink = sink_on(database.url)
    await sink.store([batch([decided(1)])])
    (writer,) = writers_of(os.getpid())
    os.kill(writer, signal.SIGTERM)  # as whoever ends all processes of the service does
    assert await sink.store([batch([decided(2)], first=2)]) == [()]
    assert writers_of(os.getpid()) == [writer]
    await sink.close()
    assert writers_of(os.getpid()) == []
    assert await counted(database) == (2, 2)


async def test_what_was_stored_last_is_announced(database: Database) -> None:
    told: list[int] = []
    sink = SinkApart(opening_of(database.url), told.append, monotonic=SystemClock().monotonic)
    for number in (1, 2):
        await sink.store([batch([decided(number)], first=number)])
    await sink.close()
    assert told == [1, 2]


async def test_a_writer_that_dies_between_two_groups_is_buried_at_once(database: Database) -> None:
    looked_at = asyncio.Event()

    def clock() -> float:
        looked_at.set()  # as when a writer is started, and when one is lost
        return 0.0

    sink = SinkApart(opening_of(database.url), monotonic=clock)
    await sink.store([batch([decided(1)])])
    (writer,) = writers_of(os.getpid())
    looked_at.clear()
    with capture_logs() as told:
        os.kill(writer, signal.SIGKILL)
        await looked_at.wait()
    assert [(each["event"], each["exit_code"]) for each in told] == [("writer_lost", -signal.SIGKILL)]
    assert shown(writer, "status") == ""
    assert await sink.store([batch([decided(2)], first=2)]) == [()]
    await sink.close()


async def test_a_group_that_nobody_foresaw_costs_that_group_alone(database: Database) -> None:
    sink = sink_on(database.url)
    await sink.store([batch([decided(1)])])
    before, whole = writers_of(os.getpid()), batch([decided(2)], first=2)
    for wrong in ({"occurred": "once"}, {"seq": "two"}):  # found out while it is prepared, and when it is stored
        with pytest.raises(UnavailableError):
            await sink.store([replace(whole, attempts=(whole.attempts[0]._replace(**wrong),))])  # type: ignore[arg-type]
    assert await sink.store([whole]) == [()]
    assert writers_of(os.getpid()) == before
    assert await counted(database) == (2, 2)
    await sink.close()


async def test_a_writer_that_hangs_is_killed_and_another_one_stores(database: Database) -> None:
    sink = SinkApart(opening_of(database.url), monotonic=SystemClock().monotonic, longest_group=4)
    await sink.store([batch([decided(1)])])
    (writer,) = writers_of(os.getpid())
    os.kill(writer, signal.SIGSTOP)
    assert await resent(sink, batch([decided(2)], first=2)) >= 1
    assert writer not in writers_of(os.getpid())
    assert await counted(database) == (2, 2)
    await sink.close()


async def test_a_sink_that_is_closed_does_not_wait_for_a_writer_that_hangs(database: Database) -> None:
    sink = SinkApart(opening_of(database.url), monotonic=SystemClock().monotonic, patience=0.2)
    await sink.store([batch([decided(1)])])
    (writer,) = writers_of(os.getpid())
    os.kill(writer, signal.SIGSTOP)
    waiting = asyncio.create_task(sink.store([batch([decided(2)], first=2)]))
    await turn()
    async with asyncio.timeout(20):
        await sink.close()
        with pytest.raises(UnavailableError):
            await waiting
    assert writer not in writers_of(os.getpid())
    assert await counted(database) == (1, 1)


async def test_a_writer_that_cannot_run_is_started_again_after_longer_and_longer_rests(database: Database) -> None:
    environment, now = {**os.environ, "PYTHONHASHSEED": "what no Python starts with"}, 0.0
    sink = SinkApart(replace(opening_of(database.url), environment=environment), monotonic=lambda: now)
    with capture_logs() as told:
        for now in (0.0, 0.9, 1.0, 2.9, 3.0, 6.9, 7.0):  # noqa: B007 - the sink looks at it
            with pytest.raises(UnavailableError):
                await sink.store([batch([decided(1)])])
    lost = [each["rest_s"] for each in told if each["event"] == "writer_lost"]
    assert lost == [1.0, 2.0, 4.0, 8.0]
    environment["PYTHONHASHSEED"] = "0"
    now = 15.0
    assert await sink.store([batch([decided(1)])]) == [()]
    await sink.close()


async def test_a_writer_that_could_not_run_is_tried_again_though_no_group_comes(database: Database) -> None:
    environment, now, runs = {**os.environ, "PYTHONHASHSEED": "what no Python starts with"}, 0.0, asyncio.Event()
    opening = replace(opening_of(database.url), environment=environment)
    sink = SinkApart(opening, lambda _stored: runs.set(), monotonic=lambda: now)

    async def rested(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > LEAST_REST:
            environment["PYTHONHASHSEED"] = "0"

    assert sink.able()
    trying = asyncio.create_task(sink.try_again(rested))
    with pytest.raises(UnavailableError):
        await sink.store([batch([decided(1)])])
    assert not sink.able()
    await runs.wait()
    assert sink.able()
    assert now == LEAST_REST + 2 * LEAST_REST
    trying.cancel()
    await sink.close()


async def test_a_writer_that_could_not_be_started_for_want_of_descriptors_is_started_later(database: Database) -> None:
    now = 0.0
    sink = SinkApart(opening_of(database.url), monotonic=lambda: now)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most[1]))
    try:
        with pytest.raises(UnavailableError):
            await sink.store([batch([decided(1)])])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert not sink.able()
    now = LEAST_REST
    assert await sink.store([batch([decided(1)])]) == [()]
    await sink.close()


@types.coroutine
def turn() -> Iterator[None]:
    """Let everybody else have their turn once."""
    yield


async def test_groups_that_come_while_a_writer_is_started_are_stored_in_their_order(database: Database) -> None:
    sink = sink_on(database.url)
    first = asyncio.create_task(sink.store([batch([decided(1)])]))
    while not writers_of(os.getpid()):
        await turn()
    await sink.store([batch([decided(2)], first=2)])  # it runs by now, and who waited for it does not know yet
    await first
    place = sa.select(tables.ATTEMPT.c.seq, tables.ATTEMPT.c.stored).order_by(tables.ATTEMPT.c.seq)
    async with database.read() as tx:
        assert [tuple(row) for row in await tx.execute(place)] == [(1, 1), (2, 2)]
    await sink.close()
