"""What is authored, in SQL."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.audit_store import record
from services._chassis.db import Database, Transaction
from services._chassis.logging import get_logger
from services._chassis.paging import LARGEST_PAGE, LARGEST_SIZE, Page, PageRequest, cut
from services.policy.codec.kept import from_bytes, to_bytes
from services.policy.model.audit import entry_of
from services.policy.model.objects import (
    About,
    AnyContent,
    Change,
    Content,
    Corpus,
    Stored,
    certificates_named,
    kind_of,
)
from services.policy.ports import ALL, Selection
from services.policy.store.approved_requests import ApprovedRequests
from services.policy.store.history import SqlHistory
from services.policy.store.recent_changes import Changed
from services.policy.store.requests import SqlRequests
from services.policy.store.selecting import selected
from services.policy.store.tables import AUDIT, OBJECT, OBJECT_TAG

log = get_logger("policy.objects")
CHUNK = 100
"""Objects that are read at once while a page is filled."""
_O, _T = OBJECT.c, OBJECT_TAG.c
_ABOUT = ("labels", "revision", "etag", "created", "updated", "updated_by", "created_by", "applied_change")
Row = Mapping[str, Any]
Mark = tuple[Any, ...]
Decoded = dict[tuple[str, str], tuple[bytes, AnyContent]]
"""Content by kind and name, with the bytes that it was read from."""


class SqlStore:
    """Open transactions on the policy service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._decoded: Decoded = {}
        self._corpus: tuple[Mark, Corpus] | None = None
        self._approved = ApprovedRequests()

    @property
    def on_requests(self) -> list[Callable[[Changed], None]]:
        """Return who hears of the requests that changed, whenever everything is read."""
        return self._approved.on_change

    @asynccontextmanager
    async def writing(self) -> AsyncIterator["SqlWork"]:
        """Open a writing transaction and hold it against others, since every verb looks before it writes."""
        async with self._database.held() as tx:
            yield SqlWork(tx)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["SqlWork"]:
        """Open a reading transaction."""
        async with self._database.read() as tx:
            yield SqlWork(tx, self._decoded)

    async def raise_revision(self, seen: int) -> int:
        """Go on above a revision that others have seen, if this one is lower: the data were restored; return the one that holds."""
        async with self._database.transaction() as tx:
            holds = await tx.raise_revision(seen)
        if tx.revision is not None:
            log.warning("policy_revision_raised", seen=seen, revision=holds)
        return holds

    async def corpus(self) -> Corpus:
        """Read everything in one transaction, and decode what has changed since the last time.

        Where nothing authored has, as where a request was decided, it is not read again.
        """
        async with self._database.read() as tx:
            work = SqlWork(tx, self._decoded)
            revision, mark = await work.mark()
            approved = await self._approved.read(tx, revision)
            if self._corpus is not None and self._corpus[0] == mark:
                return replace(self._corpus[1], revision=revision, approved=approved)
            corpus = Corpus(
                revision=revision,
                settings_policies=await work.all(SettingsPolicy),
                rules_policies=await work.all(RulesPolicy),
                certificates=await work.all(ReusableCertificate),
                approved=approved,
            )
        self._decoded, self._corpus = work.decoded, (mark, corpus)
        return corpus


class SqlWork:
    """Read and write the tables within one transaction."""

    def __init__(self, tx: Transaction, decoded_before: Decoded | None = None) -> None:
        self.decoded: Decoded = {}
        self.history = SqlHistory(tx)
        self.requests = SqlRequests(tx)
        self._tx = tx
        self._decoded_before = decoded_before or {}

    async def find(self, kind: type[Content], names: Iterable[str]) -> Mapping[str, Stored[Content]]:
        """Read the objects of these names; a name with a NUL, which PostgreSQL cannot even ask for, is nobody's."""
        asked = [name for name in names if "\x00" not in name]
        found = await self._read(kind, sa.select(OBJECT).where(_O.name.in_(asked)))
        return {stored.name: stored for stored in found}

    async def page(
        self, kind: type[Content], request: PageRequest, selection: Selection = ALL
    ) -> Page[Stored[Content]]:
        """Read on from a key until the page is full: how many of the objects pass the test is not known before."""
        found: list[Stored[Content]] = []
        weights: list[int] = []
        after, limit = request.after, min(request.size + 1, CHUNK)
        while True:
            rows = await self._rows(kind, selected(selection, after, limit))
            stored = await self._stored(kind, rows)
            for row, item in zip(rows, stored, strict=True):
                if selection.matches is None or selection.matches(item):
                    found.append(item)
                    weights.append(_weight(row, item.about.scope_tags))
            if len(rows) < limit or len(found) > request.size or sum(weights) > LARGEST_PAGE:
                return cut(found, request.fitting(weights), key=selection.order.key)
            after = selection.order.key(stored[-1])

    async def naming(self, *certificates: str) -> Sequence[Stored[RulesPolicy]]:
        """Look through the rules: a certificate is deleted rarely, and nothing else asks who names it."""
        policies = await self.all(RulesPolicy)
        return [stored for stored in policies if not certificates_named(stored.content).isdisjoint(certificates)]

    async def all(self, kind: type[Content]) -> tuple[Stored[Content], ...]:
        """Read all objects of a kind, by name."""
        return tuple(await self._read(kind, sa.select(OBJECT).order_by(_O.name)))

    async def mark(self) -> tuple[int, Mark]:
        """Read the newest revision, and by what it is known that no object has changed since.

        Whatever is written takes a higher revision or a higher change with it, and what is deleted is missing.
        """
        counted = (sa.func.count(), sa.func.max(_O.revision), sa.func.sum(_O.applied_change))
        asked = sa.select(self._tx.newest_revision.scalar_subquery(), *counted).select_from(OBJECT)
        row = (await self._tx.execute(asked)).one()
        return int(row[0]), tuple(row[1:])

    async def save(self, change: Change[Content]) -> None:
        """Replace the object's rows, and add to history and audit record."""
        key = {"kind": kind_of(type(change.subject.content)).one, "name": change.subject.name}
        for table in (OBJECT, OBJECT_TAG):
            await self._tx.execute(sa.delete(table).where(table.c.kind == key["kind"], table.c.name == key["name"]))
        if change.after is not None:
            await self._tx.execute(sa.insert(OBJECT), {**key, **_row(change.after)})
            tags = [{**key, "tag": tag} for tag in sorted(change.after.about.scope_tags)]
            await self._tx.execute(sa.insert(OBJECT_TAG), tags)
        await self.history.add(change)
        await record(self._tx, AUDIT, entry_of(change), now=change.now)

    async def mark_as_code(self, stored: Sequence[Stored[Content]]) -> None:
        """Write the number of each object's newest change beside it."""
        statement = sa.update(OBJECT).where(_O.kind == sa.bindparam("of_kind"), _O.name == sa.bindparam("of_name"))
        rows = [
            {"of_kind": kind_of(type(each.content)).one, "of_name": each.name, "change": each.about.change}
            for each in stored
        ]
        await self._tx.execute(statement.values(applied_change=sa.bindparam("change")), rows)

    async def next_revision(self) -> int:
        """Take the next revision, once."""
        return await self._tx.next_revision()

    async def revision(self) -> int:
        """Return the revision that was taken, or else the one that stands."""
        return self._tx.revision or await self._tx.current_revision()

    async def _read(self, kind: type[Content], statement: sa.Select[Any]) -> list[Stored[Content]]:
        return await self._stored(kind, await self._rows(kind, statement))

    async def _rows(self, kind: type[Content], statement: sa.Select[Any]) -> list[Row]:
        result = await self._tx.execute(statement.where(_O.kind == kind_of(kind).one))
        return [dict(row) for row in result.mappings()]

    async def _stored(self, kind: type[Content], rows: Sequence[Row]) -> list[Stored[Content]]:
        tags = await self._tags(kind, [row["name"] for row in rows])
        return [Stored(self._content(kind, row), _about(row, tags.get(row["name"], frozenset()))) for row in rows]

    def _content(self, kind: type[Content], row: Row) -> Content:
        key, kept = (row["kind"], row["name"]), row["content"]
        bytes_before, content = self._decoded_before.get(key, (b"", None))
        if bytes_before != kept or not isinstance(content, kind):
            content = from_bytes(kind, kept)
        self.decoded[key] = (kept, content)
        return content

    async def _tags(self, kind: type[Content], names: Sequence[str]) -> Mapping[str, frozenset[str]]:
        if not names:
            return {}
        asked = sa.select(_T.name, _T.tag).where(_T.kind == kind_of(kind).one)
        if len(names) <= LARGEST_SIZE:
            asked = asked.where(_T.name.in_(names))
        tags: dict[str, set[str]] = {}
        for row in await self._tx.execute(asked):
            tags.setdefault(row.name, set()).add(row.tag)
        return {name: frozenset(found) for name, found in tags.items()}


def _about(row: Row, tags: frozenset[str]) -> About:
    return About(scope_tags=tags, **{name: row[name] for name in _ABOUT})


def _row(stored: Stored[Content]) -> dict[str, Any]:
    about = stored.about
    return {
        "content": to_bytes(stored.content),
        "labels": dict(about.labels),
        "revision": about.revision,
        "etag": about.etag,
        "created": about.created,
        "updated": about.updated,
        "updated_by": about.updated_by,
        "created_by": about.created_by,
        "applied_change": about.applied_change,
    }


def _weight(row: Row, tags: frozenset[str]) -> int:
    """Count the bytes that an object takes on a page, about."""
    texts = (*row["labels"].keys(), *row["labels"].values(), *tags)
    return len(row["content"]) + sum(len(text.encode()) for text in texts)
