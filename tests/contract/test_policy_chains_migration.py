"""Certificates that were kept with each request before chains were kept once: read still, and put back by the way back."""

import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.migrate import differences
from services.policy.migrations.versions import m0015_certificate_chains as migration
from services.policy.store.elevation_requests import SqlElevationRequests
from services.policy.store.tables import ELEVATION_REQUEST, METADATA
from tests.builders.policy_database import policy_database
from tests.builders.requests import request
from tests.contract.test_policy_revisions_migration import run
from tests.fakes.clock import NOW

CHAINS: tuple[list[bytes], ...] = ([b"leaf", b"issuer"], [b"le", b"afissuer"], [])


async def read(database: Database) -> list[list[bytes]]:
    store = SqlElevationRequests(database)
    return [list(await store.certificates(request(number).request_id)) for number in range(len(CHAINS))]


async def test_certificates_are_the_same_on_the_way_back_and_forth(empty_database_url: str) -> None:
    async with policy_database(empty_database_url) as database:
        store = SqlElevationRequests(database)
        for number, chain in enumerate(CHAINS):
            await store.submit(request(number), chain, NOW)
        assert await read(database) == list(map(list, CHAINS))
        await run(database, migration.downgrade)
        async with database.read() as tx:
            own = (await tx.execute(sa.select(ELEVATION_REQUEST.c.certificates))).scalars().all()
        assert sorted(map(len, own)) == [0, 2, 2]
        await run(database, migration.upgrade)
        assert await read(database) == list(map(list, CHAINS))
        assert await differences(database, METADATA) == []
