"""Questions to the tables that several stores ask alike."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.device.ports import Tags
from services.device.store.rows import Row
from services.device.store.tables import SCOPE_TAGS

MOST_ASKED = 1000
"""Names in one question; a database takes some ten thousand."""


async def rows_of(tx: Transaction, question: sa.Select[Any]) -> Sequence[Row]:
    """Return the rows that answer a question."""
    return [dict(row) for row in (await tx.execute(question)).mappings()]


def parts_of(names: Iterable[str]) -> Iterator[list[str]]:
    """Return the names, each once, in parts of which a question can hold one."""
    asked = sorted(set(names))
    return (asked[start : start + MOST_ASKED] for start in range(0, len(asked), MOST_ASKED))


def visible(table: sa.Table, tags: Tags) -> list[sa.ColumnElement[bool]]:
    """Return the condition that an object of the table carries one of the tags; none where everything is visible."""
    key = next(iter(table.primary_key.columns))
    return [] if tags is None else [key.in_(tagged(table, tags))]


def tagged(table: sa.Table, tags: frozenset[str]) -> sa.Select[Any]:
    """Return the keys of the table's objects that carry one of the tags."""
    return sa.select(SCOPE_TAGS.c.key).where(SCOPE_TAGS.c.of == table.name, SCOPE_TAGS.c.tag.in_(sorted(tags)))
