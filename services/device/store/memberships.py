"""Who is in which group, by links and by the rows of groups and devices."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from elevation.model import GroupType
from services._chassis.db import Transaction
from services.device.model.devices import Device
from services.device.model.groups import Group
from services.device.ports import Tags
from services.device.store.links import DEVICE, NESTED
from services.device.store.questions import parts_of, rows_of, visible
from services.device.store.rows import device_of, group_of
from services.device.store.tables import DEVICES, GROUPS, LINKS


class SqlMemberships:
    """Look at memberships; groups and devices are written elsewhere, and their links with them."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def nesting(self, names: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Return the groups that nest one of the groups, by the name of the one that is nested."""
        found: dict[str, set[str]] = {}
        for part in parts_of(names):
            question = sa.select(LINKS.c.name, LINKS.c.of).where(LINKS.c.kind == NESTED, LINKS.c.name.in_(part))
            for row in await rows_of(self._tx, question):
                found.setdefault(row["name"], set()).add(row["of"])
        return {name: frozenset(parents) for name, parents in found.items()}

    async def reaching(self, names: Iterable[str]) -> Mapping[str, Sequence[Group]]:
        """Return, by the name of each group, those that list users or find devices by a filter."""
        asked = set(names)
        holders = {name: {name} for name in asked}
        for part in parts_of(asked):
            question = sa.select(LINKS.c.name, LINKS.c.of).where(LINKS.c.kind == NESTED, LINKS.c.of.in_(part))
            for row in await rows_of(self._tx, question):
                holders.setdefault(row["name"], set()).add(row["of"])
        found: dict[str, list[Group]] = {}
        for group in await self._deciding(holders):
            for holder in holders[group.name]:
                found.setdefault(holder, []).append(group)
        return found

    async def concerning(self, device_name: str) -> Sequence[Group]:
        """Return the groups of devices that list the name or have a filter, by name."""
        listing = sa.select(LINKS.c.of).where(LINKS.c.kind == DEVICE, LINKS.c.name == device_name)
        alive = sa.select(GROUPS).where(
            GROUPS.c.type == GroupType.DEVICE.value,
            GROUPS.c.deleted.is_(False),
            sa.or_(GROUPS.c.filter != "", GROUPS.c.name.in_(listing)),
        )
        return [group_of(row) for row in await rows_of(self._tx, alive.order_by(GROUPS.c.name))]

    async def enrolled(self, names: Iterable[str]) -> Mapping[str, Device]:
        """Return the enrolled devices of these names, by name."""
        found: dict[str, Device] = {}
        for part in parts_of(names):
            question = sa.select(DEVICES).where(DEVICES.c.enrolled_name.in_(part))
            found.update((row["name"], device_of(row)) for row in await rows_of(self._tx, question))
        return found

    async def enrolled_after(self, name: str, tags: Tags, *, limit: int) -> Sequence[Device]:
        """Return visible enrolled devices whose names come after this one, by name."""
        question = sa.select(DEVICES).where(DEVICES.c.enrolled_name > name, *visible(DEVICES, tags))
        return [
            device_of(row) for row in await rows_of(self._tx, question.order_by(DEVICES.c.enrolled_name).limit(limit))
        ]

    async def _deciding(self, names: Iterable[str]) -> list[Group]:
        kind = sa.or_(GROUPS.c.type == GroupType.USER.value, GROUPS.c.filter != "")
        found: list[Group] = []
        for part in parts_of(names):
            alive = sa.select(GROUPS).where(GROUPS.c.name.in_(part), GROUPS.c.deleted.is_(False), kind)
            found.extend(group_of(row) for row in await rows_of(self._tx, alive.order_by(GROUPS.c.name)))
        return found
