"""A database of the device service, and what a test puts into a store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.device.model.devices import Device
from services.device.model.groups import Group
from services.device.model.tokens import EnrolmentToken
from services.device.model.used_groups import UsedGroups
from services.device.ports import Store


@asynccontextmanager
async def device_database(url: str) -> AsyncIterator[Database]:
    """Open a migrated database."""
    database = await Database.connect(url, service="device")
    try:
        await upgrade(database)
        yield database
    finally:
        await database.close()


async def keep(store: Store, *items: Device | EnrolmentToken | Group | UsedGroups) -> None:
    """Write the items as they are, in one transaction."""
    async with store.transaction() as work:
        for item in items:
            match item:
                case Device():
                    await work.devices.save(item)
                case EnrolmentToken():
                    await work.tokens.save(item)
                case Group():
                    await work.groups.save(item)
                case UsedGroups():
                    await work.groups.keep_used(item)
