"""Elevation requests, in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services._chassis.audit import Act
from services._chassis.audit_store import record
from services._chassis.db import Database, Transaction
from services._chassis.paging import LARGEST_PAGE, Page, PageRequest, cut
from services.policy.model.notices import notice_of
from services.policy.model.request_limits import Submission, refuse_too_many, size_of
from services.policy.model.request_records import entry_of
from services.policy.model.requests import ElevationRequest, RequestState
from services.policy.model.told_requests import GrantUse, Place, Told
from services.policy.store.certificate_chains import chain_of, keep_chain
from services.policy.store.elevation_rows import (
    BY_ID,
    read_requests,
    request_from_row,
    requests_asked,
    row_of,
    standing_of,
    told_from_row,
    write_outcomes,
)
from services.policy.store.outbox import tell
from services.policy.store.recent_requests import recent_in
from services.policy.store.tables import AUDIT, ELEVATION_REQUEST, GRANT_USE
from services.policy.usecases.requests.ports import Now, RequestStep, RequestsWanted

CHUNK = 200
"""Requests that are read at once while a page is filled."""

TIME = Act(actor="service:policy")
"""Who ends what time ends, whoever looks at it then."""

MOST_LOOKED = 5000
"""Requests that are looked through for one page: who asks for what no index knows goes on by the token."""

_E, _U = ELEVATION_REQUEST.c, GRANT_USE.c
_EQUAL = {
    "state": _E.state,
    "user": _E.requester,
    "device": _E.device_name,
    "deviceId": _E.device_id,
    "sha256": _E.sha256,
}
"""Columns with an index each that ends with the identifier: a page begins where the one before it ended."""

_OF_DEVICE = requests_asked().where(_E.device_id == sa.bindparam("device"))
_OF_ATTEMPT = _OF_DEVICE.where(_E.attempt_id == sa.bindparam("attempt"))
_WAITING = _OF_DEVICE.where(
    _E.state == RequestState.PENDING.name,
    _E.requester == sa.bindparam("user"),
    _E.sha256 == sa.bindparam("file"),
    _E.review_deadline > sa.bindparam("now"),
)
_INSERTED = sa.insert(ELEVATION_REQUEST)
_MOVED = sa.update(ELEVATION_REQUEST).where(_E.request_id == sa.bindparam("moved"))


class SqlElevationRequests:
    """Read and change requests; whoever changes one holds the database's revision, so that two never decide at once."""

    def __init__(self, database: Database, *, most_looked: int = MOST_LOOKED) -> None:
        self._database = database
        self._most_looked = most_looked

    async def submit(self, request: ElevationRequest, certificates: Sequence[bytes], now: datetime) -> Told:
        """Keep a new request, unless there is one of the same attempt, or one that waits for the same.

        INVARIANT: no more than the limits let pass are kept, whichever replicas are asked, and how many at once.
        """
        async with self._database.held() as tx:
            if found := await _same(tx, request, now):
                return found
            size = size_of(request.file, request.justification, request.arguments, certificates)
            asked = Submission(request.user, request.submitted, size)
            refuse_too_many(await recent_in(tx, request.device_id, now), asked, now)
            revision = await tx.next_revision()
            kept = {"certificates": [], "chain": await keep_chain(tx, certificates), "evidence": size}
            row = {**row_of(request), **kept, "changed": revision}
            await tx.execute(_INSERTED, row)
            await record(tx, AUDIT, entry_of(None, request), now=now)
            await tell(tx, notice_of(request, now))
        return Told(request, changed=revision)

    async def find(self, request_id: str) -> Told | None:
        """Read a request; an identifier with a NUL, which PostgreSQL cannot even ask for, is nobody's."""
        return None if "\0" in request_id else await self._one(BY_ID, {"id": request_id})

    async def of_attempt(self, device_id: str, attempt_id: str) -> Told | None:
        """Read the request of an attempt."""
        return await self._one(_OF_ATTEMPT, {"device": device_id, "attempt": attempt_id})

    async def certificates(self, request_id: str) -> Sequence[bytes]:
        """Read the certificates of a request."""
        async with self._database.read() as tx:
            return await chain_of(tx, request_id)

    async def uses(self, request_id: str, most: int) -> Sequence[GrantUse]:
        """Read the newest uses of the grant of a request."""
        newest_first = (_U.used.desc(), _U.attempt_id.desc())
        asked = sa.select(_U.attempt_id, _U.used).where(_U.grant_id == request_id).order_by(*newest_first).limit(most)
        async with self._database.read() as tx:
            return [GrantUse(grant_id=request_id, **row) for row in (await tx.execute(asked)).mappings()]

    async def page(self, request: PageRequest, wanted: RequestsWanted) -> Page[Told]:
        """Read on until the page is full, or enough was looked through: how many match is not known before."""
        found: list[Told] = []
        weights: list[int] = []
        after, looked = request.after, 0
        async with self._database.read() as tx:
            first = await _first_of(tx, wanted)
            while True:
                told = await read_requests(tx, _listed(wanted, first, after))
                found += [each for each in told if wanted.matches(each.request)]
                weights += [_weight(each.request) for each in found[len(weights) :]]
                if len(told) < CHUNK or len(found) > request.size or sum(weights) > LARGEST_PAGE:
                    return cut(found, request.fitting(weights), key=_key)
                after, looked = _key(told[-1]), looked + len(told)
                if looked >= self._most_looked:
                    return Page(tuple(found), request.next_token(after))

    async def change(self, request_ids: Sequence[str], step: RequestStep, clock: Now) -> Sequence[Told]:
        """Take requests a step on, and tell devices and audit log.

        The clock is asked once nobody is waited for any more: by an earlier time, what readers were shown as ended could change.
        """
        async with self._database.held() as tx:
            now = clock()
            return [told for each in request_ids if (told := await _changed(tx, each, step, now)) is not None]

    async def due(self, now: datetime, most: int) -> Sequence[str]:
        """Read which requests time has ended."""
        asked = sa.select(_E.request_id).where(_E.due <= now).order_by(_E.due).limit(most)
        async with self._database.read() as tx:
            return list((await tx.execute(asked)).scalars())

    async def newest(self) -> int:
        """Return the newest revision of the service."""
        return await self._database.current_revision()

    async def pending(self, after: Place, most: int) -> Sequence[Told]:
        """Read requests that wait, in the order of their changes."""
        return await self._behind(after, most, _E.state == RequestState.PENDING.name)

    async def changed(self, after: Place, most: int) -> Sequence[Told]:
        """Read requests in the order of their changes."""
        return await self._behind(after, most, sa.true())

    async def _behind(self, after: Place, most: int, which: sa.ColumnElement[bool]) -> Sequence[Told]:
        later = sa.and_(_E.changed == after.revision, _E.request_id > after.request_id)
        asked = requests_asked().where(which, sa.or_(_E.changed > after.revision, later))
        async with self._database.read() as tx:
            return await read_requests(tx, asked.order_by(_E.changed, _E.request_id).limit(most))

    async def _one(self, asked: sa.Select[Any], parameters: Mapping[str, str]) -> Told | None:
        async with self._database.read() as tx:
            found = await read_requests(tx, asked, parameters)
        return found[0] if found else None


async def approved_requests(tx: Transaction) -> tuple[ElevationRequest, ...]:
    """Read what is approved, by identifier."""
    asked = requests_asked().where(_E.state == RequestState.APPROVED.name).order_by(_E.request_id)
    return tuple(told.request for told in await read_requests(tx, asked))


async def _same(tx: Transaction, request: ElevationRequest, now: datetime) -> Told | None:
    """Find the request of the same attempt, or one of the same user that waits for the same file and arguments."""
    of_device = {"device": request.device_id}
    if found := await read_requests(tx, _OF_ATTEMPT, {**of_device, "attempt": request.attempt_id}):
        return found[0]
    same = {**of_device, "user": request.user, "file": request.file.sha256, "now": now}
    alike = [told for told in await read_requests(tx, _WAITING, same) if told.request.arguments == request.arguments]
    return alike[0] if alike else None


async def _changed(tx: Transaction, request_id: str, step: RequestStep, now: datetime) -> Told | None:
    row = (await tx.execute(BY_ID, {"id": request_id})).mappings().first()
    if row is None:
        return None
    before = request_from_row(row)
    after = step(before, now)
    if after == before:
        return told_from_row(row)
    return await write_change(tx, before, after, now)


async def write_change(tx: Transaction, before: ElevationRequest, after: ElevationRequest, now: datetime) -> Told:
    """Write a request as it is after a change; a new state is told to its device and to the audit log."""
    revision = await tx.next_revision()
    await tx.execute(_MOVED, {**standing_of(after), "changed": revision, "moved": after.request_id})
    if after.state is not before.state:
        await write_outcomes(tx, after, revision)
        act = TIME if after.state is RequestState.EXPIRED else None
        await record(tx, AUDIT, entry_of(before, after, act=act), now=now)
        await tell(tx, notice_of(after, now))
    [told] = await read_requests(tx, BY_ID, {"id": after.request_id})
    return told


async def _first_of(tx: Transaction, wanted: RequestsWanted) -> str:
    """Return where the list ends at the latest, so that nothing older than its last request is looked through."""
    if wanted.since is None:
        return ""
    of_each = [
        sa.select(sa.func.min(_E.request_id)).where(which)
        for which in (_E.state == RequestState.PENDING.name, _E.submitted >= wanted.since)
    ]
    found = [(await tx.execute(asked)).scalar() for asked in of_each]
    return min((each for each in found if each is not None), default="")


def _listed(wanted: RequestsWanted, first: str, after: tuple[str | int, ...]) -> sa.Select[Any]:
    asked = requests_asked().where(*(_EQUAL[name] == value for name, value in wanted.equal.items()))
    if wanted.since is not None:
        waits = _E.state == RequestState.PENDING.name
        asked = asked.where(_E.request_id >= first, sa.or_(waits, _E.submitted >= wanted.since))
    if after:
        asked = asked.where(_E.request_id < after[0])
    return asked.order_by(_E.request_id.desc()).limit(CHUNK)


def _key(told: Told) -> tuple[str | int, ...]:
    return (told.request.request_id,)


def _weight(request: ElevationRequest) -> int:
    """Count the bytes that a request takes on a page, about; what is not counted is bounded."""
    texts = (*asdict(request.file).values(), request.justification, *request.arguments)
    return 2000 + sum(len(text.encode()) for text in texts)
