"""Who had which name and which key, and who is no more."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.device.model.devices import Device
from services.device.store.links import OF_DEVICES
from services.device.store.rows import device_of
from services.device.store.tables import DEVICES, KEYS, LINKS, SCOPE_TAGS, TOMBSTONES


class SqlIdentities:
    """Look at devices by names and keys of theirs, enrolled or not."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def left_under(self, name: str) -> Sequence[Device]:
        """Return the devices of this name that are not enrolled, the one that enrolled last first."""
        left = sa.and_(DEVICES.c.name == name, DEVICES.c.enrolled_name.is_(None))
        return await self._devices(left)

    async def with_key(self, key_digest: str) -> Sequence[Device]:
        """Return the devices that have or ever had this key, the one that enrolled last first."""
        having = sa.select(KEYS.c.device_id).where(KEYS.c.key_digest == key_digest)
        return await self._devices(DEVICES.c.device_id.in_(having))

    async def keep_key(self, device_id: str, key_digest: str) -> None:
        """Remember that the device has this key, for as long as there is the device."""
        mine = sa.and_(KEYS.c.key_digest == key_digest, KEYS.c.device_id == device_id)
        await self._tx.execute(sa.delete(KEYS).where(mine))
        await self._tx.execute(sa.insert(KEYS), {"key_digest": key_digest, "device_id": device_id})

    async def bury(self, device_id: str, revision: int) -> None:
        """Remove the device's record and keys, and leave a tombstone for those who follow the directory."""
        tags = sa.and_(SCOPE_TAGS.c.of == DEVICES.name, SCOPE_TAGS.c.key == device_id)
        await self._tx.execute(sa.delete(SCOPE_TAGS).where(tags))
        await self._tx.execute(sa.delete(KEYS).where(KEYS.c.device_id == device_id))
        await self._tx.execute(sa.delete(LINKS).where(LINKS.c.of == device_id, LINKS.c.kind.in_(OF_DEVICES)))
        await self._tx.execute(sa.delete(DEVICES).where(DEVICES.c.device_id == device_id))
        await self._tx.execute(sa.insert(TOMBSTONES), {"device_id": device_id, "revision": revision})

    async def _devices(self, condition: sa.ColumnElement[bool]) -> Sequence[Device]:
        question: sa.Select[Any] = sa.select(DEVICES).where(condition)
        question = question.order_by(DEVICES.c.enrolled.desc(), DEVICES.c.device_id.desc())
        return [device_of(dict(row)) for row in (await self._tx.execute(question)).mappings()]
