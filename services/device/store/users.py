"""Users as devices and groups name them."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from services._chassis.db import Transaction
from services._chassis.paging import Page, PageRequest
from services.device.model.pages import fitting_page
from services.device.model.users import MOST_DEVICES, KnownUser
from services.device.ports import Tags
from services.device.store.links import BOUND, NESTED, OF_DEVICES, REPORTED, USER
from services.device.store.questions import rows_of, tagged
from services.device.store.tables import DEVICES, GROUPS, LINKS

_NEST: Final = LINKS.alias("nest")
Places = dict[tuple[str, str], list[str]]
"""The places where users are named, by kind and user."""


class SqlKnownUsers:
    """Find users by the links of devices and groups that the caller may see."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def page(self, request: PageRequest, *, devices: Tags, groups: Tags) -> Page[KnownUser]:
        """Return a page of the users that are known from visible devices and groups, by name."""
        known = sa.or_(_on_devices(devices), _in_groups(groups))
        question = sa.select(LINKS.c.name).where(known).distinct().order_by(LINKS.c.name)
        if request.after:
            question = question.where(LINKS.c.name > request.after[0])
        names = [row["name"] for row in await rows_of(self._tx, question.limit(request.size + 1))]
        places = {**await self._devices(names, devices), **await self._groups(names, groups)}
        users = [
            KnownUser(name, *(tuple(places.get((kind, name), ())) for kind in (BOUND, REPORTED, USER)))
            for name in names
        ]
        return fitting_page(users, request, key=lambda user: (user.name,))

    async def _devices(self, names: Sequence[str], tags: Tags) -> Places:
        order = sa.func.row_number().over(
            partition_by=(LINKS.c.kind, LINKS.c.name), order_by=(DEVICES.c.name, DEVICES.c.device_id)
        )
        numbered = (
            sa.select(LINKS.c.kind, LINKS.c.name, DEVICES.c.name.label("place"), order.label("number"))
            .join(DEVICES, DEVICES.c.device_id == LINKS.c.of)
            .where(LINKS.c.name.in_(names), _on_devices(tags))
            .subquery()
        )
        first = sa.select(numbered).where(numbered.c.number <= MOST_DEVICES)
        return _placed(await rows_of(self._tx, first.order_by(numbered.c.number)))

    async def _groups(self, names: Sequence[str], tags: Tags) -> Places:
        lists = sa.select(LINKS.c.name, LINKS.c.of.label("place")).where(LINKS.c.kind == USER)
        nests = (
            sa.select(LINKS.c.name, _NEST.c.of.label("place"))
            .join(_NEST, sa.and_(_NEST.c.kind == NESTED, _NEST.c.name == LINKS.c.of))
            .where(LINKS.c.kind == USER)
        )
        having = sa.union(*(part.where(LINKS.c.name.in_(names)) for part in (lists, nests))).subquery()
        question = sa.select(sa.literal(USER).label("kind"), having).order_by(having.c.place)
        if tags is not None:
            question = question.where(having.c.place.in_(tagged(GROUPS, tags)))
        return _placed(await rows_of(self._tx, question))


def _on_devices(tags: Tags) -> sa.ColumnElement[bool]:
    conditions: list[sa.ColumnElement[bool]] = [LINKS.c.kind.in_(OF_DEVICES)]
    if tags is not None:
        conditions.append(LINKS.c.of.in_(tagged(DEVICES, tags)))
    return sa.and_(*conditions)


def _in_groups(tags: Tags) -> sa.ColumnElement[bool]:
    """Return the condition that a visible group lists the user, or nests a group that does."""
    named = LINKS.c.kind == USER
    if tags is None:
        return named
    nested = sa.select(_NEST.c.name).where(_NEST.c.kind == NESTED, _NEST.c.of.in_(tagged(GROUPS, tags)))
    return sa.and_(named, sa.or_(LINKS.c.of.in_(tagged(GROUPS, tags)), LINKS.c.of.in_(nested)))


def _placed(rows: Sequence[Any]) -> Places:
    placed: Places = {}
    for row in rows:
        placed.setdefault((row["kind"], row["name"]), []).append(row["place"])
    return placed
