"""The migration that lets groups nest: users and members that were there before are found afterwards, and it goes back."""

from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from elevation.model import GroupType
from services._chassis.db import Database
from services._chassis.migrate import differences
from services._chassis.paging import PageRequest
from services.device.migrations.versions import m0006_nested_groups as migration
from services.device.model.devices import Attested
from services.device.model.users import KnownUser
from services.device.store.sql import SqlStore
from services.device.store.tables import METADATA
from tests.builders.device_database import device_database, keep
from tests.builders.devices import LINUX, a_device, a_group

MANY = 1003


async def run(database: Database, step: Callable[[], None]) -> None:
    def work(connection: sa.Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            step()

    async with database.transaction() as tx:
        await tx.connection.run_sync(work)


async def test_what_names_users_and_members_is_linked_to_them(database_url: str) -> None:
    told = replace(LINUX, users=("bob", "bob"))
    people = a_group("people", *(f"user-{number:04}" for number in range(MANY)), type=GroupType.USER)
    async with device_database(database_url) as database:
        store = SqlStore(database)
        await keep(
            store,
            a_device("d1", attested=Attested(users=("alice",)), facts=told),
            a_device("d2", attested=Attested(users=("carol",)), retired=True),
            people,
            a_group("kiosks", "ws-d1"),
            a_group("gone", "ws-d1", deleted=True),
        )
        await run(database, migration.downgrade)
        await run(database, migration.upgrade)
        async with store.read() as work:
            page = await work.users.page(PageRequest(MANY + 2), devices=None, groups=None)
            assert page.items[:2] == (KnownUser("alice", ("ws-d1",)), KnownUser("bob", (), ("ws-d1",)))
            assert [user.name for user in page.items[2:]] == list(people.members)
            assert await work.memberships.concerning("ws-d1") == [a_group("kiosks", "ws-d1")]
            assert await work.groups.many(["people"]) == {"people": people}
        await keep(store, a_group("fleet", groups=("kiosks",)))
        async with store.read() as work:
            assert await work.memberships.nesting(["kiosks"]) == {"kiosks": {"fleet"}}
        assert await differences(database, METADATA) == []
