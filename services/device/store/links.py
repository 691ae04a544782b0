"""Links from names to what names them: users, members and nested groups."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import sqlalchemy as sa

from elevation.model import GroupType
from services._chassis.db import Transaction
from services.device.model.devices import Device
from services.device.model.groups import Group
from services.device.store.questions import rows_of
from services.device.store.tables import LINKS

BOUND, REPORTED, USER, DEVICE, NESTED = "bound", "reported", "user", "device", "nested"
OF_DEVICES: Final = (BOUND, REPORTED)
OF_GROUPS: Final = (USER, DEVICE, NESTED)
_MEMBER: Final = {GroupType.DEVICE: DEVICE, GroupType.USER: USER}
Names = Mapping[str, frozenset[tuple[str, str]]]
"""What each object names, as pairs of kind and name."""


async def link_devices(tx: Transaction, devices: Iterable[Device]) -> None:
    """Link users to the devices that have them; devices that are not enrolled have none."""
    wanted = {device.device_id: frozenset(_users(device)) for device in devices}
    await _link(tx, OF_DEVICES, wanted)


async def link_groups(tx: Transaction, groups: Iterable[Group]) -> None:
    """Link members and nested groups to the groups that name them."""
    wanted = {group.name: frozenset(_members(group)) for group in groups}
    await _link(tx, OF_GROUPS, wanted)


def _users(device: Device) -> Iterator[tuple[str, str]]:
    if device.is_enrolled:
        yield from ((BOUND, name) for name in device.attested.users)
        yield from ((REPORTED, name) for name in device.facts.users)


def _members(group: Group) -> Iterator[tuple[str, str]]:
    yield from ((_MEMBER[group.type], name) for name in group.members)
    yield from ((NESTED, name) for name in group.groups)


async def _link(tx: Transaction, kinds: Iterable[str], wanted: Names) -> None:
    """Write what differs alone: one more member of a large group is one row."""
    known = await _known(tx, kinds, wanted)
    gone = [_row(of, pair) for of, pairs in wanted.items() for pair in known.get(of, frozenset()) - pairs]
    new = [_row(of, pair) for of, pairs in wanted.items() for pair in pairs - known.get(of, frozenset())]
    if gone:
        this = [LINKS.c[name] == sa.bindparam(f"the_{name}") for name in ("kind", "name", "of")]
        rows = [{f"the_{name}": value for name, value in row.items()} for row in gone]
        await tx.execute(sa.delete(LINKS).where(*this), rows)
    if new:
        await tx.execute(sa.insert(LINKS), new)


async def _known(tx: Transaction, kinds: Iterable[str], wanted: Names) -> Names:
    question = sa.select(LINKS).where(LINKS.c.of.in_(list(wanted)), LINKS.c.kind.in_(list(kinds)))
    found: dict[str, set[tuple[str, str]]] = {}
    for row in await rows_of(tx, question):
        found.setdefault(row["of"], set()).add((row["kind"], row["name"]))
    return {of: frozenset(pairs) for of, pairs in found.items()}


def _row(of: str, pair: tuple[str, str]) -> dict[str, str]:
    return {"kind": pair[0], "name": pair[1], "of": of}
