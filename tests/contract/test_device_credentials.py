"""The laws of certificates on both databases."""

import asyncio

import sqlalchemy as sa
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.device.store.sql import SqlStore
from services.device.store.tables import METADATA, REVISION
from tests.reference.credentials import CredentialMachine


async def emptied(database: Database) -> SqlStore:
    """Return a store of the database with nothing in it."""
    kept = {REVISION.name, "device_audit", "device_audit_head", "device_audit_checkpoint"}
    async with database.transaction() as tx:
        for table in METADATA.sorted_tables:
            if table.name not in kept:
                await tx.execute(sa.delete(table))
    return SqlStore(database)


def test_certificates_obey_their_laws(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = runner.run(Database.connect(database_url, service="device"))
        runner.run(upgrade(database))
        run_state_machine_as_test(
            lambda: CredentialMachine(runner, runner.run(emptied(database))),  # type: ignore[arg-type]
            settings=settings(
                max_examples=6,
                stateful_step_count=25,
                deadline=None,
                phases=(Phase.explicit, Phase.reuse, Phase.generate),
            ),
        )
        runner.run(database.close())
