"""Tell PostgreSQL's planner what it cannot know of counts: that nearly all of those that are asked for are in memory.

It takes each look into an index for a look at the disk. So it reads a table from end to end sooner than some thousand looks would take, and
starts workers for what is done by the time they are there. SQLite does neither.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from services._chassis.db import Transaction


async def without_workers(tx: Transaction) -> None:
    """Have nothing that this transaction reads parted among workers."""
    await _set(tx, "max_parallel_workers_per_gather = 0")


@asynccontextmanager
async def by_index(tx: Transaction) -> AsyncIterator[None]:
    """Have counts looked up that are told one by one."""
    await _set(tx, "enable_seqscan = off")
    yield
    await _set(tx, "enable_seqscan TO DEFAULT")


async def _set(tx: Transaction, setting: str) -> None:
    if tx.connection.dialect.name == "postgresql":
        await tx.execute(sa.text(f"SET LOCAL {setting}"))
