"""Open databases of the reporting service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services._chassis.db import Database
from services._chassis.migrate import upgrade


@asynccontextmanager
async def reporting_database(url: str) -> AsyncIterator[Database]:
    """Open the database with its schema up to date until the block ends."""
    database = await Database.connect(url, service="reporting")
    try:
        await upgrade(database)
        yield database
    finally:
        await database.close()
