"""How far the policy of each device has come, on PostgreSQL."""

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from services._chassis.db import Database, Transaction
from services.policy.model.delivery import Delivery, Held
from services.policy.ports import DeliveryStep
from services.policy.store.bundles import keep_bundles
from services.policy.store.delivery_groups import bundles_named, changed, parts, take_steps
from services.policy.store.delivery_rows import PostgresRows, from_row, to_row


class PostgresDeliveries:
    """Keep deliveries; a device without a row has an empty one."""

    def __init__(self, database: Database) -> None:
        self.changes = 0
        """Moves with everything that this process changes."""
        self._database = database
        self._rows = PostgresRows()

    async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        """Take each step for its device, in order, all or none, and return what each led to."""
        if not steps:
            return ()
        async with self._database.transaction() as tx:
            before = await self._locked(tx, sorted({device_id for device_id, _ in steps}))
            after, led_to = take_steps(steps, before)
            await keep_bundles(tx, bundles_named(before, after))
            await self._write(tx, changed(before, after))
        self.changes += 1
        return led_to

    async def hold(self, held: Sequence[Held]) -> Mapping[str, Delivery]:
        """Keep that streams are open; return the deliveries of those devices, by id, of which another stream is known."""
        if not held:
            return {}
        rows, named = self._rows, {each.device_id: each.stream for each in held}
        values = [(rows.time(each.seen), rows.time(each.confirmed), each.device_id, each.stream) for each in held]
        async with self._database.transaction() as tx:
            # In one order for everybody, as they are locked elsewhere.
            await tx.connection.exec_driver_sql(rows.hold, sorted(values, key=operator.itemgetter(2)))
            others = set(named)
            for part in parts(sorted(named)):
                found: Iterable[Sequence[Any]] = await tx.connection.exec_driver_sql(rows.streams, rows.asked(part))
                others -= {row[0] for row in found if row[1] == named[row[0]]}
        self.changes += 1
        return await self.many(others) if others else {}

    async def many(self, device_ids: Collection[str]) -> Mapping[str, Delivery]:
        """Return what is known of the devices, by id; an empty delivery where nothing is."""
        asked = sorted(device_ids)
        async with self._database.read() as tx:
            found = await self._read(tx, asked, self._rows.select)
        return {device_id: found.get(device_id) or Delivery(device_id) for device_id in asked}

    async def close(self) -> None:
        """Leave the connections to the database."""

    async def _locked(self, tx: Transaction, device_ids: Sequence[str]) -> dict[str, Delivery]:
        """Read and lock the rows, made where they are missing.

        They are locked in one order for everybody. Where others are about to make the same rows a deadlock
        is possible still: the database then lets one of the two go on, and the other is told that nothing was kept.
        """
        found = await self._read(tx, device_ids, self._rows.lock)
        missing = [device_id for device_id in device_ids if device_id not in found]
        if missing:
            made = [to_row(Delivery(device_id), self._rows) for device_id in missing]
            await tx.connection.exec_driver_sql(self._rows.insert, made)
            found |= await self._read(tx, missing, self._rows.lock)
        return found

    async def _read(self, tx: Transaction, device_ids: Sequence[str], statement: str) -> dict[str, Delivery]:
        found: dict[str, Delivery] = {}
        for part in parts(device_ids):
            rows = await tx.connection.exec_driver_sql(statement, self._rows.asked(part))
            found.update((row[0], from_row(row, self._rows)) for row in rows)
        return found

    async def _write(self, tx: Transaction, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            written = (to_row(delivery, self._rows) for delivery in deliveries)
            await tx.connection.exec_driver_sql(self._rows.update, [(*row[1:], row[0]) for row in written])
