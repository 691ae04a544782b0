"""The database of a service behaves alike on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from auditchain.times import to_microseconds
from services._chassis.audit import AuditEntry
from services._chassis.audit_store import audit_table, empty_head, head_of, record
from services._chassis.db import Database, revision_table
from services._chassis.errors import InvalidError, UnavailableError
from services._chassis.tables import UtcDateTime
from tests.fakes.access import calling_as
from tests.fakes.clock import NOW
from tests.postgres import Cluster

METADATA = sa.MetaData()
REVISION = revision_table(METADATA, "demo")
AUDIT = audit_table(METADATA, "demo")
THINGS = sa.Table(
    "demo_things", METADATA, sa.Column("name", sa.Text, primary_key=True), sa.Column("made", UtcDateTime, nullable=True)
)


@pytest.fixture
async def db(empty_database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(empty_database_url, service="demo")
    async with database.transaction() as tx:
        await tx.connection.run_sync(METADATA.create_all)
        await tx.execute(sa.insert(REVISION), {"id": 1, "value": 0})
        await tx.execute(sa.insert(head_of(AUDIT)), empty_head("demo"))
    yield database
    await database.close()


async def add(db: Database, name: str, made: datetime | None = None) -> int:
    async with db.transaction() as tx:
        await tx.execute(sa.insert(THINGS), {"name": name, "made": made})
        return await tx.next_revision()


async def names(db: Database) -> list[str]:
    async with db.read() as tx:
        return [row.name for row in await tx.execute(sa.select(THINGS.c.name).order_by(THINGS.c.name))]


async def test_a_block_that_is_left_cleanly_is_committed(db: Database) -> None:
    await add(db, "kept")
    assert await names(db) == ["kept"]


async def test_a_block_that_fails_leaves_nothing_behind(db: Database) -> None:
    with pytest.raises(LookupError):
        await add_and_fail(db)
    assert await names(db) == []
    assert await db.current_revision() == 0


async def add_and_fail(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.execute(sa.insert(THINGS), {"name": "lost"})
        await tx.next_revision()
        raise LookupError


async def test_a_reading_transaction_changes_nothing(db: Database) -> None:
    async with db.read() as tx:
        await tx.execute(sa.select(THINGS.c.name))
    assert await db.current_revision() == 0


async def test_revisions_are_taken_one_after_the_other_by_many_at_once(db: Database) -> None:
    taken = await asyncio.gather(*(add(db, f"thing-{number}") for number in range(20)))
    assert sorted(taken) == list(range(1, 21))


async def test_a_transaction_takes_one_revision_however_often_it_asks(db: Database) -> None:
    async with db.transaction() as tx:
        assert await tx.next_revision() == await tx.next_revision() == 1


async def test_a_reader_sees_one_state_while_others_write(db: Database) -> None:
    async with db.read() as tx:
        before = await tx.current_revision()
        await add(db, "meanwhile")
        assert await tx.current_revision() == before


async def test_times_come_back_in_utc_whatever_zone_they_went_in_with(db: Database) -> None:
    await add(db, "thing", NOW.astimezone(timezone(timedelta(hours=5))))
    async with db.read() as tx:
        made = (await tx.execute(sa.select(THINGS.c.made))).scalar_one()
    assert made == NOW
    assert made.tzinfo is UTC


async def test_a_time_without_a_zone_is_refused(db: Database) -> None:
    with pytest.raises(sa.exc.StatementError, match="time zone"):
        await add(db, "thing", NOW.replace(tzinfo=None))


async def test_a_commit_wakes_who_waits_for_it(db: Database) -> None:
    waiting = asyncio.create_task(db.changes.wait(0))
    await add(db, "thing")
    assert await waiting == 1


async def test_waiting_ends_when_the_time_is_up(db: Database) -> None:
    assert await db.changes.wait(0, timeout=0) == 0


async def test_a_commit_of_another_process_wakes_who_waits(db: Database, empty_database_url: str) -> None:
    other = await Database.connect(empty_database_url, service="demo")
    watching = asyncio.create_task(db.changes.watch())
    await add(other, "thing")
    assert await db.changes.wait(0, timeout=30) == 1
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await other.close()


async def test_the_audit_record_says_who_did_what_in_which_call(db: Database) -> None:
    calling_as("user:alice", request_id="r-7")
    entry = AuditEntry(action="thing_made", target_kind="Thing", target="t", after={"name": "t"})
    async with db.transaction() as tx:
        await record(tx, AUDIT, entry, now=NOW)
    async with db.read() as tx:
        row = (await tx.execute(sa.select(AUDIT))).mappings().one()
    assert (row["actor"], row["request_id"], row["revision"]) == ("user:alice", "r-7", 1)
    assert row["recorded"] == to_microseconds(NOW)
    assert (row["action"], row["target"], row["before"], row["after"]) == ("thing_made", "t", "", '{"name":"t"}')


async def test_a_worker_acts_as_its_service(db: Database) -> None:
    async with db.transaction() as tx:
        await record(tx, AUDIT, AuditEntry(action="thing_swept", target_kind="Thing", target="t"), now=NOW)
    async with db.read() as tx:
        assert (await tx.execute(sa.select(AUDIT.c.actor))).scalar_one() == "service:demo"


async def test_a_value_that_postgresql_cannot_hold_is_the_callers_problem(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        database = await Database.connect(url, service="demo")
        async with database.transaction() as tx:
            await tx.connection.run_sync(METADATA.create_all)
        with pytest.raises(InvalidError, match="cannot be stored"):
            async with database.read() as tx:
                await tx.execute(sa.select(THINGS.c.name).where(THINGS.c.name == "a\0b"))
        await database.close()


async def test_postgresql_compiles_no_statement_which_would_take_longer_than_running_it(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        opened = await Database.connect(url, service="demo")
        async with opened.read() as tx:
            assert (await tx.execute(sa.text("SHOW jit"))).scalar_one() == "off"
        async with opened.transaction() as tx:
            assert (await tx.execute(sa.text("SHOW jit"))).scalar_one() == "off"
        await opened.close()


async def test_the_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    database = await Database.connect(f"sqlite:///{tmp_path / 'private.db'}", service="demo")
    await database.close()
    assert (tmp_path / "private.db").stat().st_mode & 0o777 == 0o600


async def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rbac.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(UnavailableError, match=r"rbac\.db, cannot be opened: file is not a database"):
        await Database.connect(f"sqlite:///{path}", service="rbac")
    assert path.read_bytes() == b"not a database" * 100


async def test_an_unreachable_database_is_told_without_its_password() -> None:
    with pytest.raises(UnavailableError, match="demo service") as refused:
        await Database.connect("postgresql://epm:hunter2@127.0.0.1:1/epm", service="demo")
    assert "hunter2" not in str(refused.value)


async def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be opened"):
        await Database.connect(f"sqlite:///{tmp_path / 'missing' / 'x.db'}", service="demo")


async def test_a_caller_does_not_learn_what_the_database_says(tmp_path: Path) -> None:
    database = await Database.connect(f"sqlite:///{tmp_path / 'x.db'}", service="demo")
    try:
        with capture_logs() as logs, pytest.raises(UnavailableError) as refused:
            async with database.read() as tx:
                await tx.execute(sa.text("SELECT secret FROM hidden"))
    finally:
        await database.close()
    assert str(refused.value) == "the database of the demo service does not answer; try again later"
    assert "hidden" in logs[0]["error"]


async def test_a_database_whose_connections_are_all_in_use_is_unavailable(tmp_path: Path) -> None:
    database = await Database.connect(f"sqlite:///{tmp_path}/busy.db", service="busy", pool_size=1)
    database.engine.sync_engine.pool._timeout = 0  # type: ignore[attr-defined]
    async with database.read(), database.read():
        with pytest.raises(UnavailableError) as refused:
            async with database.read():
                pass
        assert refused.value.reason == "DATABASE_UNAVAILABLE"
    await database.close()
