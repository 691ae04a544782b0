"""What changed in the directory, read in parts that hold nobody up."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.device.ports import DirectoryChanges, Position, Progress
from services.device.store.questions import rows_of
from services.device.store.rows import Row, device_of, group_of
from services.device.store.tables import DEVICES, GROUPS, TOMBSTONES

MOST_GROUPS: Final = 250
MOST_DEVICES: Final = 250
MOST_TOMBSTONES: Final = 1000
LARGEST_READ: Final = 1024 * 1024
"""Characters of members that one read takes, of one group at least; these bounds keep a read to some 20 ms."""


async def read_changes(tx: Transaction, progress: Progress, revision: int) -> DirectoryChanges:
    """Return what was not read yet at the newest `revision`: groups first, then devices, then tombstones."""
    groups, left = await _groups(tx, progress.groups)
    read = replace(progress, groups=_after(groups, GROUPS.c.name, progress.groups))
    if left:
        return DirectoryChanges(revision, groups=tuple(map(group_of, groups)), rest=read)
    devices = await _next(tx, DEVICES.c.device_id, progress.devices, MOST_DEVICES, DEVICES)
    read = replace(read, devices=_after(devices, DEVICES.c.device_id, progress.devices))
    left = len(devices) == MOST_DEVICES
    deleted: Sequence[Row] = ()
    if not left:
        deleted = await _next(tx, TOMBSTONES.c.device_id, progress.deleted, MOST_TOMBSTONES, TOMBSTONES)
        read = replace(read, deleted=_after(deleted, TOMBSTONES.c.device_id, progress.deleted))
        left = len(deleted) == MOST_TOMBSTONES
    return DirectoryChanges(
        revision,
        tuple(map(device_of, devices)),
        tuple(map(group_of, groups)),
        tuple(row["device_id"] for row in deleted),
        read if left else None,
    )


async def _groups(tx: Transaction, position: Position) -> tuple[Sequence[Row], bool]:
    """Return as many groups as one read takes, and whether there are others."""
    size = sa.func.length(sa.cast(GROUPS.c.members, sa.Text)).label("size")
    found = await _next(tx, GROUPS.c.name, position, MOST_GROUPS, GROUPS.c.name, size)
    taken = total = 0
    for row in found:
        total += row["size"]
        if taken and total > LARGEST_READ:
            break
        taken += 1
    names = [row["name"] for row in found[:taken]]
    question = sa.select(GROUPS).where(GROUPS.c.name.in_(names)).order_by(GROUPS.c.revision, GROUPS.c.name)
    left = taken < len(found) or len(found) == MOST_GROUPS
    return (await rows_of(tx, question) if names else ()), left


async def _next(tx: Transaction, key: sa.Column[Any], position: Position, most: int, *columns: Any) -> Sequence[Row]:
    revision = key.table.c.revision
    newer = [revision > position.revision]
    if position.key is not None:  # two conditions: by the first one a database finds where to begin
        newer = [revision >= position.revision, sa.or_(revision > position.revision, key > position.key)]
    return await rows_of(tx, sa.select(*columns).where(*newer).order_by(revision, key).limit(most))


def _after(rows: Sequence[Row], key: sa.Column[Any], before: Position) -> Position:
    return Position(rows[-1]["revision"], rows[-1][key.name]) if rows else before
