"""Bring a service's schema up to date at start: Alembic revisions of its room `migrations/versions`, under a lock.

Alembic is imported where there is something to migrate; a start that finds its schema as it should be goes without.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.errors import UnavailableError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_REVISION = re.compile(r'^revision = ["\'](.+)["\']$', re.MULTILINE)
_SERVICES = Path(__file__).resolve().parent.parent


async def upgrade(database: Database, *, versions: Path | None = None) -> None:
    """Run the missing migrations of the database's service in one transaction; replicas wait for one another."""
    folder = versions or _SERVICES / database.service / "migrations" / "versions"
    async with database.transaction() as tx:
        if database.on_postgresql:
            await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(database.channel))))
        await tx.connection.run_sync(_upgrade, database.service, folder)
    database.changes.announce(await database.current_revision())


async def differences(database: Database, metadata: sa.MetaData) -> list[Any]:
    """Say where the migrated schema and the tables that the code declares differ; empty if they agree."""
    async with database.read() as tx:
        return await tx.connection.run_sync(_differences, database.service, metadata)


def version_table(service: str) -> str:
    """Return the name of the table that holds the schema's version; services may share a database."""
    return f"{service}_schema_version"


def newest(folder: Path) -> str:
    """Return the revision that the last file of the folder makes.

    INVARIANT: files are numbered, so that the one whose name is the last is Alembic's head.
    """
    last = max(path for path in folder.iterdir() if path.suffix == ".py")
    found = _REVISION.search(last.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{last} names no revision")
    return found[1]


def _upgrade(connection: sa.Connection, service: str, folder: Path) -> None:
    if _revisions(connection, service) == [newest(folder)]:
        return
    from alembic.config import Config  # noqa: PLC0415 - see the top
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory(str(folder.parent), version_locations=[str(folder)])
    _refuse_a_newer_schema(connection, service, script)

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)  # noqa: SLF001 - what alembic.command.upgrade calls

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, version_table=version_table(service))
        environment.run_migrations()


def _revisions(connection: sa.Connection, service: str) -> list[str]:
    table = version_table(service)
    if not sa.inspect(connection).has_table(table):
        return []
    return list(connection.scalars(sa.select(sa.column("version_num")).select_from(sa.table(table))))


def _refuse_a_newer_schema(connection: sa.Connection, service: str, script: "ScriptDirectory") -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    if unknown := set(_revisions(connection, service)) - known:
        raise UnavailableError(
            f"the database of the {service} service has the schema {', '.join(sorted(unknown))}, which this version does"
            " not know; start a version of OpenEPM that is at least as new as its database"
        )


def _differences(connection: sa.Connection, service: str, metadata: sa.MetaData) -> list[Any]:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - see the top
    from alembic.migration import MigrationContext  # noqa: PLC0415

    def ours(name: str | None, kind: str, _parents: Any) -> bool:
        if kind == "table":
            return (name or "").startswith(f"{service}_") and name != version_table(service)
        # What one engine alone has, and the code never names.
        return not (name or "").startswith("part_of_")

    context = MigrationContext.configure(
        connection, opts={"version_table": version_table(service), "include_name": ours, "compare_type": True}
    )
    return list(compare_metadata(context, metadata))
