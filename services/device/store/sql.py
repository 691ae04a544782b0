"""The device service's store behind its ports; writing transactions run one after the other, over all replicas."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services._chassis.access import DEFAULT_TAG
from services._chassis.audit import AuditEntry
from services._chassis.audit_store import record
from services._chassis.db import Database, Transaction
from services._chassis.errors import ConflictError
from services._chassis.paging import Page, PageRequest
from services.device.model.devices import Device
from services.device.model.groups import Group
from services.device.model.lifecycle import EpmState
from services.device.model.pages import fitting_page
from services.device.model.tokens import EnrolmentToken
from services.device.ports import DirectoryChanges, Tags
from services.device.store.rows import Row, device_of, device_row, group_of, group_row, token_of, token_row
from services.device.store.tables import AUDIT, DEVICES, GROUPS, SCOPE_TAGS, TOKENS, Text


class SqlStore:
    """Open transactions on the device service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["SqlWork"]:
        """Open a writing transaction and hold it against all others."""
        async with self._database.transaction() as tx:
            await tx.hold()
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

    async def next_revision(self) -> int:
        """Take the directory's next revision, once a transaction."""
        return await self._tx.next_revision()

    async def current_revision(self) -> int:
        """Return the newest revision, the one taken here included."""
        return await self._tx.current_revision()

    async def changes(self, after: int) -> DirectoryChanges:
        """Return what changed after the revision, tombstones included."""
        devices = sa.select(DEVICES).where(DEVICES.c.revision > after).order_by(DEVICES.c.revision, DEVICES.c.device_id)
        groups = sa.select(GROUPS).where(GROUPS.c.revision > after).order_by(GROUPS.c.revision, GROUPS.c.name)
        return DirectoryChanges(
            await self.current_revision(),
            tuple(device_of(row) for row in await _rows(self._tx, devices)),
            tuple(group_of(row) for row in await _rows(self._tx, groups)),
        )

    async def audit(self, entry: AuditEntry, *, now: datetime) -> None:
        """Add a row to the audit table."""
        await record(self._tx, AUDIT, entry, now=now)


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
        rows = await _rows(self._tx, sa.select(DEVICES).where(DEVICES.c.device_id.in_(list(device_ids))))
        return {row["device_id"]: device_of(row) for row in rows}

    async def page(self, request: PageRequest, tags: Tags) -> Page[Device]:
        """Return a page of the visible devices, by name."""
        question = sa.select(DEVICES).where(*_visible(DEVICES, tags)).order_by(DEVICES.c.name, DEVICES.c.device_id)
        if request.after:
            shown = sa.tuple_(*(sa.literal(part, Text) for part in request.after))
            question = question.where(sa.tuple_(DEVICES.c.name, DEVICES.c.device_id) > shown)
        rows = await _rows(self._tx, question.limit(request.size + 1))
        return fitting_page(
            [device_of(row) for row in rows], request, key=lambda device: (device.name, device.device_id)
        )

    async def save(self, device: Device) -> None:
        """Write the device. Raises ConflictError if another enrolled device has its name."""
        try:
            await _write(self._tx, DEVICES, device_row(device))
        except IntegrityError as error:
            raise ConflictError(
                f'an enrolled device is named "{device.name}" already', reason="DEVICE_NAME_TAKEN"
            ) from error

    async def due(self, now: datetime, *, limit: int) -> Sequence[Device]:
        """Return devices whose component is to go by now, the longest overdue first."""
        pending = DEVICES.c.epm_state == EpmState.DEPROVISION_PENDING.value
        question = sa.select(DEVICES).where(pending, DEVICES.c.deprovision_time <= now)
        question = question.order_by(DEVICES.c.deprovision_time, DEVICES.c.device_id).limit(limit)
        return [device_of(row) for row in await _rows(self._tx, question)]

    async def _one(self, condition: sa.ColumnElement[bool]) -> Device | None:
        rows = await _rows(self._tx, sa.select(DEVICES).where(condition).limit(1))
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
        question = sa.select(TOKENS).where(*_visible(TOKENS, tags)).order_by(TOKENS.c.token_id.desc())
        if request.after:
            question = question.where(TOKENS.c.token_id < request.after[0])
        rows = await _rows(self._tx, question.limit(request.size + 1))
        return fitting_page([token_of(row) for row in rows], request, key=lambda token: (token.token_id,))

    async def save(self, token: EnrolmentToken) -> None:
        """Write the token as it is, new or not."""
        await _write(self._tx, TOKENS, token_row(token))

    async def _one(self, condition: sa.ColumnElement[bool]) -> EnrolmentToken | None:
        rows = await _rows(self._tx, sa.select(TOKENS).where(condition).limit(1))
        return token_of(rows[0]) if rows else None


class SqlGroups:
    """Keep groups, and the tombstones of those that were deleted, in their table."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def many(self, names: Iterable[str]) -> Mapping[str, Group]:
        """Return those of the groups that exist, by name."""
        alive = sa.select(GROUPS).where(GROUPS.c.name.in_(list(names)), GROUPS.c.deleted.is_(False))
        return {row["name"]: group_of(row) for row in await _rows(self._tx, alive)}

    async def page(self, request: PageRequest, tags: Tags) -> Page[Group]:
        """Return a page of the visible groups, by name."""
        alive = sa.select(GROUPS).where(GROUPS.c.deleted.is_(False), *_visible(GROUPS, tags)).order_by(GROUPS.c.name)
        if request.after:
            alive = alive.where(GROUPS.c.name > request.after[0])
        rows = await _rows(self._tx, alive.limit(request.size + 1))
        return fitting_page([group_of(row) for row in rows], request, key=lambda group: (group.name,))

    async def save(self, group: Group) -> None:
        """Write the group as it is, new or not, or its tombstone."""
        await _write(self._tx, GROUPS, group_row(group))


async def _rows(tx: Transaction, question: sa.Select[Any]) -> Sequence[Row]:
    return [dict(row) for row in (await tx.execute(question)).mappings()]


async def _write(tx: Transaction, table: sa.Table, row: Row) -> None:
    """Insert or update the row; its scope tags are written only where they differ."""
    key = next(iter(table.primary_key.columns))
    tags = list(row["scope_tags"])
    known = (await tx.execute(sa.select(table.c.scope_tags).where(key == row[key.name]))).first()
    if known is None:
        await tx.execute(sa.insert(table).values(**row))
    else:
        await tx.execute(sa.update(table).where(key == row[key.name]).values(**row))
    if known is None or known.scope_tags != tags:
        mine = {"of": table.name, "key": row[key.name]}
        await tx.execute(sa.delete(SCOPE_TAGS).where(SCOPE_TAGS.c.of == mine["of"], SCOPE_TAGS.c.key == mine["key"]))
        await tx.execute(sa.insert(SCOPE_TAGS), [{**mine, "tag": tag} for tag in tags or [DEFAULT_TAG]])


def _visible(table: sa.Table, tags: Tags) -> list[sa.ColumnElement[bool]]:
    if tags is None:
        return []
    key = next(iter(table.primary_key.columns))
    carries = sa.select(SCOPE_TAGS.c.key).where(SCOPE_TAGS.c.of == table.name, SCOPE_TAGS.c.tag.in_(sorted(tags)))
    return [key.in_(carries)]
