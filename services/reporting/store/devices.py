"""Remember devices' scope tags beyond the directory: who may see an old event outlives the device's entry."""

from collections.abc import Sequence

import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.permits import DEFAULT_TAG
from services.reporting.model.devices import Device
from services.reporting.store.tables import DEVICE_TAG

CHUNK = 500


class SqlDeviceRecords:
    """Remember devices on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, devices: Sequence[Device]) -> None:
        """Keep the devices as they are now, all or none; those that are not named stay as they were."""
        ordered = sorted(devices, key=lambda device: device.device_id)
        if not ordered:
            return
        async with self._database.transaction() as tx:
            if self._database.on_postgresql:
                # Replicas write the same devices at the same time; deleting and inserting needs them one after another.
                await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(DEVICE_TAG.name))))
            for start in range(0, len(ordered), CHUNK):
                chunk = ordered[start : start + CHUNK]
                ids = [device.device_id for device in chunk]
                await tx.execute(sa.delete(DEVICE_TAG).where(DEVICE_TAG.c.device_id.in_(ids)))
                await tx.execute(sa.insert(DEVICE_TAG), [row for device in chunk for row in _tag_rows(device)])


def _tag_rows(device: Device) -> list[dict[str, str]]:
    return [{"device_id": device.device_id, "tag": tag} for tag in sorted(device.scope_tags or {DEFAULT_TAG})]
