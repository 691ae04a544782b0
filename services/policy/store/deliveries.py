"""How far the policy of each device has come, on SQLite or PostgreSQL."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services._chassis.db import Database, Transaction
from services.policy.model.bundle import Bundle
from services.policy.model.delivery import Delivery, Desired
from services.policy.ports import DeliveryStep
from services.policy.store.bundles import keep_bundles
from services.policy.store.tables import DELIVERY

CHUNK = 500
_EMPTY = {
    "revision": 0,
    "sha256": b"",
    "desired": Desired.NONE.value,
    "offered": None,
    "applied_revision": 0,
    "applied_desired": "",
    "rejected_revision": 0,
    "rejections": [],
    "confirmed": None,
    "lost": None,
    "stream": "",
    "seen": None,
    "runs": [],
    "key_ids": [],
    "bundle": None,
    "applied_bundle": None,
}


class SqlDeliveries:
    """Keep deliveries; a device without a row has an empty one."""

    def __init__(self, database: Database) -> None:
        self.changes = 0
        """Moves with everything that this process changes."""
        self._database = database

    async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        """Take each step for its device, in order, all or none, and return what each led to."""
        if not steps:
            return ()
        async with self._database.transaction() as tx:
            before = await self._locked(tx, sorted({device_id for device_id, _ in steps}))
            after = dict(before)
            led_to = []
            for device_id, step in steps:
                after[device_id] = step(after[device_id])
                led_to.append(after[device_id])
            await keep_bundles(tx, _made_of(before, after), on_postgresql=self._database.on_postgresql)
            await _write(tx, [new for device_id, new in after.items() if new != before[device_id]])
        self.changes += 1
        return led_to

    async def many(self, device_ids: Collection[str]) -> Mapping[str, Delivery]:
        """Return what is known of the devices, by id; an empty delivery where nothing is."""
        asked = sorted(device_ids)
        async with self._database.read() as tx:
            found = await _read(tx, asked, lock=False)
        return {device_id: found.get(device_id, Delivery(device_id)) for device_id in asked}

    async def _locked(self, tx: Transaction, device_ids: Sequence[str]) -> dict[str, Delivery]:
        """Read the rows, made where they are missing.

        On PostgreSQL they are locked, in one order for everybody. Where others are about to make the same rows a deadlock
        is possible still: the database then lets one of the two go on, and the other is told that nothing was kept.
        """
        found = await _read(tx, device_ids, lock=self._database.on_postgresql)
        missing = [device_id for device_id in device_ids if device_id not in found]
        if missing:
            dialect = postgresql if self._database.on_postgresql else sqlite
            rows = [{"device_id": device_id, **_EMPTY} for device_id in missing]
            await tx.execute(dialect.insert(DELIVERY).on_conflict_do_nothing(), rows)
            found |= await _read(tx, missing, lock=self._database.on_postgresql)
        return found


async def _read(tx: Transaction, device_ids: Sequence[str], *, lock: bool) -> dict[str, Delivery]:
    found: dict[str, Delivery] = {}
    for part in _parts(device_ids):
        asked = sa.select(*DELIVERY.columns).where(DELIVERY.c.device_id.in_(part)).order_by(DELIVERY.c.device_id)
        rows = await tx.execute(asked.with_for_update() if lock else asked)
        found.update((row["device_id"], _delivery(dict(row))) for row in rows.mappings())
    return found


def _made_of(before: Mapping[str, Delivery], after: Mapping[str, Delivery]) -> Iterator[Bundle]:
    """Give the bundles that deliveries name now and did not before."""
    for device_id, new in after.items():
        if new.bundle != before[device_id].bundle:
            yield new.bundle
        if new.applied_bundle != before[device_id].applied_bundle:
            yield new.applied_bundle


async def _write(tx: Transaction, deliveries: Sequence[Delivery]) -> None:
    if not deliveries:
        return
    changed = [column for column in DELIVERY.columns if not column.primary_key]
    update = sa.update(DELIVERY).where(DELIVERY.c.device_id == sa.bindparam("of_device"))
    update = update.values({column.name: sa.bindparam(f"new_{column.name}", type_=column.type) for column in changed})
    await tx.execute(update, [_row(delivery) for delivery in deliveries])


def _row(delivery: Delivery) -> dict[str, Any]:
    values = {
        "revision": delivery.revision,
        "sha256": delivery.sha256,
        "desired": delivery.desired.value,
        "offered": delivery.offered,
        "applied_revision": delivery.applied_revision,
        "applied_desired": delivery.applied_desired.value if delivery.applied_desired else "",
        "rejected_revision": delivery.rejected_revision,
        "rejections": list(delivery.rejections),
        "confirmed": delivery.confirmed,
        "lost": delivery.lost,
        "stream": delivery.stream,
        "seen": delivery.seen,
        "runs": list(delivery.runs),
        "key_ids": list(delivery.key_ids),
        "bundle": delivery.bundle.digest or None,
        "applied_bundle": delivery.applied_bundle.digest or None,
    }
    return {"of_device": delivery.device_id, **{f"new_{name}": value for name, value in values.items()}}


def _delivery(row: Mapping[str, Any]) -> Delivery:
    return Delivery(
        device_id=row["device_id"],
        revision=row["revision"],
        sha256=row["sha256"],
        desired=Desired(row["desired"]),
        offered=row["offered"],
        applied_revision=row["applied_revision"],
        applied_desired=Desired(row["applied_desired"]) if row["applied_desired"] else None,
        rejected_revision=row["rejected_revision"],
        rejections=tuple(row["rejections"]),
        confirmed=row["confirmed"],
        lost=row["lost"],
        stream=row["stream"],
        seen=row["seen"],
        runs=tuple(row["runs"]),
        key_ids=tuple(row["key_ids"]),
        bundle=Bundle(row["bundle"] or b""),
        applied_bundle=Bundle(row["applied_bundle"] or b""),
    )


def _parts(device_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (device_ids[start : start + CHUNK] for start in range(0, len(device_ids), CHUNK))
