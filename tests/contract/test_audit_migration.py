"""The migration that makes audit logs chains: what was recorded before it is in the chain, in its old order."""

import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

import services
from auditchain.record import genesis, link
from auditchain.times import to_microseconds
from services._chassis.audit import AuditEntry
from services._chassis.audit_reading import AuditReader
from services._chassis.audit_schema import CHUNK, chain_audit, unchain_audit
from services._chassis.audit_store import audit_table, head_of, record
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from tests.fakes.clock import NOW

FIRST_CHAINED = {"rbac": "m0002", "device": "m0003", "policy": "0003"}
COUNT = CHUNK + 3
OLD_COLUMNS = (
    "id, recorded, revision, actor, source, request_id, action, target_kind, target, before, after, reason, details"
)


@pytest.fixture(params=sorted(FIRST_CHAINED))
async def old(request: pytest.FixtureRequest, empty_database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """Give the test a database of a service as it was before, with records in it."""
    service = request.param
    database = await Database.connect(empty_database_url, service=service)
    folder = tmp_path / "migrations" / "versions"
    folder.mkdir(parents=True)
    for path in (Path(services.__file__).parent / service / "migrations" / "versions").glob("*.py"):
        if path.name < FIRST_CHAINED[service]:
            shutil.copy(path, folder)
    await upgrade(database, versions=folder)
    await fill(database)
    yield database
    await database.close()


async def fill(database: Database) -> None:
    """Write records as the version before did, with gaps between their numbers."""
    names = [name.strip() for name in OLD_COLUMNS.split(",")]
    table = sa.table(f"{database.service}_audit", *(sa.column(name) for name in names))
    json = sa.JSON(none_as_null=True)
    values = {name: sa.bindparam(name) for name in names} | {
        "recorded": sa.bindparam("recorded", type_=sa.DateTime(timezone=True)),
        "before": sa.bindparam("before", type_=json),
        "after": sa.bindparam("after", type_=json),
        "details": sa.bindparam("details", type_=sa.JSON),
    }
    rows = [
        {
            **dict.fromkeys(names, "text"),
            "id": 2 * number,
            "recorded": NOW + timedelta(microseconds=number),
            "revision": number,
            "target": f"t{number}",
            "before": None if number == 1 else {"ü": number, "a": [1.5, None]},
            "after": {"name": "x"},
            "details": {"b": "2", "a": "1"},
        }
        for number in range(1, COUNT + 1)
    ]
    async with database.transaction() as tx:
        await tx.execute(sa.insert(table).values(values), rows)


async def test_what_was_recorded_before_is_chained_in_its_order(old: Database) -> None:
    await upgrade(old)
    table = audit_table(sa.MetaData(), old.service)
    async with old.transaction() as tx:
        await record(tx, table, AuditEntry(action="first_new", target_kind="Thing", target="t"), now=NOW)
        records = await AuditReader(old, table).batch(tx, after=None, size=COUNT + 9)
    previous = genesis(old.service)
    for number, each in enumerate(records, 1):
        assert (each.sequence, each.hash) == (number, link(previous, each))
        previous = each.hash
    assert [each.target for each in records] == [*(f"t{number}" for number in range(1, COUNT + 1)), "t"]
    assert (records[0].before, records[1].before) == ("", '{"a":[1.5,null],"ü":2}')
    assert records[0].recorded == to_microseconds(NOW) + 1
    assert (records[0].details, records[0].decision_id) == ({"a": "1", "b": "2"}, "")


async def test_the_way_back_brings_the_old_log_and_forth_again_the_same_chain(old: Database) -> None:
    await upgrade(old)
    head = head_of(audit_table(sa.MetaData(), old.service))
    async with old.read() as tx:
        before = (await tx.execute(sa.select(head.c.sequence, head.c.hash))).one()
    await run(old, unchain_audit)
    async with old.read() as tx:
        found = await tx.execute(sa.text(f"SELECT id, target FROM {old.service}_audit ORDER BY id"))  # noqa: S608
        assert [row.target for row in found] == [f"t{number}" for number in range(1, COUNT + 1)]
    await run(old, chain_audit)
    async with old.read() as tx:
        assert (await tx.execute(sa.select(head.c.sequence, head.c.hash))).one() == before


async def run(database: Database, step: Callable[[str], Any]) -> None:
    """Run a part of a migration by itself."""

    def work(connection: sa.Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            step(database.service)

    async with database.transaction() as tx:
        await tx.connection.run_sync(work)
