"""The history of what is authored, in SQL: rows are added with every change, and never touched again."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services._chassis.paging import Page, PageRequest, cut
from services.policy.codec.kept import from_bytes, to_bytes
from services.policy.model.objects import About, Action, Change, Content, Stored, kind_of
from services.policy.model.revisions import Past, Revision
from services.policy.store.tables import HISTORY

_H = HISTORY.c
_CONTENT = ("content", "labels", "created", "created_by")
_TOLD = [column for column in _H if column.name not in _CONTENT]
Row = Mapping[str, Any] | sa.RowMapping


class SqlHistory:
    """Read and add to the history within one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def page(self, kind: type[Content], name: str, request: PageRequest) -> Page[Revision]:
        """Read the revisions before a change, newest first."""
        statement = _of(sa.select(*_TOLD), kind, name).limit(request.size + 1)
        if request.after:
            statement = statement.where(_H.revision < request.after[0])
        rows = (await self._tx.execute(statement)).mappings().all()
        revisions = [_revision(row) for row in rows]
        fitting = request.fitting(map(_weight, revisions))
        return cut(revisions, fitting, key=lambda revision: (revision.change,))

    async def at(self, kind: type[Content], name: str, change: int) -> Past[Content] | None:
        """Read the object as a change left it."""
        return await self._first(kind, _of(sa.select(HISTORY), kind, name).where(_H.revision == change))

    async def newest(self, kind: type[Content], name: str, *, before: int | None = None) -> Past[Content] | None:
        """Read the newest state, or the newest one before a change."""
        statement = _of(sa.select(HISTORY), kind, name)
        return await self._first(kind, statement if before is None else statement.where(_H.revision < before))

    async def add(self, change: Change[Content]) -> None:
        """Add what a change leaves."""
        subject = change.subject
        row = {
            "kind": kind_of(type(subject.content)).one,
            "name": subject.name,
            "revision": change.revision,
            "action": change.action.value,
            "content": to_bytes(subject.content),
            "labels": dict(subject.about.labels),
            "scope_tags": sorted(subject.about.scope_tags),
            "recorded": change.now,
            "actor": change.actor,
            "reason": change.reason,
            "created_by": subject.about.created_by,
            "content_revision": subject.about.revision,
            "rolled_back_to": change.rolled_back_to,
            "as_code": change.as_code,
            "created": subject.about.created,
        }
        await self._tx.execute(sa.insert(HISTORY), row)

    async def _first(self, kind: type[Content], statement: sa.Select[Any]) -> Past[Content] | None:
        row = (await self._tx.execute(statement.limit(1))).mappings().first()
        return None if row is None else _past(kind, row)


def _of(statement: sa.Select[Any], kind: type[Content], name: str) -> sa.Select[Any]:
    """Ask for one object, newest first; a name with a NUL, which PostgreSQL cannot even ask for, is nobody's."""
    asked = statement.where(_H.kind == kind_of(kind).one, _H.name == name.replace("\x00", ""))
    asked = asked.order_by(_H.revision.desc())
    return asked.where(sa.false()) if "\x00" in name else asked


def _revision(row: Row) -> Revision:
    return Revision(
        change=row["revision"],
        content_revision=row["content_revision"],
        action=Action(row["action"]),
        author=row["actor"],
        time=row["recorded"],
        reason=row["reason"],
        scope_tags=frozenset(row["scope_tags"]),
        rolled_back_to=row["rolled_back_to"],
        as_code=row["as_code"],
    )


def _past(kind: type[Content], row: Row) -> Past[Content]:
    revision = _revision(row)
    about = About(
        scope_tags=revision.scope_tags,
        labels=row["labels"],
        revision=revision.content_revision,
        etag="",
        created=row["created"] or revision.time,
        updated=revision.time,
        updated_by=revision.author,
        created_by=row["created_by"],
    )
    return Past(revision, Stored(from_bytes(kind, row["content"]), about))


def _weight(revision: Revision) -> int:
    """Count the bytes that a revision takes on a page, about."""
    return sum(len(text.encode()) + 8 for text in (revision.author, revision.reason, *revision.scope_tags)) + 64
