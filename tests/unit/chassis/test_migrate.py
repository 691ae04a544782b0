"""Schemas are brought up to date at start: whole or not at all, by one replica at a time, never backwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.migrate import differences, upgrade

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {before!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {body}
"""
FIRST = """
    op.create_table("demo_revision", sa.Column("id", sa.Integer, primary_key=True), sa.Column("value", sa.BigInteger))
    op.execute("INSERT INTO demo_revision (id, value) VALUES (1, 0)")
    op.create_table("demo_things", sa.Column("name", sa.Text, primary_key=True))
"""
SECOND = 'op.add_column("demo_things", sa.Column("colour", sa.Text, nullable=True))'


def write(folder: Path, name: str, before: str | None, body: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(REVISION.format(name=name, before=before, body=body.strip()))


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations" / "versions"
    write(folder, "demo_0001", None, FIRST)
    return folder


@pytest.fixture
async def db(empty_database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(empty_database_url, service="demo")
    yield database
    await database.close()


async def columns(db: Database) -> list[str]:
    async with db.read() as tx:
        return await tx.connection.run_sync(
            lambda sync: [column["name"] for column in sa.inspect(sync).get_columns("demo_things")]
        )


async def test_what_is_missing_is_done_and_nothing_twice(db: Database, versions: Path) -> None:
    await upgrade(db, versions=versions)
    assert await columns(db) == ["name"]
    write(versions, "demo_0002", "demo_0001", SECOND)
    await upgrade(db, versions=versions)
    await upgrade(db, versions=versions)
    assert await columns(db) == ["name", "colour"]


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(db: Database, versions: Path) -> None:
    await upgrade(db, versions=versions)
    write(versions, "demo_0002", "demo_0001", f'{SECOND}\n    raise LookupError("half way")')
    with pytest.raises(LookupError):
        await upgrade(db, versions=versions)
    assert await columns(db) == ["name"]


async def test_a_schema_that_this_version_does_not_know_is_refused(db: Database, versions: Path) -> None:
    write(versions, "demo_0002", "demo_0001", SECOND)
    await upgrade(db, versions=versions)
    (versions / "demo_0002.py").unlink()
    with pytest.raises(UnavailableError, match="demo_0002, which this version does not know; start a version"):
        await upgrade(db, versions=versions)


async def test_replicas_that_start_at_once_migrate_once(db: Database, empty_database_url: str, versions: Path) -> None:
    other = await Database.connect(empty_database_url, service="demo")
    await asyncio.gather(upgrade(db, versions=versions), upgrade(other, versions=versions))
    await other.close()
    assert await columns(db) == ["name"]


async def test_a_schema_that_differs_from_the_code_is_told(db: Database, versions: Path) -> None:
    await upgrade(db, versions=versions)
    metadata = sa.MetaData()
    sa.Table(
        "demo_revision", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("value", sa.BigInteger)
    )
    things = sa.Table("demo_things", metadata, sa.Column("name", sa.Text, primary_key=True))
    assert await differences(db, metadata) == []
    things.append_column(sa.Column("colour", sa.Text))
    (difference,) = await differences(db, metadata)
    assert difference[0] == "add_column"
