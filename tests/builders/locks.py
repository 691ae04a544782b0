"""Locks of PostgreSQL that somebody waits for."""

import sqlalchemy as sa

from services._chassis.db import Database


async def waiting_for_a_lock(database: Database) -> None:
    """Return once another connection waits for a lock."""
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        async with database.read() as tx:
            if (await tx.execute(waiting)).scalar_one():
                return
