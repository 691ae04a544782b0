"""Hand a statement a long list of texts as one value: what a list may hold is not bounded by how many values a statement takes."""

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class _Texts(GenericFunction[Any]):
    """Give the texts of a JSON array as rows of `value`."""

    name = "json_each"
    inherit_cache = True


@compiles(_Texts, "postgresql")
def _on_postgresql(element: _Texts, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS JSON))"


def listed(texts: Collection[str]) -> sa.Select[Any]:
    """Select these texts."""
    rows = _Texts(sa.literal(json.dumps([*texts]), sa.Text)).table_valued("value")
    return sa.select(sa.cast(rows.c.value, sa.Text))


def one_of(number: sa.ColumnElement[int], numbers: Collection[int]) -> sa.ColumnElement[bool]:
    """Narrow a number to these, which are written into the statement: so a planner sees how many there are, and looks each up."""
    return number.in_(
        sa.bindparam("numbers", [*numbers], sa.Integer, unique=True, expanding=True, literal_execute=True)
    )


def listed_numbers(numbers: Collection[int]) -> sa.Select[Any]:
    """Select these numbers."""
    rows = _Texts(sa.literal(json.dumps([*numbers]), sa.Text)).table_valued("value")
    return sa.select(sa.cast(rows.c.value, sa.BigInteger))
