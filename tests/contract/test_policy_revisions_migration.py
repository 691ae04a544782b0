"""The migration that gives revisions what they tell: what was there before goes through it, and it goes back."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from elevation.model import SettingsPolicy
from services._chassis.db import Database
from services._chassis.migrate import differences, upgrade
from services.policy.codec.kept import to_bytes
from services.policy.migrations.versions import m0008_revisions as migration
from services.policy.store.objects import SqlStore
from services.policy.store.tables import HISTORY, METADATA, OBJECT
from tests.builders.applying import revision_at, revisions_of, rolled_back
from tests.builders.authoring import desk_at
from tests.builders.policy import settings_policy
from tests.fakes.clock import NOW

LATER = NOW + timedelta(hours=1)
KEY = {"kind": "settings_policy", "name": "workstations"}
CONTENT = {"content": to_bytes(settings_policy()), "labels": {"owner": "team"}}
OLD_HISTORY = ("revision", "action", "recorded", "actor")
ROWS: tuple[tuple[int, str, datetime, str], ...] = (
    (1, "created", NOW, "user:alice"),
    (2, "deleted", NOW, "user:alice"),
    (3, "created", LATER, "user:bob"),
    (4, "updated", LATER, "user:carol"),
)


def copy_older(folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in Path(migration.__file__).parent.glob("0*.py"):
        shutil.copy(path, folder)


async def made_before(database: Database, folder: Path) -> None:
    """Bring the schema to where it was, and keep what the version before kept."""
    copy_older(folder)
    await upgrade(database, versions=folder)
    about = {"revision": 3, "etag": "4", "created": LATER, "updated": LATER, "updated_by": "user:carol"}
    history = [{**KEY, **CONTENT, "scope_tags": ["emea"], **dict(zip(OLD_HISTORY, row, strict=True))} for row in ROWS]
    for _ in ROWS[:-1]:
        async with database.transaction() as tx:
            await tx.next_revision()
    async with database.transaction() as tx:
        await tx.next_revision()
        await tx.execute(
            sa.insert(as_it_was(OBJECT, set(KEY) | set(CONTENT) | set(about))), {**KEY, **CONTENT, **about}
        )
        await tx.execute(sa.text("INSERT INTO policy_object_tag VALUES ('settings_policy', 'workstations', 'emea')"))
        await tx.execute(sa.insert(as_it_was(HISTORY, set(history[0]))), history)


def as_it_was(table: sa.Table, columns: set[str]) -> sa.Table:
    """Return a table with those of its columns that there were before."""
    kept = (sa.Column(column.name, column.type) for column in table.c if column.name in columns)
    return sa.Table(table.name, sa.MetaData(), *kept)


async def run(database: Database, step: Callable[[], None]) -> None:
    def work(connection: sa.Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            step()

    async with database.transaction() as tx:
        await tx.connection.run_sync(work)


async def test_what_was_kept_before_tells_who_made_it_and_no_reason(empty_database_url: str, tmp_path: Path) -> None:
    database = await Database.connect(empty_database_url, service="policy")
    try:
        await made_before(database, tmp_path / "before" / "versions")
        await upgrade(database)
        async with database.read() as tx:
            rows = (await tx.execute(sa.select(HISTORY).order_by(HISTORY.c.revision))).mappings().all()
        told = [(row["created"], row["created_by"], row["actor"]) for row in rows]
        assert told == [
            (NOW, "user:alice", "user:alice"),
            (NOW, "user:alice", "user:alice"),
            (LATER, "user:bob", "user:bob"),
            (LATER, "user:bob", "user:carol"),
        ]
        unknown = [(row["reason"], row["content_revision"], row["rolled_back_to"], row["as_code"]) for row in rows]
        assert unknown == [("", 0, 0, False)] * len(ROWS)
        async with SqlStore(database).reading() as work:
            about = (await work.find(SettingsPolicy, ["workstations"]))["workstations"].about
        assert (about.created_by, about.applied_change, about.change, about.scope_tags) == (
            "user:bob",
            0,
            4,
            frozenset({"emea"}),
        )
        assert await differences(database, METADATA) == []
    finally:
        await database.close()


async def test_what_was_kept_before_is_shown_and_taken_up_again(empty_database_url: str, tmp_path: Path) -> None:
    database = await Database.connect(empty_database_url, service="policy")
    try:
        await made_before(database, tmp_path / "before" / "versions")
        await upgrade(database)
        at = desk_at(SqlStore(database))
        assert [each.change for each in await revisions_of(at, SettingsPolicy, "workstations")] == [4, 3, 2, 1]
        assert (await revision_at(at, SettingsPolicy, "workstations", 2)).stored.content == settings_policy()
        await at.update(settings_policy(enabled=False), etag="4", tags=["emea"])
        restored = await rolled_back(at, SettingsPolicy, "workstations", 1, etag="5")
        assert (restored.content, restored.about.change) == (settings_policy(), 6)
        assert (restored.about.created_by, restored.about.scope_tags) == ("user:bob", frozenset({"emea"}))
    finally:
        await database.close()


async def test_the_way_back_keeps_objects_and_history(empty_database_url: str, tmp_path: Path) -> None:
    database = await Database.connect(empty_database_url, service="policy")
    try:
        await made_before(database, tmp_path / "before" / "versions")
        await upgrade(database)
        await run(database, migration.downgrade)
        async with database.read() as tx:
            names = await tx.connection.run_sync(lambda connection: sa.inspect(connection).get_table_names())
            rows = (await tx.execute(sa.text("SELECT action FROM policy_history ORDER BY revision"))).all()
        assert "policy_request" not in names
        assert [row.action for row in rows] == [action for _, action, _, _ in ROWS]
        await run(database, migration.upgrade)
        assert await differences(database, METADATA) == []
    finally:
        await database.close()
