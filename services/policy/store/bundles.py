"""Bundles on SQLite or PostgreSQL: written with the first delivery that names one, and dropped after the last."""

import asyncio
from collections.abc import Collection, Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services._chassis.db import Database, Transaction
from services._chassis.workers import Worker
from services.policy.model.bundle import Bundle, Contents
from services.policy.store.tables import BUNDLE, DELIVERY

PERIOD = 3600.0
"""Seconds after which bundles that no delivery names are looked for."""

MOST_ASKED = 500
"""Bundles that are asked for by name; of more, all are read."""


async def keep_bundles(tx: Transaction, bundles: Iterable[Bundle]) -> None:
    """Write to PostgreSQL those of the bundles whose contents are at hand, in the transaction that makes deliveries name them."""
    contents = {bundle.digest: bundle.contents for bundle in bundles if bundle.contents is not None}
    if contents:
        rows = [{"digest": digest, "contents": found.to_text()} for digest, found in sorted(contents.items())]
        await tx.execute(insert(BUNDLE).on_conflict_do_nothing(), rows)


async def read_bundles(tx: Transaction, digests: Collection[bytes]) -> Mapping[bytes, Contents]:
    """Return the contents of those of the bundles that are kept."""
    if not digests:
        return {}
    statement = sa.select(BUNDLE.c.digest, BUNDLE.c.contents)
    if len(digests) <= MOST_ASKED:
        statement = statement.where(BUNDLE.c.digest.in_(sorted(digests)))
    return {row.digest: Contents.from_text(row.contents) for row in await tx.execute(statement)}


class SqlBundles:
    """Read bundles, and drop those that no delivery names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def worker(self) -> Worker:
        """Return the worker that drops bundles."""
        return Worker("drop_bundles", self.run)

    async def run(self) -> None:
        """Drop what is not named, now and then, for ever."""
        while True:
            await self.drop_unnamed()
            await asyncio.sleep(PERIOD)

    async def many(self, digests: Collection[bytes]) -> Mapping[bytes, Contents]:
        """Return the contents of those of the bundles that are kept."""
        async with self._database.read() as tx:
            return await read_bundles(tx, digests)

    async def drop_unnamed(self) -> int:
        """Drop the bundles that no delivery names, and return how many those were.

        On PostgreSQL the table is locked first: whoever is about to name a bundle waits, and then finds it missing.
        """
        named = sa.union(sa.select(DELIVERY.c.bundle), sa.select(DELIVERY.c.applied_bundle)).subquery()
        kept = sa.select(named.c.bundle).where(named.c.bundle.is_not(None))
        async with self._database.transaction() as tx:
            if self._database.on_postgresql:
                await tx.execute(sa.text("LOCK TABLE policy_bundle IN EXCLUSIVE MODE"))
            gone = await tx.execute(sa.delete(BUNDLE).where(BUNDLE.c.digest.not_in(kept)))
        return int(gone.rowcount)
