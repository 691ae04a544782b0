"""Open databases of the policy service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services._chassis.db import Database
from services._chassis.migrate import upgrade


@asynccontextmanager
async def policy_database(url: str) -> AsyncIterator[Database]:
    """Open the database with its schema up to date until the block ends."""
    database = await Database.connect(url, service="policy")
    try:
        await upgrade(database)
        yield database
    finally:
        await database.close()
