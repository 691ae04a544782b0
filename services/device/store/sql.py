"""The device service's store behind its ports; writing transactions run one after the other, over all replicas."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services._chassis.audit import AuditEntry
from services._chassis.audit_store import record
from services._chassis.db import Database, Transaction
from services._chassis.errors import ConflictError
from services._chassis.paging import Page, PageRequest
from services._chassis.permits import DEFAULT_TAG
from services.device.model.devices import Device, EnrolmentState
from services.device.model.groups import Group
from services.device.model.lifecycle import EpmState
from services.device.model.pages import fitting_page
from services.device.model.tokens import EnrolmentToken
from services.device.model.used_groups import UsedGroups
from services.device.ports import DirectoryChanges, Progress, Tags
from services.device.store.directory import read_changes
from services.device.store.history import SqlHistory
from services.device.store.identities import SqlIdentities
from services.device.store.links import link_devices, link_groups
from services.device.store.memberships import SqlMemberships
from services.device.store.questions import parts_of, rows_of, visible
from services.device.store.rows import (
    Row,
    device_of,
    device_row,
    group_of,
    group_row,
    token_of,
    token_row,
    used_of,
    used_row,
)
from services.device.store.tables import AUDIT, DEVICES, GROUPS, SCOPE_TAGS, TOKENS, USED_GROUPS, Text
from services.device.store.users import SqlKnownUsers


class SqlStore:
    """Open transactions on the device service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["SqlWork"]:
        """Open a writing transaction and hold it against all others."""
        async with self._database.held() as tx:
            yield SqlWork(tx)

    @asynccontextmanager
    async def read(self) -> AsyncIterator["SqlWork"]:
        """Open a reading transaction."""
        async with self._database.read() as tx:
            yield SqlWork(tx)


class SqlWork:
    """Read and write the tables within one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.devices = SqlDevices(tx)
        self.tokens = SqlTokens(tx)
        self.groups = SqlGroups(tx)
        self.history = SqlHistory(tx)
        self.identities = SqlIdentities(tx)
        self.memberships = SqlMemberships(tx)
        self.users = SqlKnownUsers(tx)

    async def next_revision(self) -> int:
        """Take the directory's next revision, once a transaction."""
        return await self._tx.next_revision()

    async def current_revision(self) -> int:
        """Return the newest revision, the one taken here included."""
        return await self._tx.current_revision()

    async def changes(self, after: int | Progress) -> DirectoryChanges:
        """Return what changed after the revision or was not read yet, tombstones included."""
        progress = after if isinstance(after, Progress) else Progress.after(after)
        return await read_changes(self._tx, progress, await self.current_revision())

    async def audit(self, *entries: AuditEntry, now: datetime) -> None:
        """Add rows to the audit table."""
        await record(self._tx, AUDIT, *entries, now=now)


class SqlDevices:
    """Keep devices in their table."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def get(self, device_id: str) -> Device | None:
        """Return the device, enrolled or retired."""
        return await self._one(DEVICES.c.device_id == device_id)

    async def named(self, name: str) -> Device | None:
        """Return the enrolled device of this name."""
        return await self._one(DEVICES.c.enrolled_name == name)

    async def enrolled_with(self, token_id: str, key_digest: str) -> Device | None:
        """Return the enrolled device that came with this token and key."""
        came = sa.and_(DEVICES.c.token_id == token_id, DEVICES.c.key_digest == key_digest)
        return await self._one(sa.and_(came, DEVICES.c.enrolled_name.is_not(None)))

    async def many(self, device_ids: Iterable[str]) -> Mapping[str, Device]:
        """Return those of the devices that exist, by id."""
        rows = await rows_of(self._tx, sa.select(DEVICES).where(DEVICES.c.device_id.in_(list(device_ids))))
        return {row["device_id"]: device_of(row) for row in rows}

    async def page(self, request: PageRequest, tags: Tags) -> Page[Device]:
        """Return a page of the visible devices, by name."""
        question = sa.select(DEVICES).where(*visible(DEVICES, tags)).order_by(DEVICES.c.name, DEVICES.c.device_id)
        if request.after:
            shown = sa.tuple_(*(sa.literal(part, Text) for part in request.after))
            question = question.where(sa.tuple_(DEVICES.c.name, DEVICES.c.device_id) > shown)
        rows = await rows_of(self._tx, question.limit(request.size + 1))
        return fitting_page(
            [device_of(row) for row in rows], request, key=lambda device: (device.name, device.device_id)
        )

    async def save(self, *devices: Device) -> None:
        """Write the devices. Raises ConflictError if another enrolled device has a name of theirs."""
        try:
            await _write(self._tx, DEVICES, [device_row(device) for device in devices])
        except IntegrityError as error:
            names = ", ".join(device.name for device in devices)
            raise ConflictError(
                f"another enrolled device has this name already: {names}", reason="DEVICE_NAME_TAKEN"
            ) from error
        await link_devices(self._tx, devices)

    async def due(self, now: datetime, *, limit: int) -> Sequence[Device]:
        """Return enrolled devices whose component is to go by now, the longest overdue first."""
        pending = DEVICES.c.epm_state == EpmState.DEPROVISION_PENDING.value
        enrolled = DEVICES.c.enrolment == EnrolmentState.ENROLLED.value
        question = sa.select(DEVICES).where(pending, enrolled, DEVICES.c.deprovision_time <= now)
        question = question.order_by(DEVICES.c.deprovision_time, DEVICES.c.device_id).limit(limit)
        return [device_of(row) for row in await rows_of(self._tx, question)]

    async def newest_policy_revision(self) -> int:
        """Return the highest one, by its index."""
        return int((await self._tx.execute(sa.select(sa.func.max(DEVICES.c.policy_revision)))).scalar_one() or 0)

    async def _one(self, condition: sa.ColumnElement[bool]) -> Device | None:
        rows = await rows_of(self._tx, sa.select(DEVICES).where(condition).limit(1))
        return device_of(rows[0]) if rows else None


class SqlTokens:
    """Keep enrolment tokens in their table."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def get(self, token_id: str) -> EnrolmentToken | None:
        """Return the token of this id."""
        return await self._one(TOKENS.c.token_id == token_id)

    async def known_by(self, digest: bytes) -> EnrolmentToken | None:
        """Return the token whose text has this digest."""
        return await self._one(TOKENS.c.digest == digest)

    async def page(self, request: PageRequest, tags: Tags) -> Page[EnrolmentToken]:
        """Return a page of the visible tokens, newest first."""
        question = sa.select(TOKENS).where(*visible(TOKENS, tags)).order_by(TOKENS.c.token_id.desc())
        if request.after:
            question = question.where(TOKENS.c.token_id < request.after[0])
        rows = await rows_of(self._tx, question.limit(request.size + 1))
        return fitting_page([token_of(row) for row in rows], request, key=lambda token: (token.token_id,))

    async def save(self, token: EnrolmentToken) -> None:
        """Write the token as it is, new or not."""
        await _write(self._tx, TOKENS, [token_row(token)])

    async def _one(self, condition: sa.ColumnElement[bool]) -> EnrolmentToken | None:
        rows = await rows_of(self._tx, sa.select(TOKENS).where(condition).limit(1))
        return token_of(rows[0]) if rows else None


class SqlGroups:
    """Keep groups, and the tombstones of those that were deleted, in their table."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def many(self, names: Iterable[str]) -> Mapping[str, Group]:
        """Return those of the groups that exist, by name."""
        found: dict[str, Group] = {}
        for part in parts_of(names):
            alive = sa.select(GROUPS).where(GROUPS.c.name.in_(part), GROUPS.c.deleted.is_(False))
            found.update((row["name"], group_of(row)) for row in await rows_of(self._tx, alive))
        return found

    async def page(self, request: PageRequest, tags: Tags) -> Page[Group]:
        """Return a page of the visible groups, by name."""
        alive = sa.select(GROUPS).where(GROUPS.c.deleted.is_(False), *visible(GROUPS, tags)).order_by(GROUPS.c.name)
        if request.after:
            alive = alive.where(GROUPS.c.name > request.after[0])
        rows = await rows_of(self._tx, alive.limit(request.size + 1))
        return fitting_page([group_of(row) for row in rows], request, key=lambda group: (group.name,))

    async def save(self, *groups: Group) -> None:
        """Write the groups as they are, new or not, or their tombstones."""
        await _write(self._tx, GROUPS, [group_row(group) for group in groups])
        await link_groups(self._tx, groups)

    async def used(self) -> UsedGroups:
        """Return the groups that policies are assigned to; none before the policy service has told them."""
        rows = await rows_of(self._tx, sa.select(USED_GROUPS))
        return used_of(rows[0]) if rows else UsedGroups()

    async def keep_used(self, used: UsedGroups) -> None:
        """Replace the groups that policies are assigned to."""
        await self._tx.execute(sa.delete(USED_GROUPS))
        await self._tx.execute(sa.insert(USED_GROUPS), used_row(used))


async def _write(tx: Transaction, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert or update the rows, in few statements; their scope tags are written only where they differ."""
    key = next(iter(table.primary_key.columns))
    known = await _known_tags(tx, key, [row[key.name] for row in rows])
    if new := [row for row in rows if row[key.name] not in known]:
        await tx.execute(sa.insert(table), new)
    if old := [row for row in rows if row[key.name] in known]:
        mine = key == sa.bindparam("of_key")
        await tx.execute(sa.update(table).where(mine), [{**row, "of_key": row[key.name]} for row in old])
    retagged = {row[key.name]: row["scope_tags"] for row in rows if known.get(row[key.name]) != [*row["scope_tags"]]}
    await _write_tags(tx, table, retagged)


async def _known_tags(tx: Transaction, key: sa.Column[Any], keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the scope tags of those of the objects that are there already."""
    question = sa.select(key.label("key"), key.table.c.scope_tags).where(key.in_(keys))
    return {row["key"]: row["scope_tags"] for row in await rows_of(tx, question)}


async def _write_tags(tx: Transaction, table: sa.Table, tags: Mapping[str, Sequence[str]]) -> None:
    if not tags:
        return
    rows = [{"of": table.name, "key": key, "tag": tag} for key, own in tags.items() for tag in own or [DEFAULT_TAG]]
    mine = sa.and_(SCOPE_TAGS.c.of == table.name, SCOPE_TAGS.c.key.in_(list(tags)))
    await tx.execute(sa.delete(SCOPE_TAGS).where(mine))
    await tx.execute(sa.insert(SCOPE_TAGS), rows)
